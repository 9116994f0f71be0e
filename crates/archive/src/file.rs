//! The Parquet file: written row group by row group, read the same way.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use parquet::basic::{
    Compression, Encoding, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel,
};
use parquet::column::reader::ColumnReader;
use parquet::column::writer::ColumnWriter;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::{ChunkReader, FileReader as _, Length};
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, Type};
use tokio::runtime::Handle;

use super::encoding::{Column, ColumnSpec, ColumnValues, ValueEncoding};
use super::row_group::{ROW_GROUP_ROWS, RowGroup};
use super::store::Store;

/// Archives are read seldom and kept long.
const ZSTD: i32 = 9;
/// Bytes of an object that are read at once.
const WINDOW: u64 = 4 * 1024 * 1024;

/// The forms of columns.
///
/// # Errors
/// When a later version wrote one.
pub fn encodings(columns: &[ColumnSpec]) -> anyhow::Result<Vec<ValueEncoding>> {
    columns
        .iter()
        .map(|column| ValueEncoding::parse(&column.encoding))
        .collect()
}

fn schema(columns: &[ColumnSpec]) -> anyhow::Result<Type> {
    let mut fields = Vec::new();
    for column in columns {
        let encoding = ValueEncoding::parse(&column.encoding)?;
        let micros = |utc| LogicalType::timestamp(utc, TimeUnit::MICROS);
        let (physical, logical) = match encoding {
            ValueEncoding::Bool => (Physical::BOOLEAN, None),
            ValueEncoding::Int2 => (Physical::INT32, Some(LogicalType::integer(16, true))),
            ValueEncoding::Int4 => (Physical::INT32, None),
            ValueEncoding::Int8 => (Physical::INT64, None),
            ValueEncoding::Float4 => (Physical::FLOAT, None),
            ValueEncoding::Float8 => (Physical::DOUBLE, None),
            ValueEncoding::Uuid => (Physical::FIXED_LEN_BYTE_ARRAY, Some(LogicalType::Uuid)),
            ValueEncoding::Bytea => (Physical::BYTE_ARRAY, None),
            ValueEncoding::Date => (Physical::INT32, Some(LogicalType::Date)),
            ValueEncoding::Timestamp => (Physical::INT64, Some(micros(false))),
            ValueEncoding::TimestampTz => (Physical::INT64, Some(micros(true))),
            ValueEncoding::Decimal(digits, scale) => (
                match digits {
                    ..=9 => Physical::INT32,
                    10..=18 => Physical::INT64,
                    _ => Physical::FIXED_LEN_BYTE_ARRAY,
                },
                Some(LogicalType::decimal(scale.into(), digits.into())),
            ),
            ValueEncoding::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        let mut field = Type::primitive_type_builder(&column.name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical);
        if physical == Physical::FIXED_LEN_BYTE_ARRAY {
            field = field.with_length(16);
        }
        if let ValueEncoding::Decimal(digits, scale) = encoding {
            field = field.with_precision(digits.into()).with_scale(scale.into());
        }
        fields.push(Arc::new(field.build()?));
    }
    Ok(Type::group_type_builder("schema")
        .with_fields(fields)
        .build()?)
}

/// A Parquet file in the making; the written bytes are taken away piece by piece.
pub struct Writer {
    file: SerializedFileWriter<Vec<u8>>,
}

impl Writer {
    /// Begins a file; `about` becomes metadata of the file.
    ///
    /// # Errors
    /// When a form is unknown.
    pub fn new(columns: &[ColumnSpec], about: &[(&str, &str)]) -> anyhow::Result<Self> {
        let about = about
            .iter()
            .map(|(key, value)| KeyValue::new(format!("acequia.{key}"), (*value).to_owned()))
            .collect();
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD)?))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_max_row_group_row_count(Some(2 * ROW_GROUP_ROWS))
            .set_created_by(concat!("acequia ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_key_value_metadata(Some(about));
        for column in columns {
            let path = ColumnPath::new(vec![column.name.clone()]);
            // Instants follow each other; identities do not repeat. Byte-stream splitting would save a
            // little on the latter, but duckdb does not read it there.
            let encoding = match ValueEncoding::parse(&column.encoding)? {
                ValueEncoding::Int8 | ValueEncoding::Timestamp | ValueEncoding::TimestampTz => {
                    Encoding::DELTA_BINARY_PACKED
                }
                ValueEncoding::Uuid => Encoding::PLAIN,
                _ => continue,
            };
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, encoding);
        }
        let schema = Arc::new(schema(columns)?);
        let file = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties.build()))?;
        Ok(Self { file })
    }

    /// Writes a row group; returns the bytes that are ready to go.
    ///
    /// # Errors
    /// Errors of the format.
    pub fn write(&mut self, row_group: &RowGroup) -> anyhow::Result<Vec<u8>> {
        let mut group = self.file.next_row_group()?;
        for column in &row_group.columns {
            let mut writer = group.next_column()?.context("a column too many")?;
            write_column(writer.untyped(), column)?;
            writer.close()?;
        }
        group.close()?;
        self.file.flush()?;
        Ok(std::mem::take(self.file.inner_mut()))
    }

    /// Ends the file; returns its last bytes.
    ///
    /// # Errors
    /// Errors of the format.
    pub fn finish(self) -> anyhow::Result<Vec<u8>> {
        Ok(self.file.into_inner()?)
    }
}

fn write_column(writer: &mut ColumnWriter<'_>, column: &Column) -> anyhow::Result<()> {
    let levels = Some(&column.levels[..]);
    match (writer, &column.values) {
        (ColumnWriter::BoolColumnWriter(w), ColumnValues::Bool(values)) => {
            w.write_batch(values, levels, None)?
        }
        (ColumnWriter::Int32ColumnWriter(w), ColumnValues::Int(values)) => {
            w.write_batch(values, levels, None)?
        }
        (ColumnWriter::Int64ColumnWriter(w), ColumnValues::Long(values)) => {
            w.write_batch(values, levels, None)?
        }
        (ColumnWriter::FloatColumnWriter(w), ColumnValues::Float(values)) => {
            w.write_batch(values, levels, None)?
        }
        (ColumnWriter::DoubleColumnWriter(w), ColumnValues::Double(values)) => {
            w.write_batch(values, levels, None)?
        }
        (ColumnWriter::ByteArrayColumnWriter(w), ColumnValues::Bytes(values)) => {
            w.write_batch(values, levels, None)?
        }
        (ColumnWriter::FixedLenByteArrayColumnWriter(w), ColumnValues::Fixed(values)) => {
            w.write_batch(values, levels, None)?
        }
        _ => bail!("values and encoding of a column do not fit"),
    };
    Ok(())
}

/// Reads a file block by block and hands each on, until that says to stop. To be called where
/// blocking is allowed.
///
/// # Errors
/// When the file is damaged or has other columns, and what `each` says.
pub fn read(
    object: Object,
    columns: &[ColumnSpec],
    mut each: impl FnMut(RowGroup) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let encodings = encodings(columns)?;
    let file = SerializedFileReader::new(object)?;
    let found = file.metadata().file_metadata().schema();
    let wanted = schema(columns)?;
    ensure!(
        found.get_fields() == wanted.get_fields(),
        "the file has other columns than its manifest"
    );
    for index in 0..file.num_row_groups() {
        let group = file.get_row_group(index)?;
        let rows = usize::try_from(group.metadata().num_rows())?;
        ensure!(rows <= 2 * ROW_GROUP_ROWS, "a row group of {rows} rows");
        let mut row_group = RowGroup::new(&encodings);
        for (position, column) in row_group.columns.iter_mut().enumerate() {
            read_column(group.get_column_reader(position)?, column, rows)?;
            ensure!(column.rows() == rows, "a column is cut off");
        }
        each(row_group)?;
    }
    Ok(())
}

fn read_column(reader: ColumnReader, column: &mut Column, rows: usize) -> anyhow::Result<()> {
    macro_rules! all {
        ($reader:expr, $values:expr) => {
            while column.levels.len() < rows {
                let left = rows - column.levels.len();
                let (records, ..) =
                    $reader.read_records(left, Some(&mut column.levels), None, $values)?;
                if records == 0 {
                    break;
                }
            }
        };
    }
    match (reader, &mut column.values) {
        (ColumnReader::BoolColumnReader(mut r), ColumnValues::Bool(values)) => all!(r, values),
        (ColumnReader::Int32ColumnReader(mut r), ColumnValues::Int(values)) => all!(r, values),
        (ColumnReader::Int64ColumnReader(mut r), ColumnValues::Long(values)) => all!(r, values),
        (ColumnReader::FloatColumnReader(mut r), ColumnValues::Float(values)) => all!(r, values),
        (ColumnReader::DoubleColumnReader(mut r), ColumnValues::Double(values)) => all!(r, values),
        (ColumnReader::ByteArrayColumnReader(mut r), ColumnValues::Bytes(values)) => {
            all!(r, values);
        }
        (ColumnReader::FixedLenByteArrayColumnReader(mut r), ColumnValues::Fixed(values)) => {
            all!(r, values);
        }
        _ => bail!("values and encoding of a column do not fit"),
    }
    Ok(())
}

/// An object of the store as the Parquet reader sees it: read by windows, never held whole.
#[derive(Clone)]
pub struct Object(Arc<Remote>);

struct Remote {
    store: Store,
    path: String,
    length: u64,
    runtime: Handle,
    window: Mutex<(u64, Bytes)>,
}

impl Object {
    /// An object of this length.
    #[must_use]
    pub fn new(store: Store, path: String, length: u64, runtime: Handle) -> Self {
        Self(Arc::new(Remote {
            store,
            path,
            length,
            runtime,
            window: Mutex::default(),
        }))
    }

    fn bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let remote = &self.0;
        let end = start + length as u64;
        if end > remote.length {
            return Err(ParquetError::EOF("beyond the end of the object".to_owned()));
        }
        let mut window = remote.window.lock().unwrap_or_else(PoisonError::into_inner);
        let (from, held) = &*window;
        if start < *from || end > from + held.len() as u64 {
            let until = end.max(start + WINDOW).min(remote.length);
            let fetch = remote.store.range(&remote.path, start..until);
            let fetched = remote.runtime.block_on(fetch);
            *window = (
                start,
                fetched.map_err(|error| ParquetError::General(format!("{error:#}")))?,
            );
        }
        let offset = usize::try_from(start - window.0).unwrap_or(usize::MAX);
        Ok(window.1.slice(offset..offset + length))
    }
}

impl Length for Object {
    fn len(&self) -> u64 {
        self.0.length
    }
}

/// Reads on from a place in an object.
pub struct Cursor {
    object: Object,
    at: u64,
}

impl Read for Cursor {
    fn read(&mut self, mut out: &mut [u8]) -> std::io::Result<usize> {
        let left = self.object.len().saturating_sub(self.at);
        let length = out.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let bytes = self
            .object
            .bytes(self.at, length)
            .map_err(std::io::Error::other)?;
        self.at += length as u64;
        out.write_all(&bytes)?;
        Ok(length)
    }
}

impl ChunkReader for Object {
    type T = Cursor;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Cursor> {
        Ok(Cursor {
            object: self.clone(),
            at: start,
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        self.bytes(start, length)
    }
}
