//! A Parquet file as its record reader shows it.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{Days, NaiveDate};
use parquet::basic::LogicalType;
use parquet::file::reader::FileReader as _;
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::record::Field;
use parquet::schema::types::Type;
use uuid::Uuid;

pub struct File {
    /// Names, each with its type as Parquet writes it.
    pub columns: Vec<(String, String)>,
    /// Rows by the names of the columns: instants as microseconds, everything else as text, none for null.
    pub rows: Vec<BTreeMap<String, Option<String>>>,
    /// Metadata.
    pub about: BTreeMap<String, String>,
}

impl File {
    pub fn read(bytes: &[u8]) -> Self {
        let reader = SerializedFileReader::new(Bytes::copy_from_slice(bytes)).unwrap();
        let metadata = reader.metadata().file_metadata();
        let types = metadata.schema().get_fields();
        let columns = types
            .iter()
            .map(|field| (field.name().to_owned(), shown(field)))
            .collect();
        let about = metadata.key_value_metadata().unwrap().iter();
        let about = about
            .map(|pair| (pair.key.clone(), pair.value.clone().unwrap()))
            .collect();
        let rows = reader
            .get_row_iter(None)
            .unwrap()
            .map(|row| {
                let cells = row.unwrap().into_columns().into_iter().zip(types);
                cells
                    .map(|((name, field), of)| (name, text(field, of)))
                    .collect()
            })
            .collect();
        Self {
            columns,
            rows,
            about,
        }
    }

    /// The rows by columns, each a name and a type of PostgreSQL.
    pub fn rows_of(&self, columns: &[(&str, &str)]) -> Vec<Vec<Option<String>>> {
        let of_row = |row: &BTreeMap<String, Option<String>>| {
            let cells = columns.iter();
            cells
                .map(|(name, sql_type)| Some(plain(row[*name].as_deref()?, sql_type)))
                .collect()
        };
        self.rows.iter().map(of_row).collect()
    }
}

/// Physical and logical type.
fn shown(field: &Type) -> String {
    let physical = field.get_physical_type();
    match field.get_basic_info().logical_type_ref() {
        Some(LogicalType::Decimal(kind)) => {
            format!("{physical} decimal({},{})", kind.precision, kind.scale)
        }
        Some(LogicalType::Timestamp(kind)) => {
            format!(
                "{physical} timestamp({:?},{})",
                kind.unit, kind.is_adjusted_to_u_t_c
            )
        }
        Some(LogicalType::Integer(kind)) => format!("{physical} int({})", kind.bit_width),
        Some(other) => format!("{physical} {other:?}"),
        None => physical.to_string(),
    }
}

fn text(field: Field, of: &Type) -> Option<String> {
    Some(match field {
        Field::Null => return None,
        Field::Str(text) => text,
        Field::Date(days) => {
            let days = Days::new(u64::try_from(days).unwrap());
            NaiveDate::default()
                .checked_add_days(days)
                .unwrap()
                .to_string()
        }
        Field::TimestampMicros(micros) => micros.to_string(),
        Field::Float(value) => value.to_string(),
        Field::Double(value) => value.to_string(),
        Field::Bytes(bytes)
            if of.get_basic_info().logical_type_ref() == Some(&LogicalType::Uuid) =>
        {
            Uuid::from_slice(bytes.data()).unwrap().to_string()
        }
        Field::Bytes(bytes) => {
            let hex: String = bytes
                .data()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            format!("\\x{hex}")
        }
        // The library writes a point behind a decimal of scale 0, too.
        other => other.to_string().trim_end_matches('.').to_owned(),
    })
}

/// A number in one way of writing it, anything else as it is: a column of decimals has one scale.
pub fn plain(text: &str, sql_type: &str) -> String {
    match sql_type {
        "real" | "double precision" => text.parse::<f64>().unwrap().to_string(),
        _ if sql_type.starts_with("numeric") && text.contains('.') => {
            let text = text.trim_end_matches('0').trim_end_matches('.');
            text.to_owned()
        }
        _ => text.to_owned(),
    }
}
