//! Where archives are, and which days of a table a command is about.

use anyhow::Context;
use chrono::{DateTime, Datelike as _, Days, Months, NaiveDate, NaiveTime, Utc};
use clap::Args;

/// Where archives are.
#[derive(Debug, Clone, Default, Args)]
pub struct ArchiveUrl {
    /// Object store of the archives: file:///folder, or s3://bucket/prefix with the usual AWS_
    /// variables
    #[arg(long, env = "ARCHIVE_URL", value_name = "URL")]
    archive_url: Option<String>,
}

impl ArchiveUrl {
    /// The URL, if there is one.
    #[must_use]
    pub fn given(&self) -> Option<&str> {
        self.archive_url.as_deref().filter(|url| !url.is_empty())
    }

    /// The URL.
    ///
    /// # Errors
    /// When none is given.
    pub fn url(&self) -> anyhow::Result<&str> {
        self.given().context(
            "say where archives are: --archive-url or ARCHIVE_URL, as file:///var/lib/acequia/archive or s3://bucket/prefix",
        )
    }
}

/// The first instant of a day or a month.
///
/// # Errors
/// When the text is neither a day nor a month.
pub fn first_instant(text: &str) -> Result<DateTime<Utc>, String> {
    day_or_month(text).map(|(first, _)| first)
}

/// The first instant after a day or a month.
///
/// # Errors
/// When the text is neither a day nor a month.
pub fn instant_after(text: &str) -> Result<DateTime<Utc>, String> {
    day_or_month(text).map(|(_, after)| after)
}

fn day_or_month(text: &str) -> Result<(DateTime<Utc>, DateTime<Utc>), String> {
    let month = || NaiveDate::parse_from_str(&format!("{text}-01"), "%Y-%m-%d").ok();
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
    let range = match day {
        Some(day) => day.checked_add_days(Days::new(1)).map(|after| (day, after)),
        None => month().and_then(|first| Some((first, first.checked_add_months(Months::new(1))?))),
    };
    let instant = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
    range
        .filter(|(first, _)| (1..10_000).contains(&first.year()))
        .map(|(first, after)| (instant(first), instant(after)))
        .ok_or_else(|| "must be a day as 2024-09-01 or a month as 2024-09".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn days_and_months_are_ranges() {
        let time = |instant: DateTime<Utc>| instant.to_rfc3339();
        assert_eq!(
            time(first_instant("2024-02").unwrap()),
            "2024-02-01T00:00:00+00:00"
        );
        assert_eq!(
            time(instant_after("2024-02").unwrap()),
            "2024-03-01T00:00:00+00:00"
        );
        assert_eq!(
            time(instant_after("2024-12-31").unwrap()),
            "2025-01-01T00:00:00+00:00"
        );
        for wrong in [
            "2024",
            "2024-13",
            "2024-02-30",
            "yesterday",
            "-2024-01-01",
            "12024-01",
        ] {
            assert!(first_instant(wrong).is_err(), "{wrong}");
        }
    }
}
