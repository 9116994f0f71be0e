//! Ranges of settings. A number, time or size outside its range is refused when the program starts: a
//! worker that promotes nothing, or polls without a pause, would look healthy.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

/// The longest time that any option takes: a hundred years. Adding it to the present time does not overflow.
const LONGEST: Duration = Duration::from_secs(36_500 * 86_400);

/// A setting with its limits, both allowed.
#[derive(Debug, Clone, Copy)]
pub struct Setting<T> {
    /// Its environment variable.
    pub name: &'static str,
    /// The least that it may be, as it is written.
    pub least: &'static str,
    /// The most.
    pub most: &'static str,
    read: fn(&str) -> Result<T, String>,
}

impl<T> Setting<T> {
    /// A setting of this name; `read` reads its limits and its values.
    #[must_use]
    pub const fn new(
        name: &'static str,
        least: &'static str,
        most: &'static str,
        read: fn(&str) -> Result<T, String>,
    ) -> Self {
        Self {
            name,
            least,
            most,
            read,
        }
    }

    /// The limits without the type.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        Limits {
            name: self.name,
            least: self.least,
            most: self.most,
        }
    }
}

impl<T: PartialOrd> Setting<T> {
    /// Reads a text.
    ///
    /// # Errors
    /// If it cannot be parsed, or is out of range; the text names setting and range.
    pub fn parse(&self, text: &str) -> Result<T, String> {
        let Self {
            name, least, most, ..
        } = self;
        let range = format!("{name} is from {least} to {most}");
        let value = (self.read)(text).map_err(|why| format!("{why}; {range}"))?;
        let within = (self.read)(least)? <= value && value <= (self.read)(most)?;
        if within { Ok(value) } else { Err(range) }
    }
}

/// The limits of a setting, as they are written.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Environment variable.
    pub name: &'static str,
    /// The least that it may be.
    pub least: &'static str,
    /// The most.
    pub most: &'static str,
}

/// A duration as `250ms`, `30s`, `5m`, `24h` or `7d`, up to a hundred years.
///
/// # Errors
/// If it has none of these forms, or is longer.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let number: u64 = number
        .parse()
        .map_err(|_| "must be a number with a unit, as 250ms, 30s, 5m or 24h".to_owned())?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("the unit must be ms, s, m, h or d".to_owned()),
    };
    number
        .checked_mul(millis)
        .map(Duration::from_millis)
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| "must be at most 36500d".to_owned())
}

/// A size in bytes as `65536`, `64KiB`, `16 MiB`, `1GiB`, or `64kB`, `16MB`, `1GB` in thousands.
///
/// # Errors
/// If it has none of these forms.
pub fn size(text: &str) -> Result<usize, String> {
    const FORMS: &str = "must be a number of bytes, or one with a unit, as 64KiB, 16MiB or 1GiB";
    let (number, unit) = split(text);
    let number: u64 = number.parse().map_err(|_| FORMS.to_owned())?;
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return Err(FORMS.to_owned()),
    };
    number
        .checked_mul(factor)
        .and_then(|bytes| usize::try_from(bytes).ok())
        .ok_or_else(|| FORMS.to_owned())
}

/// A whole number.
///
/// # Errors
/// If it is not a whole number, or too large for its type.
pub fn number<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.trim()
        .parse()
        .map_err(|why| format!("must be a whole number: {why}"))
}

/// A number, and the unit behind it.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn durations_have_units_and_an_end() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!(duration(" 7 d "), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!(duration("36500d"), Ok(LONGEST));
        for text in [
            "",
            "5",
            "fast",
            "s",
            "-5s",
            "+5s",
            "1.5h",
            "1e3s",
            "5 weeks",
            "5S",
            "NaNs",
            "36501d",
            "999999999999999d",
            "18446744073709551615ms",
            "18446744073709551616ms",
            "99999999999999999999999999s",
            "5s5s",
            "٥s",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_may_have_units() {
        for (text, bytes) in [
            ("0", 0),
            ("65536", 65_536),
            ("64KiB", 65_536),
            ("64 KiB", 65_536),
            ("16MiB", 16 << 20),
            ("16mib", 16 << 20),
            ("1GiB", 1 << 30),
            ("64kB", 64_000),
            ("1MB", 1_000_000),
            ("1GB", 1_000_000_000),
            ("5 B", 5),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "MiB",
            "16M",
            "16 megabytes",
            "-1",
            "1.5MiB",
            "1e9",
            "NaN",
            "16MiB16",
            "0x10",
            "99999999999999999999",
            "18446744073709551615GiB",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_setting_takes_its_limits_and_names_them() {
        let most: Setting<u16> = Setting::new("MOST", "1", "20000", number);
        assert_eq!(most.parse("20000"), Ok(20_000));
        let error = most.parse("20001").unwrap_err();
        assert_eq!(error, "MOST is from 1 to 20000");
        let wait = Setting::new("WAIT", "1s", "25m", duration);
        let error = wait.parse("long").unwrap_err();
        assert!(error.ends_with("; WAIT is from 1s to 25m"), "{error}");
        assert_eq!(wait.limits().most, "25m");
    }
}
