//! Dates and instants in their one accepted format.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::field::Text;

/// A day, written `YYYY-MM-DD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Date(pub NaiveDate);

impl Date {
    /// Reads `YYYY-MM-DD`: four, two and two digits, from the year 1 on.
    fn read(text: &[u8]) -> Option<Self> {
        let [y @ .., b'-', m1, m2, b'-', d1, d2] = text else {
            return None;
        };
        let year = i32::try_from(number(y).filter(|_| y.len() == 4)?).ok()?;
        let day = NaiveDate::from_ymd_opt(year, number(&[*m1, *m2])?, number(&[*d1, *d2])?)?;
        // Of the years before 1 ISO 8601 and PostgreSQL have different counts.
        (year >= 1).then_some(Self(day))
    }
}

/// A moment, written as RFC 3339 has it: `YYYY-MM-DDThh:mm:ss`, decimals, `Z` or `±hh:mm`. Between
/// date and time there may be a space.
///
/// The second 60, which is there at a leap second only, counts as the next second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instant {
    utc: DateTime<Utc>,
    day: NaiveDate,
    leap: bool,
}

impl Instant {
    /// The moment itself.
    #[must_use]
    pub const fn utc(self) -> DateTime<Utc> {
        self.utc
    }

    /// The day as written in the text, whatever the offset.
    #[must_use]
    pub const fn day(self) -> Date {
        Date(self.day)
    }

    /// Whether an hour begins at it, on clocks whose offset is of whole hours. A leap second is the
    /// end of an hour.
    #[must_use]
    pub const fn begins_hour(self) -> bool {
        !self.leap && self.utc.timestamp() % 3600 == 0 && self.utc.timestamp_subsec_nanos() == 0
    }

    fn read(text: &[u8]) -> Option<Self> {
        let (date, rest) = text.split_at_checked(10)?;
        let Date(day) = Date::read(date)?;
        let [
            b'T' | b't' | b' ',
            h1,
            h2,
            b':',
            m1,
            m2,
            b':',
            s1,
            s2,
            rest @ ..,
        ] = rest
        else {
            return None;
        };
        let (nanos, rest) = match rest {
            [b'.', rest @ ..] => fraction(rest)?,
            rest => (0, rest),
        };
        let east = match rest {
            [b'Z' | b'z'] => 0,
            [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
                let (hours, minutes) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
                let seconds = i64::from(hours * 3600 + minutes * 60);
                let east = if *sign == b'-' { -seconds } else { seconds };
                (hours < 24 && minutes < 60).then_some(east)?
            }
            _ => return None,
        };
        let second = number(&[*s1, *s2])?;
        let leap = second == 60;
        let (hour, minute) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
        let time = NaiveTime::from_hms_nano_opt(hour, minute, second - u32::from(leap), nanos)?;
        let mut utc = day.and_time(time).and_utc() - TimeDelta::seconds(east);
        if leap {
            // A leap second is the last second of a day in UTC, whatever the offset of the text.
            (utc.timestamp() % 86_400 == 86_399).then_some(())?;
            utc += TimeDelta::seconds(1);
        }
        Some(Self { utc, day, leap })
    }
}

impl From<DateTime<Utc>> for Instant {
    fn from(utc: DateTime<Utc>) -> Self {
        Self {
            utc,
            day: utc.date_naive(),
            leap: false,
        }
    }
}

/// A number of ASCII digits only.
fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + u32::from(digit - b'0'))
    })
}

/// The nanoseconds at the beginning of a text, and what follows. More digits are cut off.
fn fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(digits.max(1))?;
    let places = digits.iter().copied().chain(std::iter::repeat(b'0'));
    let nanos: Vec<u8> = places.take(9).collect();
    Some((number(&nanos)?, rest))
}

macro_rules! read_from_text {
    ($($type:ty),*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let Text(text) = Text::deserialize(deserializer)?;
                Self::read(text.as_bytes()).ok_or_else(|| D::Error::custom("not in its form"))
            }
        }
    )*};
}

read_from_text!(Date, Instant);

impl Serialize for Instant {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.utc.serialize(serializer)
    }
}

/// The day after; the last one when there is no later one.
pub(crate) fn tomorrow(day: NaiveDate) -> NaiveDate {
    day.checked_add_days(Days::new(1)).unwrap_or(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_has_one_form() {
        for text in ["2024-02-29", "0001-01-01", "9999-12-31"] {
            let read = Date::read(text.as_bytes()).map(|date| date.0.to_string());
            assert_eq!(read.as_deref(), Some(text));
        }
        for text in [
            "",
            "2024-2-1",
            "2024-02-1",
            " 2024-02-01",
            "2024-02-01 ",
            "+2024-01-01",
            "-0001-01-01",
            "0000-01-01",
            "10000-01-01",
            "+10000-01-01",
            "12024-01-01",
            "24-01-01",
            "2023-02-29",
            "2024-13-01",
            "2024-00-10",
            "2024-01-00",
            "2024/01/01",
            "20240101",
            "2024-W05-1",
            "2024-01-01T00:00:00Z",
            "２０２４-01-01",
            "2024\u{2212}01\u{2212}01",
        ] {
            assert_eq!(Date::read(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn an_instant_is_rfc_3339() {
        for (text, utc, day) in [
            ("2024-06-10T18:20:00Z", "2024-06-10T18:20:00Z", "2024-06-10"),
            ("2024-06-10t18:20:00z", "2024-06-10T18:20:00Z", "2024-06-10"),
            (
                "2024-06-10 18:20:00-00:00",
                "2024-06-10T18:20:00Z",
                "2024-06-10",
            ),
            (
                "2024-06-14T19:30:00.5-06:00",
                "2024-06-15T01:30:00.500Z",
                "2024-06-14",
            ),
            (
                "2024-06-15T00:30:00+05:30",
                "2024-06-14T19:00:00Z",
                "2024-06-15",
            ),
            (
                "2024-06-10T00:00:00.1234567899Z",
                "2024-06-10T00:00:00.123456789Z",
                "2024-06-10",
            ),
            (
                "0001-01-01T00:00:00+23:59",
                "0000-12-31T00:01:00Z",
                "0001-01-01",
            ),
            (
                "9999-12-31T23:59:59.999-23:59",
                "+10000-01-01T23:58:59.999Z",
                "9999-12-31",
            ),
            // Leap seconds, in three notations.
            ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z", "2016-12-31"),
            (
                "2017-01-01T00:59:60.25+01:00",
                "2017-01-01T00:00:00.250Z",
                "2017-01-01",
            ),
            (
                "1990-12-31T15:59:60-08:00",
                "1991-01-01T00:00:00Z",
                "1990-12-31",
            ),
        ] {
            let read = Instant::read(text.as_bytes());
            let expected = utc.parse::<DateTime<Utc>>().ok();
            assert_eq!(read.map(Instant::utc), expected, "{text}");
            let written = read.map(|read| read.day().0.to_string());
            assert_eq!(written.as_deref(), Some(day), "{text}");
        }
        for text in [
            "",
            "2024-06-10",
            "2024-06-10T18:20Z",
            "2024-06-10T18:20:00",
            "2024-06-10T18:20:00+0530",
            "2024-06-10T18:20:00+05",
            "2024-06-10T18:20:00\u{2212}06:00",
            "2024-06-10T18:20:00+24:00",
            "2024-06-10T18:20:00+05:60",
            "2024-06-10T18:20:00 Z",
            "2024-06-10  18:20:00Z",
            " 2024-06-10T18:20:00Z",
            "2024-06-10T18:20:00Z ",
            "2024-06-10T18:20:00.Z",
            "2024-06-10T18:20:00,5Z",
            "2024-06-10T8:20:00Z",
            "2024-06-10T24:00:00Z",
            "2024-06-10T18:60:00Z",
            "2024-06-10T18:20:61Z",
            "2024-06-10_18:20:00Z",
            "2024-06-10T18:20:00UTC",
            "2024-06-10T18:20:00+01:00[Europe/Madrid]",
            "+2024-06-10T18:20:00Z",
            "12024-06-10T18:20:00Z",
            "-0044-03-15T12:00:00Z",
            "0000-06-10T18:20:00Z",
            "1718036400",
            // No second 60 but the last of a day in UTC.
            "2016-12-31T12:30:60Z",
            "2016-12-31T22:59:60Z",
            "2016-12-31T23:59:60+01:00",
        ] {
            assert_eq!(Instant::read(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn hours_begin_at_whole_hours_and_not_at_leap_seconds() {
        let begins = |text: &str| Instant::read(text.as_bytes()).is_some_and(Instant::begins_hour);
        for text in [
            "2024-06-10T18:00:00Z",
            "2024-06-10T00:00:00.000+02:00",
            "1969-12-31T23:00:00Z",
        ] {
            assert!(begins(text), "{text}");
        }
        for text in [
            "2024-06-10T18:30:00Z",
            "2024-06-10T18:00:01Z",
            "2024-06-10T18:00:00.000000001Z",
            "2024-06-10T00:00:00+05:30",
            "2016-12-31T23:59:60Z",
        ] {
            assert!(!begins(text), "{text}");
        }
    }
}
