//! Rows of a mart as a Parquet file, with the column types that archives have.

use acequia_archive::encoding::{self, ColumnSpec, MOST_DIGITS, ValueEncoding};
use acequia_archive::file::Writer;
use acequia_archive::row_group::RowGroup;
use anyhow::ensure;
use sqlx::postgres::{PgRow, PgValueFormat};
use sqlx::{PgConnection, Row as _, ValueRef as _};

use super::rows::{Position, page, quoted};
use super::{Column, Query, Refused, Schema};

/// A page of rows as PostgreSQL sends them in binary.
#[derive(Debug)]
pub struct Values {
    /// The columns.
    pub columns: Vec<Column>,
    /// The fields of each.
    fields: Vec<Fields>,
}

/// The fields of a column, one behind the other: rows as they come take several times the memory.
#[derive(Debug, Default)]
struct Fields {
    bytes: Vec<u8>,
    /// None for null.
    lengths: Vec<Option<usize>>,
}

/// A page of rows by columns, each with its type in the file.
#[derive(Debug)]
pub struct Table {
    specs: Vec<ColumnSpec>,
    rows: RowGroup,
}

/// Reads a page; returns where the next one begins, too, see [`read`](super::read). The query must fit the mart, see [`Query::fit`].
///
/// # Errors
/// Whatever PostgreSQL answers: of class 22 when a value does not have the type of its column.
pub async fn values(
    connection: &mut PgConnection,
    schema: &Schema,
    wanted: &[&Column],
    asked: &Query,
) -> sqlx::Result<(Values, Option<Position>)> {
    let selected: Vec<_> = wanted
        .iter()
        .enumerate()
        .map(|(place, column)| {
            let name = quoted(&column.name);
            // A type that Parquet does not have is written as in CSV.
            if column.type_name == "numeric" || ValueEncoding::parse(&column.type_name).is_ok() {
                format!("m.{name} as c{place}")
            } else {
                format!("to_json(m.{name}) #>> '{{}}' as c{place}")
            }
        })
        .collect();
    let mut fields: Vec<_> = wanted.iter().map(|_| Fields::default()).collect();
    let next = page(connection, schema, &selected, asked, |row| {
        let mut columns = fields.iter_mut().enumerate();
        columns.try_for_each(|(place, fields)| fields.push(row, place))
    })
    .await?;
    let columns = wanted.iter().map(|column| (*column).clone()).collect();
    Ok((Values { columns, fields }, next))
}

impl Values {
    /// The rows by columns. Takes a while, so it is to be called where that hinders nobody.
    ///
    /// # Errors
    /// The first column with a value that no type of a Parquet file can hold.
    pub fn table(self) -> Result<Table, Refused> {
        let mut specs = Vec::new();
        let mut columns = Vec::new();
        for (column, fields) in self.columns.iter().zip(self.fields) {
            let (spec, values) = fill(column, &fields).map_err(|error| Refused {
                column: column.name.clone(),
                why: format!("{error:#}, which Parquet cannot hold"),
            })?;
            specs.push(spec);
            columns.push(values);
        }
        let rows = RowGroup { columns };
        Ok(Table { specs, rows })
    }
}

impl Table {
    /// The file; `about` becomes its metadata, `acequia.` before each key. To be called where blocking is allowed.
    ///
    /// # Errors
    /// Those of the format.
    pub fn file(&self, about: &[(&str, &str)]) -> anyhow::Result<Vec<u8>> {
        let mut writer = Writer::new(&self.specs, about)?;
        let mut file = if self.rows.rows() > 0 {
            writer.write(&self.rows)?
        } else {
            Vec::new()
        };
        file.extend(writer.finish()?);
        Ok(file)
    }
}

impl Fields {
    fn push(&mut self, row: &PgRow, place: usize) -> sqlx::Result<()> {
        let value = row.try_get_raw(place)?;
        if value.is_null() {
            self.lengths.push(None);
            return Ok(());
        }
        if value.format() != PgValueFormat::Binary {
            return Err(sqlx::Error::Protocol("a field in text".to_owned()));
        }
        let field = value.as_bytes().map_err(sqlx::Error::Decode)?;
        self.lengths.push(Some(field.len()));
        self.bytes.extend(field);
        Ok(())
    }

    fn iter(&self) -> impl Iterator<Item = Option<&[u8]>> {
        let mut rest = &self.bytes[..];
        self.lengths.iter().map(move |length| {
            let (field, behind) = rest.split_at((*length)?);
            rest = behind;
            Some(field)
        })
    }
}

fn fill(column: &Column, fields: &Fields) -> anyhow::Result<(ColumnSpec, encoding::Column)> {
    let spec = ColumnSpec {
        name: column.name.clone(),
        sql: column.sql_type.clone(),
        encoding: match column.type_name.as_str() {
            "numeric" => decimal(column, fields)?,
            name if ValueEncoding::parse(name).is_ok() => name.to_owned(),
            _ => "text".to_owned(),
        },
    };
    let mut values = encoding::Column::new(ValueEncoding::parse(&spec.encoding)?);
    for field in fields.iter() {
        values.push(field)?;
    }
    Ok((spec, values))
}

/// The encoding of a numeric: as its type limits it; without limits as many decimals as the values have.
fn decimal(column: &Column, fields: &Fields) -> anyhow::Result<String> {
    if let Some(limits) = column.sql_type.strip_prefix("numeric") {
        let limited = format!("decimal{limits}");
        if let Ok(ValueEncoding::Decimal(digits, scale)) = ValueEncoding::parse(&limited)
            && digits <= MOST_DIGITS
            && scale <= digits
        {
            return Ok(limited);
        }
    }
    let mut most = 0;
    for field in fields.iter().flatten() {
        most = most.max(encoding::scale(field)?);
    }
    ensure!(most <= MOST_DIGITS.into(), "a numeric with {most} decimals");
    Ok(format!("decimal({MOST_DIGITS},{most})"))
}
