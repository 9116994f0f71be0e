//! Encodings of values in an archive file, and columns of encoded values.

use std::fmt::Write as _;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use chrono::{DateTime, NaiveDate, TimeDelta};
use parquet::data_type::{ByteArray, FixedLenByteArray};
use serde::{Deserialize, Serialize};

/// Microseconds from 1970 to 2000, where PostgreSQL begins to count.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// The same in days.
const EPOCH_DAYS: i32 = 10_957;

/// Maximum number of digits of a decimal.
pub const MOST_DIGITS: u8 = 38;

/// A column of an archived table, as `core.archive_survey` describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnSpec {
    /// Name.
    pub name: String,
    /// Type in the database.
    #[serde(rename = "type")]
    pub sql: String,
    /// Encoding in the file.
    #[serde(rename = "form")]
    pub encoding: String,
}

/// Encoding of a value. A type without an encoding of its own is stored as PostgreSQL's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueEncoding {
    /// true or false.
    Bool,
    /// 16 bits.
    Int2,
    /// 32 bits.
    Int4,
    /// 64 bits.
    Int8,
    /// Single precision.
    Float4,
    /// Double precision.
    Float8,
    /// 16 bytes.
    Uuid,
    /// Bytes.
    Bytea,
    /// Days since 1970.
    Date,
    /// Microseconds since 1970 on a clock without a zone.
    Timestamp,
    /// Microseconds since 1970, UTC.
    TimestampTz,
    /// Digits in all and after the point.
    Decimal(u8, u8),
    /// UTF-8.
    Text,
}

impl ValueEncoding {
    /// The encoding of a name in `core.archives`.
    ///
    /// # Errors
    /// When a later version wrote it.
    pub fn parse(name: &str) -> anyhow::Result<Self> {
        let decimal = |digits: &str| {
            let (all, after) = digits.strip_suffix(')')?.split_once(',')?;
            Some(Self::Decimal(all.parse().ok()?, after.parse().ok()?))
        };
        Ok(match name {
            "bool" => Self::Bool,
            "int2" => Self::Int2,
            "int4" => Self::Int4,
            "int8" => Self::Int8,
            "float4" => Self::Float4,
            "float8" => Self::Float8,
            "uuid" => Self::Uuid,
            "bytea" => Self::Bytea,
            "date" => Self::Date,
            "timestamp" => Self::Timestamp,
            "timestamptz" => Self::TimestampTz,
            "text" => Self::Text,
            _ => name
                .strip_prefix("decimal(")
                .and_then(decimal)
                .with_context(|| format!("this version does not know the encoding {name:?}"))?,
        })
    }
}

/// Values of a column, without the nulls.
#[derive(Debug)]
pub enum ColumnValues {
    /// Booleans.
    Bool(Vec<bool>),
    /// Up to 32 bits: integers, dates, short decimals.
    Int(Vec<i32>),
    /// 64 bits: integers, instants, decimals.
    Long(Vec<i64>),
    /// Single precision.
    Float(Vec<f32>),
    /// Double precision.
    Double(Vec<f64>),
    /// Bytes and text.
    Bytes(Vec<ByteArray>),
    /// 16 bytes: UUIDs and long decimals.
    Fixed(Vec<FixedLenByteArray>),
}

/// A piece of a column.
#[derive(Debug)]
pub struct Column {
    /// Encoding.
    pub encoding: ValueEncoding,
    /// 1 for a value, 0 for null.
    pub levels: Vec<i16>,
    /// The values.
    pub values: ColumnValues,
    /// Approximate size of the values in memory, bytes.
    pub bytes: usize,
}

impl Column {
    /// An empty one.
    #[must_use]
    pub const fn new(encoding: ValueEncoding) -> Self {
        let values = match encoding {
            ValueEncoding::Bool => ColumnValues::Bool(Vec::new()),
            ValueEncoding::Int2
            | ValueEncoding::Int4
            | ValueEncoding::Date
            | ValueEncoding::Decimal(..=9, _) => ColumnValues::Int(Vec::new()),
            ValueEncoding::Int8
            | ValueEncoding::Timestamp
            | ValueEncoding::TimestampTz
            | ValueEncoding::Decimal(..=18, _) => ColumnValues::Long(Vec::new()),
            ValueEncoding::Float4 => ColumnValues::Float(Vec::new()),
            ValueEncoding::Float8 => ColumnValues::Double(Vec::new()),
            ValueEncoding::Uuid | ValueEncoding::Decimal(..) => ColumnValues::Fixed(Vec::new()),
            ValueEncoding::Bytea | ValueEncoding::Text => ColumnValues::Bytes(Vec::new()),
        };
        Self {
            encoding,
            levels: Vec::new(),
            values,
            bytes: 0,
        }
    }

    /// Adds a field as PostgreSQL sends it in binary; `None` for null.
    ///
    /// # Errors
    /// When the value does not have this encoding.
    pub fn push(&mut self, field: Option<&[u8]>) -> anyhow::Result<()> {
        self.levels.push(i16::from(field.is_some()));
        self.bytes += 2;
        let Some(field) = field else { return Ok(()) };
        self.bytes += match &self.values {
            ColumnValues::Bytes(_) | ColumnValues::Fixed(_) => field.len() + 40,
            _ => 8,
        };
        match (self.encoding, &mut self.values) {
            (ValueEncoding::Bool, ColumnValues::Bool(values)) => {
                values.push(fixed::<1>(field)? != [0]);
            }
            (ValueEncoding::Int2, ColumnValues::Int(values)) => {
                values.push(i16::from_be_bytes(fixed(field)?).into());
            }
            (ValueEncoding::Int4, ColumnValues::Int(values)) => {
                values.push(i32::from_be_bytes(fixed(field)?));
            }
            (ValueEncoding::Int8, ColumnValues::Long(values)) => {
                values.push(i64::from_be_bytes(fixed(field)?));
            }
            // To PostgreSQL all NaN are one value, whatever their bits are.
            (ValueEncoding::Float4, ColumnValues::Float(values)) => {
                let value = f32::from_be_bytes(fixed(field)?);
                values.push(if value.is_nan() { f32::NAN } else { value });
            }
            (ValueEncoding::Float8, ColumnValues::Double(values)) => {
                let value = f64::from_be_bytes(fixed(field)?);
                values.push(if value.is_nan() { f64::NAN } else { value });
            }
            (ValueEncoding::Date, ColumnValues::Int(values)) => {
                let days = i32::from_be_bytes(fixed(field)?);
                ensure!(days != i32::MIN, "a date out of range");
                values.push(
                    days.checked_add(EPOCH_DAYS)
                        .context("a date out of range")?,
                );
            }
            (ValueEncoding::Timestamp | ValueEncoding::TimestampTz, ColumnValues::Long(values)) => {
                let micros = i64::from_be_bytes(fixed(field)?);
                ensure!(micros != i64::MIN, "an instant out of range");
                let micros = micros.checked_add(EPOCH_MICROS);
                values.push(micros.context("an instant out of range")?);
            }
            (ValueEncoding::Uuid, ColumnValues::Fixed(values)) => {
                values.push(fixed::<16>(field)?.to_vec().into());
            }
            (ValueEncoding::Decimal(digits, scale), values) => {
                let unscaled = unscaled(field, scale)?;
                let most = 10_u128.pow(u32::from(digits.min(MOST_DIGITS)));
                ensure!(unscaled.unsigned_abs() < most, "a numeric out of range");
                match values {
                    ColumnValues::Int(values) => values.push(unscaled.try_into()?),
                    ColumnValues::Long(values) => values.push(unscaled.try_into()?),
                    ColumnValues::Fixed(values) => {
                        values.push(unscaled.to_be_bytes().to_vec().into());
                    }
                    _ => bail!("a decimal in the wrong column"),
                }
            }
            (ValueEncoding::Bytea | ValueEncoding::Text, ColumnValues::Bytes(values)) => {
                values.push(Bytes::copy_from_slice(field).into());
            }
            _ => bail!("values and encoding of a column do not fit"),
        }
        Ok(())
    }

    /// Rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.levels.len()
    }

    /// Writes the value at an index as PostgreSQL reads it, escaped for COPY.
    ///
    /// # Errors
    /// When the file has a value that the form does not have.
    pub fn write_text(&self, index: usize, out: &mut String) -> anyhow::Result<()> {
        match (&self.values, self.encoding) {
            (ColumnValues::Bool(values), _) => out.push(if values[index] { 't' } else { 'f' }),
            (ColumnValues::Int(values), ValueEncoding::Date) => {
                let days = TimeDelta::days(values[index].into());
                let date = NaiveDate::default().checked_add_signed(days);
                write!(
                    out,
                    "{}",
                    date.context("a date out of range")?.format("%Y-%m-%d")
                )?;
            }
            (ColumnValues::Int(values), ValueEncoding::Decimal(_, scale)) => {
                decimal(values[index].into(), scale, out)?;
            }
            (ColumnValues::Int(values), _) => write!(out, "{}", values[index])?,
            (ColumnValues::Long(values), ValueEncoding::Timestamp | ValueEncoding::TimestampTz) => {
                let instant = DateTime::from_timestamp_micros(values[index]);
                let instant = instant.context("an instant out of range")?;
                write!(out, "{}", instant.format("%Y-%m-%d %H:%M:%S%.6f"))?;
                if self.encoding == ValueEncoding::TimestampTz {
                    out.push_str("+00");
                }
            }
            (ColumnValues::Long(values), ValueEncoding::Decimal(_, scale)) => {
                decimal(values[index].into(), scale, out)?;
            }
            (ColumnValues::Long(values), _) => write!(out, "{}", values[index])?,
            // The shortest text that is read as the same number.
            (ColumnValues::Float(values), _) => write!(out, "{:?}", values[index])?,
            (ColumnValues::Double(values), _) => write!(out, "{:?}", values[index])?,
            (ColumnValues::Fixed(values), ValueEncoding::Decimal(_, scale)) => {
                decimal(
                    i128::from_be_bytes(fixed(values[index].data())?),
                    scale,
                    out,
                )?;
            }
            (ColumnValues::Fixed(values), _) => hex(values[index].data(), out)?,
            (ColumnValues::Bytes(values), ValueEncoding::Bytea) => {
                out.push_str("\\\\x");
                hex(values[index].data(), out)?;
            }
            (ColumnValues::Bytes(values), _) => {
                escape(std::str::from_utf8(values[index].data())?, out);
            }
        }
        Ok(())
    }
}

fn fixed<const N: usize>(field: &[u8]) -> anyhow::Result<[u8; N]> {
    field
        .try_into()
        .with_context(|| format!("a field of {} bytes instead of {N}", field.len()))
}

/// Digits after the point of a numeric as PostgreSQL sends it in binary.
///
/// # Errors
/// If it is not such a numeric.
pub fn scale(field: &[u8]) -> anyhow::Result<u16> {
    let bytes = field.get(6..8).context("a short numeric")?;
    Ok(u16::from_be_bytes(fixed(bytes)?))
}

/// PostgreSQL's digits to the base 10,000, as a number of units of the last place.
fn unscaled(field: &[u8], scale: u8) -> anyhow::Result<i128> {
    let word = |index: usize| -> anyhow::Result<u16> {
        let bytes = field.get(2 * index..2 * index + 2);
        Ok(u16::from_be_bytes(fixed(
            bytes.context("a short numeric")?,
        )?))
    };
    let weight = i32::from(word(1)?.cast_signed());
    let sign = word(2)?;
    ensure!(sign == 0 || sign == 0x4000, "a numeric without a value");
    let mut sum = 0_i128;
    for (digit, position) in (0..word(0)?).zip(0_i32..) {
        let value = i128::from(word(4 + usize::from(digit))?);
        let power = 4 * (weight - position) + i32::from(scale);
        let part = if power >= 0 {
            10_i128
                .checked_pow(power.unsigned_abs())
                .and_then(|factor| value.checked_mul(factor))
                .context("a numeric out of range")?
        } else {
            let divisor = 10_i128.pow(power.unsigned_abs().min(4));
            ensure!(
                value % divisor == 0,
                "a numeric with more decimals than its type"
            );
            value / divisor
        };
        sum = sum.checked_add(part).context("a numeric out of range")?;
    }
    Ok(if sign == 0 { sum } else { -sum })
}

fn decimal(unscaled: i128, scale: u8, out: &mut String) -> std::fmt::Result {
    let scale = usize::from(scale);
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if unscaled < 0 { "-" } else { "" };
    let point = if scale == 0 { "" } else { "." };
    write!(out, "{sign}{whole}{point}{fraction}")
}

fn hex(bytes: &[u8], out: &mut String) -> std::fmt::Result {
    bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}

/// The escapes of COPY's text format.
fn escape(text: &str, out: &mut String) {
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            other => out.push(other),
        }
    }
}
