//! Rules that several domains share, and the context they are checked in.

use chrono::{DateTime, Days, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer};
use validator::ValidationError;

use crate::exact_decimal::ExactDecimal;
use crate::time::{Date, Instant, tomorrow};
use crate::violation::{Code, violation};

/// A rule's knowledge beyond the message: the time. Tests set it.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// The instant against which "not in the future" is decided.
    pub now: DateTime<Utc>,
}

impl Context {
    /// A context at the present instant.
    #[must_use]
    pub fn now() -> Self {
        Self { now: Utc::now() }
    }
}

/// The oldest date that any message may carry.
const FIRST_DATE: NaiveDate = match NaiveDate::from_ymd_opt(1900, 1, 1) {
    Some(date) => date,
    None => NaiveDate::MIN,
};

/// A date, when there is one, from 1900 on that is not in the future. Tomorrow in UTC is today somewhere on Earth.
///
/// # Errors
/// `invalid_date` before 1900, `future_date` later than tomorrow.
pub fn past_date(date: &Option<Date>, context: &Context) -> Result<(), ValidationError> {
    date.map_or(Ok(()), |Date(date)| check_date(date, context))
}

/// A date, when there is one, from 1900 on. It may be ahead.
///
/// # Errors
/// `invalid_date` before 1900.
pub fn any_date(date: &Option<Date>) -> Result<(), ValidationError> {
    date.map_or(Ok(()), |Date(date)| not_before_the_first(date))
}

fn check_date(date: NaiveDate, context: &Context) -> Result<(), ValidationError> {
    not_before_the_first(date)?;
    if date > tomorrow(context.now.date_naive()) {
        return Err(violation(Code::FutureDate, "must not be in the future"));
    }
    Ok(())
}

fn not_before_the_first(date: NaiveDate) -> Result<(), ValidationError> {
    if date < FIRST_DATE {
        return Err(violation(
            Code::InvalidDate,
            "must not be before 1900-01-01",
        ));
    }
    Ok(())
}

/// The event time: from 1900 on, at most a day ahead of our clock. A version from the far
/// future would otherwise win over every later one.
///
/// # Errors
/// Same as [`past_date`].
pub fn event_time(instant: &Instant, context: &Context) -> Result<(), ValidationError> {
    let utc = instant.utc();
    if utc > context.now + Days::new(1) {
        return Err(violation(
            Code::FutureDate,
            "must not be more than a day in the future",
        ));
    }
    check_date(utc.date_naive(), context)
}

/// [`event_time`] of a field that may be absent.
///
/// # Errors
/// Same as [`event_time`].
pub fn optional_event_time(
    instant: &Option<Instant>,
    context: &Context,
) -> Result<(), ValidationError> {
    instant.map_or(Ok(()), |instant| event_time(&instant, context))
}

/// A number within limits with at most `scale` decimals.
///
/// # Errors
/// `out_of_range` or `too_precise`.
pub fn decimal(
    number: ExactDecimal,
    min: Decimal,
    max: Decimal,
    scale: u32,
    limits: &'static str,
    decimals: &'static str,
) -> Result<(), ValidationError> {
    if number.0 < min || number.0 > max {
        Err(violation(Code::OutOfRange, limits))
    } else if number.0.scale() > scale {
        Err(violation(Code::TooPrecise, decimals))
    } else {
        Ok(())
    }
}

/// Reads a text and drops the white space around it; use with `#[serde(deserialize_with)]`.
///
/// # Errors
/// When the value is not a text.
pub fn trimmed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let mut text = String::deserialize(deserializer)?;
    let end = text.trim_end().len();
    text.truncate(end);
    let start = text.len() - text.trim_start().len();
    text.drain(..start);
    Ok(text)
}
