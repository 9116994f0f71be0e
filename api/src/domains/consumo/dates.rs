//! Dates, times and months of parameters.

use chrono::{DateTime, Datelike as _, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};

use crate::params::Params;
use crate::problem::{Problem, Result};

/// Years of readings, by the contract.
const YEARS: std::ops::Range<i32> = 2000..2100;

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// With an offset.
    Instant(DateTime<Utc>),
    /// By the client's clock.
    Local(NaiveDateTime),
}

/// Which end of a day a date stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// Its beginning.
    Begin,
    /// Its end, so that the whole day is meant.
    End,
}

impl Moment {
    fn parse(text: &str, edge: Edge) -> Option<Self> {
        let moment = if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
            Self::Instant(instant.to_utc())
        } else if let Ok(date) = text.parse::<NaiveDate>() {
            let begin = NaiveDateTime::new(date, NaiveTime::MIN);
            Self::Local(match edge {
                Edge::Begin => begin,
                Edge::End => begin.checked_add_days(Days::new(1))? - TimeDelta::microseconds(1),
            })
        } else {
            let forms = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"];
            let local = forms
                .into_iter()
                .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())?;
            Self::Local(local)
        };
        let year = match moment {
            Self::Instant(instant) => instant.year(),
            Self::Local(local) => local.year(),
        };
        YEARS.contains(&year).then_some(moment)
    }
}

/// A parameter that is a point in time and must be given.
///
/// # Errors
/// If it is not a date or a time.
pub fn moment(params: &mut Params, name: &str, edge: Edge) -> Result<Moment> {
    Moment::parse(&super::required(params, name)?, edge).ok_or_else(|| {
        Problem::parameter(
            name,
            "must be a date or a time from 2000 to 2099 as 2024-06-10, 2024-06-10T08:00:00 (by the client's clock) or 2024-06-10T08:00:00%2B02:00",
        )
    })
}

/// Parameter `fecha`: a day that is over, by default yesterday (UTC).
///
/// # Errors
/// If it is not a date, or not over.
pub fn past_day(params: &mut Params, now: DateTime<Utc>) -> Result<NaiveDate> {
    let yesterday = now.date_naive() - Days::new(1);
    let Some(text) = params.one("fecha")? else {
        return Ok(yesterday);
    };
    text.parse()
        .ok()
        .filter(|date: &NaiveDate| YEARS.contains(&date.year()) && *date <= yesterday)
        .ok_or_else(|| {
            Problem::parameter(
                "fecha",
                format!("must be a date as 2024-06-10, from 2000-01-01 to {yesterday}, the last day that is over"),
            )
        })
}

/// Parameter `mes`: the first day of that month, by default of the present month (UTC).
///
/// # Errors
/// If it is not a month.
pub fn month(params: &mut Params, now: DateTime<Utc>) -> Result<NaiveDate> {
    let Some(text) = params.one("mes")? else {
        return Ok(now.date_naive().with_day(1).unwrap_or_default());
    };
    let first = Some(&text)
        .filter(|text| text.len() == 7)
        .and_then(|text| format!("{text}-01").parse().ok());
    first
        .filter(|date: &NaiveDate| YEARS.contains(&date.year()))
        .ok_or_else(|| Problem::parameter("mes", "must be a month from 2000 to 2099 as 2024-06"))
}

/// Parameter `año`, also as `anio`: a year, by default the present one (UTC).
///
/// # Errors
/// If it is not a year, or both are given.
pub fn year(params: &mut Params, now: DateTime<Utc>) -> Result<i32> {
    let read = |params: &mut Params, name| {
        params.number(name, YEARS.start.into(), i64::from(YEARS.end) - 1)
    };
    let (accented, ascii) = (read(params, "año")?, read(params, "anio")?);
    if accented.is_some() && ascii.is_some() {
        return Err(Problem::parameter(
            "anio",
            "is the same as año: give one of them",
        ));
    }
    let year = accented.or(ascii).and_then(|year| i32::try_from(year).ok());
    Ok(year.unwrap_or_else(|| now.year()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parsed(text: &str, edge: Edge) -> String {
        match Moment::parse(text, edge) {
            None => "-".to_owned(),
            Some(Moment::Instant(instant)) => instant.to_rfc3339(),
            Some(Moment::Local(local)) => local.to_string(),
        }
    }

    #[test]
    fn a_date_is_the_whole_day_and_an_offset_an_instant() {
        let cases = [
            (
                "2024-06-10",
                "2024-06-10 00:00:00",
                "2024-06-10 23:59:59.999999",
            ),
            (
                "2024-06-10T08:30",
                "2024-06-10 08:30:00",
                "2024-06-10 08:30:00",
            ),
            (
                "2024-06-10T08:00:00+02:00",
                "2024-06-10T06:00:00+00:00",
                "2024-06-10T06:00:00+00:00",
            ),
            ("2024-02-30", "-", "-"),
            ("1999-12-31", "-", "-"),
            ("2100-01-01T00:00:00Z", "-", "-"),
            ("+262142-12-31", "-", "-"),
            ("10/06/2024", "-", "-"),
            ("now", "-", "-"),
        ];
        for (text, begin, end) in cases {
            assert_eq!(parsed(text, Edge::Begin), begin, "{text}");
            assert_eq!(parsed(text, Edge::End), end, "{text}");
        }
    }

    #[test]
    fn months_years_and_days_have_defaults_and_limits() {
        let now = "2024-03-01T00:30:00Z".parse().unwrap();
        let month_of =
            |query: &str| month(&mut Params::parse(query), now).map(|date| date.to_string());
        assert_eq!(month_of("").unwrap(), "2024-03-01");
        assert_eq!(month_of("mes=2023-12").unwrap(), "2023-12-01");
        for wrong in ["2023-13", "2023-1", "23-01", "2023-12-05", "1999-12", "x"] {
            let problem = month_of(&format!("mes={wrong}")).unwrap_err();
            assert_eq!(problem.errors[0].field, "mes", "{wrong}");
        }
        let year_of = |query: &str| year(&mut Params::parse(query), now);
        assert_eq!(year_of("").unwrap(), 2024);
        assert_eq!(year_of("a%C3%B1o=2023").unwrap(), 2023);
        assert_eq!(year_of("anio=2022").unwrap(), 2022);
        assert_eq!(
            year_of("anio=2022&año=2022").unwrap_err().errors[0].field,
            "anio"
        );
        assert_eq!(year_of("año=1").unwrap_err().errors[0].field, "año");
        let day_of =
            |query: &str| past_day(&mut Params::parse(query), now).map(|date| date.to_string());
        assert_eq!(day_of("").unwrap(), "2024-02-29");
        assert_eq!(day_of("fecha=2024-02-29").unwrap(), "2024-02-29");
        assert_eq!(
            day_of("fecha=2024-03-01").unwrap_err().errors[0].field,
            "fecha"
        );
    }
}
