//! The school's calendar: two years of two periods each, and when things happen in them.

use chrono::{DateTime, NaiveDate, Utc};

use crate::generate::SeededRng;

/// The half years that have groups.
pub(super) const PERIODS: [Period; 4] = [
    Period::new("2023A", 2023, Half::A),
    Period::new("2023B", 2023, Half::B),
    Period::new("2024A", 2024, Half::A),
    Period::new("2024B", 2024, Half::B),
];

#[derive(Clone, Copy)]
enum Half {
    A,
    B,
}

/// A half year.
pub(super) struct Period {
    pub(super) name: &'static str,
    year: i32,
    half: Half,
}

impl Period {
    const fn new(name: &'static str, year: i32, half: Half) -> Self {
        Self { name, year, half }
    }

    /// When its groups are announced.
    pub(super) fn announcements(&self) -> Span {
        match self.half {
            Half::A => Span::days(self.year - 1, 12, 1, 10),
            Half::B => Span::days(self.year, 7, 1, 10),
        }
    }

    /// When the students who begin in it are admitted.
    pub(super) fn admissions(&self) -> Span {
        match self.half {
            Half::A => Span::days(self.year - 1, 12, 12, 20),
            Half::B => Span::days(self.year, 7, 12, 20),
        }
    }

    /// When students enrol.
    pub(super) fn enrolments(&self) -> Span {
        match self.half {
            Half::A => Span::days(self.year, 1, 9, 12),
            Half::B => Span::days(self.year, 8, 7, 12),
        }
    }

    /// The first day of class.
    pub(super) fn first_day(&self) -> NaiveDate {
        match self.half {
            Half::A => day(self.year, 1, 23),
            Half::B => day(self.year, 8, 21),
        }
    }

    /// When marks are recorded.
    pub(super) fn marks(&self) -> Span {
        match self.half {
            Half::A => Span::days(self.year, 6, 5, 14),
            Half::B => Span::days(self.year, 11, 27, 14),
        }
    }

    /// When marks are corrected.
    pub(super) fn corrections(&self) -> Span {
        match self.half {
            Half::A => Span::days(self.year, 6, 20, 10),
            Half::B => Span::days(self.year, 12, 12, 8),
        }
    }
}

/// When the teachers were hired.
pub(super) fn hiring() -> Span {
    Span::days(2022, 10, 3, 20)
}

/// When the subjects were approved.
pub(super) fn approval() -> Span {
    Span::days(2022, 11, 1, 20)
}

/// A stretch of time that events are spread over.
#[derive(Clone, Copy)]
pub(super) struct Span {
    from: NaiveDate,
    days: u32,
}

impl Span {
    fn days(year: i32, month: u32, first: u32, days: u32) -> Self {
        Self {
            from: day(year, month, first),
            days,
        }
    }

    /// The instant of event number `index` of `count`: later for every next index as long as
    /// there are no more events than milliseconds.
    pub(super) fn instant(self, index: u64, count: u64, rng: &mut SeededRng) -> DateTime<Utc> {
        let length = u64::from(self.days) * 86_400_000;
        let count = count.max(1);
        let step = u32::try_from(length / count).unwrap_or(u32::MAX);
        let offset = length / count * index + u64::from(rng.below(step));
        let start = self.from.and_time(chrono::NaiveTime::MIN).and_utc();
        start + chrono::TimeDelta::milliseconds(offset as i64)
    }
}

/// A day that is written in this file.
fn day(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).unwrap_or_default()
}
