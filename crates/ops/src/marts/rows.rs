//! Rows of a mart: chosen, sorted and paged by its columns. Values come as the text that PostgreSQL makes of them, so that
//! a decimal keeps all its digits.

use futures_util::TryStreamExt as _;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Postgres, QueryBuilder, Row as _};

use super::{Column, Schema};

/// Comparison of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// Equal to one of the values.
    In,
    /// Different from it, or nothing.
    NotEqual,
    /// Greater.
    Greater,
    /// Greater or equal.
    AtLeast,
    /// Less.
    Less,
    /// Less or equal.
    AtMost,
    /// Text with the value in it, whatever the case.
    Contains,
    /// Nothing.
    Null,
    /// Any value but null.
    NotNull,
}

/// A condition on a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Column.
    pub column: String,
    /// Comparison.
    pub compare: Compare,
    /// Values as text; one but for [`Compare::In`], none for the tests of nothing.
    pub values: Vec<String>,
}

/// A column that rows are sorted by; nothing comes last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Column.
    pub column: String,
    /// From the greatest to the least.
    pub descending: bool,
}

/// How a row is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// As a JSON object.
    Json,
    /// As fields of a table.
    Fields,
}

/// Which rows are meant.
#[derive(Debug, Clone)]
pub struct Query {
    /// Columns that are wanted; none: all.
    pub columns: Vec<String>,
    /// Conditions, all of which must hold.
    pub filters: Vec<Filter>,
    /// Order of the rows; the key, or all columns, break ties.
    pub order: Vec<Order>,
    /// Values of the columns of the order at the end of the page before.
    pub after: Option<Position>,
    /// Maximum number of rows.
    pub limit: i64,
    /// How they are written.
    pub format: Format,
}

/// A part of the query that the mart does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Column.
    pub column: String,
    /// The problem, in words.
    pub why: String,
}

impl Query {
    /// The columns that are wanted, once every part of the query is known to fit the mart; the order is made complete.
    ///
    /// # Errors
    /// The first part that does not fit.
    pub fn fit<'a>(&mut self, schema: &'a Schema) -> Result<Vec<&'a Column>, Refused> {
        let find = |name: &str| {
            let found = schema.columns.iter().find(|column| column.name == name);
            found.ok_or_else(|| Refused {
                column: name.to_owned(),
                why: "the mart has no such column; see its schema".to_owned(),
            })
        };
        let wanted = if self.columns.is_empty() {
            schema.columns.iter().collect()
        } else {
            let wanted: Result<Vec<_>, _> = self.columns.iter().map(|name| find(name)).collect();
            wanted?
        };
        for (place, column) in self.columns.iter().enumerate() {
            if self.columns[..place].contains(column) {
                return Err(Refused {
                    column: column.clone(),
                    why: "is named twice".to_owned(),
                });
            }
        }
        for filter in &self.filters {
            let column = find(&filter.column)?;
            let tests_nothing = matches!(filter.compare, Compare::Null | Compare::NotNull);
            if !column.sortable && !tests_nothing {
                return Err(Refused {
                    column: column.name.clone(),
                    why: format!("a {} cannot be compared", column.sql_type),
                });
            }
        }
        for order in &self.order {
            if !find(&order.column)?.sortable {
                return Err(Refused {
                    column: order.column.clone(),
                    why: "has no order".to_owned(),
                });
            }
        }
        // Without a key of the rows all their columns together tell one from another.
        let has_key = schema.columns.iter().any(|column| column.key);
        let ties = schema
            .columns
            .iter()
            .filter(|column| column.sortable && (column.key || !has_key));
        for tie in ties {
            if !self.order.iter().any(|order| order.column == tie.name) {
                self.order.push(Order {
                    column: tie.name.clone(),
                    descending: false,
                });
            }
        }
        Ok(wanted)
    }
}

/// A name as SQL takes it. Names come from PostgreSQL's catalog, so they are known to exist.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// PostgreSQL's type of a column.
fn type_of<'a>(schema: &'a Schema, name: &str) -> &'a str {
    let column = schema.columns.iter().find(|column| column.name == name);
    column.map_or("text", |column| column.plain_type.as_str())
}

fn conditions(query: &mut QueryBuilder<Postgres>, schema: &Schema, filters: &[Filter]) {
    for filter in filters {
        let (name, kind) = (quoted(&filter.column), type_of(schema, &filter.column));
        let operator = match filter.compare {
            Compare::Null | Compare::NotNull => {
                let not = if filter.compare == Compare::NotNull {
                    " not"
                } else {
                    ""
                };
                query.push(format_args!(" and m.{name} is{not} null"));
                continue;
            }
            Compare::In => {
                query.push(format_args!(" and m.{name} = any ("));
                query.push_bind(filter.values.clone());
                query.push(format_args!("::text[]::{kind}[])"));
                continue;
            }
            Compare::Contains => {
                query.push(format_args!(" and position(lower("));
                query.push_bind(filter.values.first().cloned());
                query.push(format_args!("::text) in lower(m.{name}::text)) > 0"));
                continue;
            }
            Compare::NotEqual => "is distinct from",
            Compare::Greater => ">",
            Compare::AtLeast => ">=",
            Compare::Less => "<",
            Compare::AtMost => "<=",
        };
        query.push(format_args!(" and m.{name} {operator} "));
        query.push_bind(filter.values.first().cloned());
        query.push(format_args!("::text::{kind}"));
    }
}

/// Rows behind the end of the page before: equal in the first columns of the order and behind in the next one.
fn behind(
    query: &mut QueryBuilder<Postgres>,
    schema: &Schema,
    order: &[Order],
    after: &[Option<String>],
) {
    query.push(" and (false");
    for (place, (last, value)) in order.iter().zip(after).enumerate() {
        // Nothing comes last: no row is behind it.
        let Some(value) = value else { continue };
        query.push(" or (true");
        for (same, value) in order.iter().zip(after).take(place) {
            let kind = type_of(schema, &same.column);
            query.push(format_args!(
                " and m.{} is not distinct from ",
                quoted(&same.column)
            ));
            query.push_bind(value.clone());
            query.push(format_args!("::text::{kind}"));
        }
        let (name, kind) = (quoted(&last.column), type_of(schema, &last.column));
        let operator = if last.descending { "<" } else { ">" };
        query.push(format_args!(
            " and (m.{name} is null or m.{name} {operator} "
        ));
        query.push_bind(value.clone());
        query.push(format_args!("::text::{kind}))"));
    }
    query.push(")");
}

/// The statement that reads a page, and one row more: what is selected, then the place of the row in the order.
fn statement(schema: &Schema, selected: &str, asked: &Query) -> QueryBuilder<Postgres> {
    let place: Vec<_> = asked
        .order
        .iter()
        .map(|order| format!("m.{}::text", quoted(&order.column)))
        .collect();
    let mut query = QueryBuilder::<Postgres>::new("select ");
    query.push(selected);
    query.push(format_args!(
        ", array[{}]::text[] as place from {} m where true",
        place.join(", "),
        table(schema)
    ));
    conditions(&mut query, schema, &asked.filters);
    if let Some(after) = &asked.after {
        behind(&mut query, schema, &asked.order, after);
    }
    for (place, order) in asked.order.iter().enumerate() {
        query.push(if place == 0 { " order by " } else { ", " });
        let direction = if order.descending { "desc" } else { "asc" };
        query.push(format_args!(
            "m.{} {direction} nulls last",
            quoted(&order.column)
        ));
    }
    query.push(" limit ").push_bind(asked.limit + 1);
    query
}

/// Where a page begins: the columns of the order in the last row of the page before.
pub type Position = Vec<Option<String>>;

/// Reads a page and gives its rows to `each` as they come, so that no page is in memory twice: with [`Format::Json`] one text
/// per row, with [`Format::Fields`] one per column. Returns where the next page begins; none on the last one. The query must fit
/// the mart, see [`Query::fit`].
///
/// # Errors
/// Any error from PostgreSQL: of class 22 when a value does not have the type of its column.
pub async fn read(
    connection: &mut PgConnection,
    schema: &Schema,
    wanted: &[&Column],
    asked: &Query,
    mut each: impl FnMut(&[Option<&str>]),
) -> sqlx::Result<Option<Position>> {
    let names = wanted.iter().map(|column| quoted(&column.name));
    let cells: Vec<_> = match asked.format {
        Format::Json => {
            let names: Vec<_> = names.map(|name| format!("m.{name}")).collect();
            let names = names.join(", ");
            vec![format!(
                "(select row_to_json(x)::text from (select {names}) x) as c0"
            )]
        }
        Format::Fields => names
            .enumerate()
            .map(|(place, name)| format!("to_json(m.{name}) #>> '{{}}' as c{place}"))
            .collect(),
    };
    page(connection, schema, &cells, asked, |row| {
        let row: sqlx::Result<Vec<_>> = (0..cells.len()).map(|place| row.try_get(place)).collect();
        each(&row?);
        Ok(())
    })
    .await
}

/// Gives the rows of a page to `each`, with the selected cells first, and returns where the next page begins.
pub(super) async fn page(
    connection: &mut PgConnection,
    schema: &Schema,
    cells: &[String],
    asked: &Query,
    mut each: impl FnMut(&PgRow) -> sqlx::Result<()>,
) -> sqlx::Result<Option<Position>> {
    let mut query = statement(schema, &cells.join(", "), asked);
    let mut rows = query.build().fetch(connection);
    let mut last: Option<PgRow> = None;
    for _ in 0..asked.limit {
        let Some(row) = rows.try_next().await? else {
            return Ok(None);
        };
        each(&row)?;
        last = Some(row);
    }
    let more = rows.try_next().await?.is_some();
    last.filter(|_| more)
        .map(|row| row.try_get("place"))
        .transpose()
}

/// Counts the rows that match.
///
/// # Errors
/// Same as [`read`].
pub async fn count(
    connection: &mut PgConnection,
    schema: &Schema,
    filters: &[Filter],
) -> sqlx::Result<i64> {
    let mut query = QueryBuilder::<Postgres>::new("select count(*) from ");
    query.push(format_args!("{} m where true", table(schema)));
    conditions(&mut query, schema, filters);
    query.build_query_scalar().fetch_one(connection).await
}

/// The mart as SQL takes it.
fn table(schema: &Schema) -> String {
    let parts: Vec<_> = schema.mart.mart.split('.').map(quoted).collect();
    parts.join(".")
}
