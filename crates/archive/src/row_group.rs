//! Row groups in columns: read from PostgreSQL's binary COPY, written to its text COPY.

use anyhow::{Context, ensure};
use bytes::{Buf, Bytes, BytesMut};
use sha2::{Digest, Sha256};

use super::encoding::{Column, ColumnSpec, ColumnValues, ValueEncoding};

/// Rows of one row group.
pub const ROW_GROUP_ROWS: usize = 65_536;
/// A row group is full with this many bytes, however few its rows are.
const ROW_GROUP_BYTES: usize = 32 * 1024 * 1024;
/// First bytes of a binary COPY.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// A bounded number of rows.
#[derive(Debug)]
pub struct RowGroup {
    /// The columns.
    pub columns: Vec<Column>,
}

impl RowGroup {
    /// An empty one.
    #[must_use]
    pub fn new(encodings: &[ValueEncoding]) -> Self {
        Self {
            columns: encodings
                .iter()
                .map(|encoding| Column::new(*encoding))
                .collect(),
        }
    }

    /// Rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, Column::rows)
    }

    /// Whether it has as many rows, or bytes, as a row group may have.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.rows() >= ROW_GROUP_ROWS
            || self
                .columns
                .iter()
                .map(|column| column.bytes)
                .sum::<usize>()
                >= ROW_GROUP_BYTES
    }

    /// The rows in COPY's text format.
    ///
    /// # Errors
    /// When a value does not fit its form.
    pub fn copy_text(&self) -> anyhow::Result<String> {
        let mut out = String::with_capacity(self.rows() * self.columns.len() * 8);
        let mut next = vec![0_usize; self.columns.len()];
        for row in 0..self.rows() {
            for (position, column) in self.columns.iter().enumerate() {
                if position > 0 {
                    out.push('\t');
                }
                if column.levels.get(row) == Some(&1) {
                    column.write_text(next[position], &mut out)?;
                    next[position] += 1;
                } else {
                    out.push_str("\\N");
                }
            }
            out.push('\n');
        }
        Ok(out)
    }
}

/// Cuts a stream of binary COPY into rows.
#[derive(Debug, Default)]
pub struct Rows {
    buffer: BytesMut,
    begun: bool,
    ended: bool,
}

impl Rows {
    /// Adds a chunk, and moves whole rows into the row group until that is full; false when no
    /// whole row is left.
    ///
    /// # Errors
    /// When it is not binary COPY of these columns.
    pub fn take(&mut self, chunk: Bytes, row_group: &mut RowGroup) -> anyhow::Result<bool> {
        self.buffer.extend_from_slice(&chunk);
        if !self.begun {
            // Signature, flags, and the length of an extension that is not in use so far.
            if self.buffer.len() < SIGNATURE.len() + 8 {
                return Ok(false);
            }
            ensure!(self.buffer.starts_with(SIGNATURE), "no binary COPY");
            self.buffer.advance(SIGNATURE.len() + 8);
            self.begun = true;
        }
        while !self.ended {
            if row_group.is_full() {
                return Ok(true);
            }
            let Some(length) = row_length(&self.buffer)? else {
                return Ok(false);
            };
            let row = self.buffer.split_to(length);
            let mut row = &row[..];
            let count = row.get_i16();
            if count == -1 {
                self.ended = true;
                break;
            }
            ensure!(
                usize::try_from(count)? == row_group.columns.len(),
                "{count} columns"
            );
            for column in &mut row_group.columns {
                let length = row.get_i32();
                let field = usize::try_from(length).ok().map(|length| {
                    let (field, rest) = row.split_at(length);
                    row = rest;
                    field
                });
                column.push(field)?;
            }
        }
        Ok(false)
    }

    /// Insists that the stream came to its end.
    ///
    /// # Errors
    /// When it did not.
    pub fn finish(&self) -> anyhow::Result<()> {
        ensure!(
            self.ended && self.buffer.is_empty(),
            "the COPY ended too early"
        );
        Ok(())
    }
}

/// Length of the row at the beginning, when it is there whole.
fn row_length(buffer: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some((count, _)) = buffer.split_first_chunk::<2>() else {
        return Ok(None);
    };
    let mut length = 2;
    for _ in 0..i16::from_be_bytes(*count).max(0) {
        let Some(field) = buffer.get(length..length + 4) else {
            return Ok(None);
        };
        let field = i32::from_be_bytes(field.try_into().context("a length")?);
        length += 4 + usize::try_from(field.max(0))?;
    }
    Ok((buffer.len() >= length).then_some(length))
}

/// SHA-256 over rows in their order, so that table, file and restored table can be compared: of
/// each column its name, its encoding and its values one after the other, and the number of rows.
#[derive(Debug)]
pub struct Checksum {
    columns: Vec<(String, Sha256)>,
    rows: u64,
}

impl Checksum {
    /// The checksum of no rows.
    #[must_use]
    pub fn new(columns: &[ColumnSpec]) -> Self {
        let columns = columns
            .iter()
            .map(|column| {
                (
                    format!("{}\0{}\0", column.name, column.encoding),
                    Sha256::new(),
                )
            })
            .collect();
        Self { columns, rows: 0 }
    }

    /// Adds rows.
    pub fn add(&mut self, row_group: &RowGroup) {
        self.rows += row_group.rows() as u64;
        for ((_, hash), column) in self.columns.iter_mut().zip(&row_group.columns) {
            hash.update(image(column));
        }
    }

    /// Rows so far.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// The checksum, hexadecimal.
    #[must_use]
    pub fn finish(self) -> String {
        let mut whole = Sha256::new();
        whole.update(self.rows.to_be_bytes());
        for (name, hash) in self.columns {
            whole.update(name.as_bytes());
            whole.update(hash.finalize());
        }
        hex(&whole.finalize())
    }
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a column that are hashed: 0 for null, else 1, the length where values differ in
/// it, the bytes.
fn image(column: &Column) -> Vec<u8> {
    let mut out = Vec::with_capacity(column.bytes + column.rows());
    let mut next = 0;
    for level in &column.levels {
        if *level == 0 {
            out.push(0);
            continue;
        }
        out.push(1);
        match &column.values {
            ColumnValues::Bool(values) => out.push(values[next].into()),
            ColumnValues::Int(values) => out.extend(values[next].to_be_bytes()),
            ColumnValues::Long(values) => out.extend(values[next].to_be_bytes()),
            ColumnValues::Float(values) => out.extend(values[next].to_be_bytes()),
            ColumnValues::Double(values) => out.extend(values[next].to_be_bytes()),
            ColumnValues::Fixed(values) => out.extend(values[next].data()),
            ColumnValues::Bytes(values) => {
                let bytes = values[next].data();
                out.extend((bytes.len() as u64).to_be_bytes());
                out.extend(bytes);
            }
        }
        next += 1;
    }
    out
}
