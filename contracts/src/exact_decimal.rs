//! Decimal numbers that never pass a float.

use rust_decimal::Decimal;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::violation::Code;

/// The most digits and the most decimals that a [`Decimal`] has.
const DIGITS: i64 = 29;
const DECIMALS: i64 = 28;

/// A decimal number kept exactly as the publisher wrote it; JSON numbers never pass a float.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ExactDecimal(pub Decimal);

impl ExactDecimal {
    /// Reads a JSON number, in any of the ways in which it may be written.
    ///
    /// # Errors
    /// `invalid_type` when it is no number, `out_of_range` when it is too large and `too_precise`
    /// when it has too many decimals to be kept. Zeros at the end are no decimals.
    pub(crate) fn read(json: &str) -> Result<Self, Code> {
        if !json.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
            return Err(Code::InvalidType);
        }
        // So few characters always fit.
        if json.len() <= 28
            && !json.contains(['e', 'E'])
            && let Ok(number) = Decimal::from_str_exact(json)
        {
            return Ok(Self(number.normalize()));
        }
        read_any(json).map(Self)
    }
}

/// The same number has many spellings: only its digits and the place of the point count.
fn read_any(json: &str) -> Result<Decimal, Code> {
    let (mantissa, exponent) = json.split_once(['e', 'E']).unwrap_or((json, "0"));
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(mantissa) => (-1, mantissa),
        None => (1, mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let written = [whole, fraction].concat();
    let digits = written.trim_start_matches('0').trim_end_matches('0');
    if digits.is_empty() {
        return Ok(Decimal::ZERO);
    }
    let zeros = written.len() - written.trim_end_matches('0').len();
    // The power of ten of the last digit. What does not fit an integer is far out of every range.
    let far = if exponent.starts_with('-') {
        i64::MIN / 2
    } else {
        i64::MAX / 2
    };
    let power = (exponent.parse::<i64>().unwrap_or(far))
        .saturating_add(length(zeros))
        .saturating_sub(length(fraction.len()));
    let whole_digits = length(digits.len()).saturating_add(power);
    if whole_digits > DIGITS {
        return Err(Code::OutOfRange);
    }
    if power < -DECIMALS || length(digits.len()) > DIGITS {
        return Err(Code::TooPrecise);
    }
    let all = format!(
        "{digits}{}",
        "0".repeat(power.max(0).unsigned_abs() as usize)
    );
    let scale = power.min(0).unsigned_abs() as u32;
    let number = all.parse::<i128>().ok();
    number
        .and_then(|number| Decimal::try_from_i128_with_scale(sign * number, scale).ok())
        // As many digits as it has at most, and they are too large together.
        .ok_or(if whole_digits == DIGITS {
            Code::OutOfRange
        } else {
            Code::TooPrecise
        })
}

fn length(characters: usize) -> i64 {
    i64::try_from(characters).unwrap_or(i64::MAX / 2)
}

impl<'de> Deserialize<'de> for ExactDecimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = <&RawValue>::deserialize(deserializer)?.get();
        Self::read(json).map_err(|_| D::Error::custom("not a number that can be kept"))
    }
}

impl Serialize for ExactDecimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.0.to_string())
            .map_err(serde::ser::Error::custom)?
            .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_the_same_however_it_is_written() {
        let zeros = "0".repeat(500);
        for (json, exact) in [
            ("0", "0"),
            ("-0", "0"),
            ("-0.0e5", "0"),
            ("0e99999999999999999999", "0"),
            ("8.70", "8.7"),
            ("75e-2", "0.75"),
            ("0.0075E+2", "0.75"),
            ("-1e1", "-10"),
            (&format!("8.75{zeros}"), "8.75"),
            (&format!("1{zeros}e-500"), "1"),
            (&format!("0.{zeros}1e+501"), "1"),
            ("1e28", "10000000000000000000000000000"),
            (
                "79228162514264337593543950335",
                "79228162514264337593543950335",
            ),
            (
                "0.0000000000000000000000000001",
                "0.0000000000000000000000000001",
            ),
            (
                "7.9228162514264337593543950335",
                "7.9228162514264337593543950335",
            ),
        ] {
            let read = ExactDecimal::read(json).map(|exact| exact.0.to_string());
            assert_eq!(read, Ok(exact.to_owned()), "{json}");
        }
    }

    #[test]
    fn too_large_and_too_precise_are_two_things() {
        let zeros = "0".repeat(500);
        for (json, code) in [
            ("79228162514264337593543950336", Code::OutOfRange),
            ("1e29", Code::OutOfRange),
            ("-1e400", Code::OutOfRange),
            ("1e99999999999999999999", Code::OutOfRange),
            (&format!("1{zeros}"), Code::OutOfRange),
            ("1e-320", Code::TooPrecise),
            ("-5e-29", Code::TooPrecise),
            ("1e-99999999999999999999", Code::TooPrecise),
            ("0.00000000000000000000000000001", Code::TooPrecise),
            ("1.00000000000000000000000000000000000001", Code::TooPrecise),
            ("7.9228162514264337593543950336", Code::TooPrecise),
            (&format!("8.75{zeros}1"), Code::TooPrecise),
            ("\"8.75\"", Code::InvalidType),
            ("true", Code::InvalidType),
            ("[1]", Code::InvalidType),
        ] {
            assert_eq!(ExactDecimal::read(json), Err(code), "{json}");
        }
    }
}
