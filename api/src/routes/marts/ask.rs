//! Parses a request for rows of a mart.

use acequia_ops::marts::{Compare, Filter, Format, Order, Query};
use axum::http::{HeaderMap, header};

use crate::params::Params;
use crate::problem::{Code, Problem, Result};

/// Maximum number of rows in a page.
const MOST: i64 = 10_000;
/// Rows of a page unless the call says otherwise.
const ROWS: i64 = 100;
/// Maximum number of conditions.
const CONDITIONS: usize = 50;

/// Media type of a Parquet file, as registered with IANA.
pub const PARQUET: &str = "application/vnd.apache.parquet";

/// Format in which rows are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// One object with a list of rows.
    Json,
    /// An object on each line.
    Ndjson,
    /// A table with a head (RFC 4180).
    Csv,
    /// A Parquet file.
    Parquet,
}

impl Media {
    /// The first of the accepted media types that is offered.
    ///
    /// # Errors
    /// `not_acceptable`.
    pub fn accepted(headers: &HeaderMap) -> Result<Self> {
        let text = headers
            .get(header::ACCEPT)
            .and_then(|value| value.to_str().ok());
        let mut best: Option<(f32, Self)> = None;
        for part in text.unwrap_or("*/*").split(',') {
            let mut words = part.split(';').map(str::trim);
            let media = match words
                .next()
                .unwrap_or_default()
                .to_ascii_lowercase()
                .as_str()
            {
                "application/json" | "application/*" | "*/*" | "" => Self::Json,
                "application/x-ndjson" | "application/jsonl" => Self::Ndjson,
                "text/csv" | "text/*" => Self::Csv,
                PARQUET => Self::Parquet,
                _ => continue,
            };
            let weight = words
                .find_map(|word| word.strip_prefix("q="))
                .and_then(|text| text.parse::<f32>().ok())
                .unwrap_or(1.0);
            if weight > 0.0 && best.is_none_or(|(known, _)| weight > known) {
                best = Some((weight, media));
            }
        }
        best.map(|(_, media)| media).ok_or_else(|| {
            Problem::new(
                Code::NotAcceptable,
                format!("there is application/json, application/x-ndjson, text/csv and {PARQUET}"),
            )
        })
    }

    /// As the header says it.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Parquet => PARQUET,
        }
    }
}

/// A parsed request for rows of a mart.
#[derive(Debug)]
pub struct Asked {
    /// Which rows.
    pub query: Query,
    /// Whether rows are to be counted.
    pub count: bool,
    /// Cursor.
    pub cursor: Option<String>,
}

/// Reads the parameters: those of the list, and every other one as a condition on a column.
///
/// # Errors
/// When one is wrong.
pub fn read(mut params: Params, media: Media) -> Result<Asked> {
    let columns = params.list("columns");
    let order = params
        .list("order")
        .iter()
        .map(|text| order(text))
        .collect();
    let limit = params.number("limit", 1, MOST)?.unwrap_or(ROWS);
    let cursor = params.one("cursor")?;
    let count = params.flag("count")?;
    let filters: Result<Vec<_>> = params
        .rest()
        .into_iter()
        .map(|(column, text)| filter(column, &text))
        .collect();
    let filters = filters?;
    if filters.len() > CONDITIONS {
        return Err(Problem::new(
            Code::InvalidParameter,
            format!("at most {CONDITIONS} conditions"),
        ));
    }
    let query = Query {
        columns,
        filters,
        order,
        after: None,
        limit,
        format: if media == Media::Csv {
            Format::Fields
        } else {
            Format::Json
        },
    };
    Ok(Asked {
        query,
        count,
        cursor,
    })
}

/// `column`, `column.asc` or `column.desc`.
fn order(text: &str) -> Order {
    let (column, descending) = match text.rsplit_once('.') {
        Some((column, "desc")) => (column, true),
        Some((column, "asc")) => (column, false),
        _ => (text, false),
    };
    Order {
        column: column.to_owned(),
        descending,
    }
}

/// `op.value` on a column.
fn filter(column: String, text: &str) -> Result<Filter> {
    const FORMS: &str = "must be an operator, a dot and a value: eq, neq, gt, gte, lt, lte, contains; in.(a,b); is.null or is.notnull";
    let wrong = || Problem::parameter(&column, FORMS);
    let (operator, value) = text.split_once('.').ok_or_else(wrong)?;
    let (compare, values) = match operator {
        "eq" => (Compare::In, vec![value.to_owned()]),
        "neq" => (Compare::NotEqual, vec![value.to_owned()]),
        "gt" => (Compare::Greater, vec![value.to_owned()]),
        "gte" => (Compare::AtLeast, vec![value.to_owned()]),
        "lt" => (Compare::Less, vec![value.to_owned()]),
        "lte" => (Compare::AtMost, vec![value.to_owned()]),
        "contains" => (Compare::Contains, vec![value.to_owned()]),
        "in" => {
            let inside = value
                .strip_prefix('(')
                .and_then(|rest| rest.strip_suffix(')'))
                .ok_or_else(wrong)?;
            (
                Compare::In,
                inside.split(',').map(ToOwned::to_owned).collect(),
            )
        }
        "is" => match value {
            "null" => (Compare::Null, Vec::new()),
            "notnull" => (Compare::NotNull, Vec::new()),
            _ => return Err(wrong()),
        },
        _ => return Err(wrong()),
    };
    Ok(Filter {
        column,
        compare,
        values,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn accepted(text: &'static str) -> Result<Media> {
        let headers = [(header::ACCEPT, text.parse().unwrap())]
            .into_iter()
            .collect();
        Media::accepted(&headers)
    }

    #[test]
    fn the_media_type_with_most_weight_is_sent() {
        assert_eq!(accepted("text/csv").unwrap(), Media::Csv);
        assert_eq!(accepted("text/html,*/*;q=0.8").unwrap(), Media::Json);
        assert_eq!(
            accepted("text/csv;q=0.2, application/x-ndjson").unwrap(),
            Media::Ndjson
        );
        assert_eq!(
            accepted("application/vnd.apache.parquet, application/json;q=0.5").unwrap(),
            Media::Parquet
        );
        assert_eq!(accepted("image/png").unwrap_err().code, Code::NotAcceptable);
        assert_eq!(Media::accepted(&HeaderMap::new()).unwrap(), Media::Json);
    }

    #[test]
    fn conditions_have_an_operator_and_a_value() {
        let read = |text: &str| filter("c".to_owned(), text);
        assert_eq!(read("eq.a.b").unwrap().values, ["a.b"]);
        assert_eq!(read("in.(1,2)").unwrap().values, ["1", "2"]);
        assert_eq!(read("is.null").unwrap().compare, Compare::Null);
        for wrong in ["", "5", "is.zero", "in.1", "like.x", "eq"] {
            assert_eq!(read(wrong).unwrap_err().errors[0].field, "c", "{wrong}");
        }
        assert!(order("a.desc").descending && !order("a").descending);
    }
}
