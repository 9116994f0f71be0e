//! The clocks of Spain, by the rule of the European Union: one hour more from the last Sunday of
//! March, 01:00 UTC, to that of October.

use chrono::{DateTime, Datelike as _, Days, FixedOffset, NaiveDate, TimeDelta, Utc};

/// A clock: its hours ahead of UTC in winter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    Madrid,
    Canarias,
}

impl Clock {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Madrid => "Europe/Madrid",
            Self::Canarias => "Atlantic/Canary",
        }
    }

    const fn winter(self) -> i32 {
        match self {
            Self::Madrid => 1,
            Self::Canarias => 0,
        }
    }

    fn hours_ahead(self, instant: DateTime<Utc>) -> i32 {
        let year = instant.year();
        let summer = change(year, 3) <= instant && instant < change(year, 10);
        self.winter() + i32::from(summer)
    }

    /// The instant as this clock shows it.
    pub(super) fn shows(self, instant: DateTime<Utc>) -> DateTime<FixedOffset> {
        let offset = FixedOffset::east_opt(self.hours_ahead(instant) * 3600);
        offset.map_or_else(
            || instant.fixed_offset(),
            |offset| instant.with_timezone(&offset),
        )
    }

    /// The beginning of a day. Clocks are changed after midnight.
    fn midnight(self, date: NaiveDate) -> DateTime<Utc> {
        let utc = date.and_time(chrono::NaiveTime::MIN).and_utc();
        let winter = utc - TimeDelta::hours(self.winter().into());
        utc - TimeDelta::hours(self.hours_ahead(winter).into())
    }

    /// The hours of a day: 23, 24 or 25 instants.
    pub(super) fn hours(self, date: NaiveDate) -> impl Iterator<Item = DateTime<Utc>> + use<> {
        let (begin, end) = (self.midnight(date), self.midnight(date + Days::new(1)));
        (0..(end - begin).num_hours()).map(move |hour| begin + TimeDelta::hours(hour))
    }
}

/// The last Sunday of a month of 31 days, 01:00 UTC.
fn change(year: i32, month: u32) -> DateTime<Utc> {
    let last = NaiveDate::from_ymd_opt(year, month, 31).unwrap_or_default();
    let sunday = last - Days::new(last.weekday().num_days_from_sunday().into());
    sunday.and_time(chrono::NaiveTime::MIN).and_utc() + TimeDelta::hours(1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use chrono::Timelike as _;

    use super::*;

    #[test]
    fn days_have_23_24_and_25_hours() {
        for (date, madrid) in [
            (
                "2024-03-31",
                &[
                    0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22,
                    23,
                ][..],
            ),
            (
                "2024-10-27",
                &[
                    0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20,
                    21, 22, 23,
                ],
            ),
        ] {
            let date: NaiveDate = date.parse().unwrap();
            let hours = Clock::Madrid.hours(date);
            let hours: Vec<u32> = hours.map(|at| Clock::Madrid.shows(at).hour()).collect();
            assert_eq!(hours, madrid);
            assert_eq!(Clock::Canarias.hours(date).count(), madrid.len());
        }
        let summer = Clock::Madrid.hours("2024-07-01".parse().unwrap());
        let summer: Vec<_> = summer.collect();
        assert_eq!(summer.len(), 24);
        assert_eq!(summer[0].to_rfc3339(), "2024-06-30T22:00:00+00:00");
    }
}
