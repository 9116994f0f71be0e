//! Rows of a mart.

use std::fmt::Write as _;

use acequia_ops::freshness::{self, Freshness};
use acequia_ops::marts::{self, Column, Filter, Schema};
use acequia_store::failure::Failure;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::{AssertSqlSafe, PgConnection};
use utoipa::ToSchema;

use super::ask::{self, Media};
use super::find;
use super::parquet::{self, ParquetFile};
use crate::app::App;
use crate::auth::guard::{As, Rows};
use crate::docs::Refusals;
use crate::paging::{Json, List};
use crate::params::Params;
use crate::problem::{Problem, Result};

/// A page of rows, and what they can be relied on for.
#[derive(Debug, Serialize, ToSchema)]
pub struct MartPage {
    /// Mart.
    mart: String,
    /// Publish time of the newest batch in it.
    data_as_of: Option<DateTime<Utc>>,
    /// Everything that was published until then is in it.
    complete_through: Option<DateTime<Utc>>,
    /// Whether no rule of severity error fails on what it shows.
    trusted: bool,
    /// `fresh`, `late`, `blocked`, `untrusted`, `unknown` or `empty`.
    status: String,
    /// The rows. Decimals are JSON numbers with all their digits.
    #[schema(value_type = Vec<Object>)]
    rows: Box<RawValue>,
    /// Parameter `cursor` of the next page; null on the last one.
    next: Option<String>,
    /// Rows that match, when they were to be counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<i64>,
}

/// Rows of a mart
///
/// Every parameter beside the listed ones is a condition on the column of that name: `calificacion=gte.6`,
/// `estado=in.(a,b)`, `nombre=contains.ana`, `promedio=is.null`; operators are `eq`, `neq`, `gt`, `gte`, `lt`, `lte`, `in`,
/// `contains` and `is`. As JSON, NDJSON, CSV or Parquet by the header Accept. Headers, and metadata of a Parquet file, say as of
/// when the rows are, until when they are complete, and whether they can be trusted; the header Link leads to the next page.
#[utoipa::path(get, path = "/v1/marts/{mart}", tag = "marts", extensions(("x-acequia-right" = json!("rows"))),
    params(
        ("mart" = String, Path, description = "Mart, with or without `marts.`"),
        ("columns" = Option<Vec<String>>, Query, description = "Columns; all when not given"),
        ("order" = Option<Vec<String>>, Query, description = "Columns that rows are sorted by, each with `.asc` or `.desc` behind it; null comes last"),
        ("limit" = Option<i64>, Query, description = "Rows of a page, 1 to 10000; 100 when not given"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
        ("count" = Option<bool>, Query, description = "Also count the rows that match"),
    ),
    responses((status = 200, description = "The rows",
        content((MartPage = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"),
            (ParquetFile = "application/vnd.apache.parquet"))), Refusals))]
pub async fn rows(
    State(app): State<App>,
    caller: As<Rows>,
    Path(name): Path<String>,
    headers: HeaderMap,
    uri: Uri,
    params: Params,
) -> Result<Response> {
    let media = Media::accepted(&headers)?;
    let mut asked = ask::read(params, media)?;
    let mut database = app.database().await?;
    let schema = find(&mut database, &caller, &name).await?;
    let wanted = asked
        .query
        .fit(&schema)
        .map_err(|refused| Problem::parameter(&refused.column, refused.why))?;
    let list = List::of(&[
        &schema.mart.mart,
        &format!("{:?} {:?}", asked.query.filters, asked.query.order),
    ]);
    asked.query.after = list.position(asked.cursor.as_deref())?;
    let mut page = PageText::of(media, &wanted);
    let found = match media {
        Media::Parquet => marts::values(&mut database, &schema, &wanted, &asked.query)
            .await
            .map(|(values, next)| (Some(values), next)),
        _ => {
            let add = |cells: &[Option<&str>]| page.add(cells);
            marts::read(&mut database, &schema, &wanted, &asked.query, add)
                .await
                .map(|next| (None, next))
        }
    };
    let (values, next) = match found {
        Ok(found) => found,
        Err(error) => {
            return Err(explain(&mut database, error, &schema, &asked.query.filters).await);
        }
    };
    let count = match asked.count {
        true => Some(marts::count(&mut database, &schema, &asked.query.filters).await?),
        false => None,
    };
    let fresh = freshness::of(&mut database, &schema.mart.mart).await?;
    database.done();
    let fresh = fresh.ok_or_else(|| Problem::not_found("such mart"))?;
    let reliance = reliance(&fresh, count);
    let next = next.map(|position| list.cursor(position));
    let mut response = match values {
        Some(values) => {
            let file = parquet::file(values, schema.mart, reliance.clone()).await?;
            file.into_response()
        }
        None if media == Media::Json => json(&fresh, page.text, next.clone(), count)?,
        None => page.text.into_response(),
    };
    head(response.headers_mut(), media, &reliance);
    if let Some(next) = next {
        link(response.headers_mut(), &uri, &next);
    }
    Ok(response)
}

/// The text of a page, written row by row.
struct PageText {
    media: Media,
    text: String,
}

impl PageText {
    fn of(media: Media, columns: &[&Column]) -> Self {
        let mut text = String::new();
        if media == Media::Csv {
            let head: Vec<_> = columns.iter().map(|column| Some(&*column.name)).collect();
            record(&mut text, &head);
        }
        Self { media, text }
    }

    fn add(&mut self, cells: &[Option<&str>]) {
        match (self.media, cells) {
            (Media::Csv, cells) => record(&mut self.text, cells),
            (Media::Ndjson, [Some(row)]) => {
                self.text.push_str(row);
                self.text.push('\n');
            }
            (_, [Some(row)]) => {
                self.text.push(if self.text.is_empty() { '[' } else { ',' });
                self.text.push_str(row);
            }
            _ => {}
        }
    }
}

/// The cause of a query that PostgreSQL refused: the first condition whose value does not fit its column's type.
async fn explain(
    database: &mut PgConnection,
    error: sqlx::Error,
    schema: &Schema,
    filters: &[Filter],
) -> Problem {
    if Failure::of(&error) != Failure::BadData {
        return error.into();
    }
    for filter in filters {
        let column = schema
            .columns
            .iter()
            .find(|column| column.name == filter.column);
        let Some(column) = column else { continue };
        for value in &filter.values {
            let statement = format!("select $1::text::{} is null", column.plain_type);
            let fits = sqlx::query(AssertSqlSafe(statement))
                .bind(value)
                .execute(&mut *database)
                .await;
            if fits.is_err() {
                return Problem::parameter(
                    &column.name,
                    format!("the value is no {}", column.sql_type),
                );
            }
        }
    }
    error.into()
}

fn json(
    fresh: &Freshness,
    mut rows: String,
    next: Option<String>,
    count: Option<i64>,
) -> Result<Response> {
    rows.push_str(if rows.is_empty() { "[]" } else { "]" });
    Ok(Json(MartPage {
        mart: fresh.mart.clone(),
        data_as_of: fresh.data_as_of,
        complete_through: fresh.complete_through,
        trusted: fresh.trusted == Some(true),
        status: fresh.status.clone(),
        rows: RawValue::from_string(rows).map_err(anyhow::Error::from)?,
        next,
        count,
    })
    .into_response())
}

/// A line by RFC 4180. Nothing is an empty field, the empty text is "".
fn record(text: &mut String, cells: &[Option<&str>]) {
    for (place, cell) in cells.iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        let Some(cell) = cell else { continue };
        if cell.is_empty() || cell.contains(['"', ',', '\r', '\n']) {
            let _ = write!(text, "\"{}\"", cell.replace('"', "\"\""));
        } else {
            text.push_str(cell);
        }
    }
    text.push_str("\r\n");
}

/// What the rows can be relied on for, by the names of the headers without `acequia-`.
pub type Reliance = Vec<(&'static str, String)>;

fn reliance(fresh: &Freshness, count: Option<i64>) -> Reliance {
    let time = |time: Option<DateTime<Utc>>| {
        time.map(|time| time.to_rfc3339_opts(SecondsFormat::Micros, true))
    };
    let trusted = fresh.trusted == Some(true);
    [
        ("as-of", time(fresh.data_as_of)),
        ("complete-through", time(fresh.complete_through)),
        ("trusted", Some(trusted.to_string())),
        ("status", Some(fresh.status.clone())),
        ("count", count.map(|count| count.to_string())),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

fn head(headers: &mut HeaderMap, media: Media, reliance: &Reliance) {
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(media.content_type()),
    );
    // Another Accept is another answer.
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    for (name, value) in reliance {
        let name = HeaderName::try_from(format!("acequia-{name}"));
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    }
}

/// The same call with the cursor of the next page.
fn link(headers: &mut HeaderMap, uri: &Uri, cursor: &str) {
    let query = uri.query().unwrap_or_default();
    let pairs = url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != "cursor");
    let next = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .append_pair("cursor", cursor)
        .finish();
    let link = format!("<{}?{next}>; rel=\"next\"", uri.path());
    if let Ok(link) = HeaderValue::from_str(&link) {
        headers.insert(header::LINK, link);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_when_they_must_be() {
        let mut text = String::new();
        record(
            &mut text,
            &[Some("8.7500"), None, Some(""), Some("a,\"b\"\n")],
        );
        assert_eq!(text, "8.7500,,\"\",\"a,\"\"b\"\"\n\"\r\n");
    }
}
