//! Rules for names, scopes and periods of people and tokens, which the routes and the command line share.

use crate::problem::{Code, Problem, Result};

/// Default validity of a token, in days.
pub const DAYS: i32 = 90;

/// A rule that is broken: the field, and what it must be.
type Broken = (&'static str, String);

/// A login name, or the name of a program.
///
/// # Errors
/// If it is not such a name.
pub fn check_name(name: &str) -> std::result::Result<(), Broken> {
    let letter = |one: char| one.is_ascii_lowercase() || one.is_ascii_digit();
    let good = name.len() <= 63
        && name.starts_with(letter)
        && name
            .chars()
            .all(|one| letter(one) || matches!(one, '.' | '_' | '@' | '-'));
    if good {
        return Ok(());
    }
    Err((
        "name",
        "must have 1 to 63 small letters, digits and . _ @ -, and begin with a letter or digit"
            .to_owned(),
    ))
}

/// Domains of a scope.
///
/// # Errors
/// When the list is empty, or one is not there.
pub fn check_domains(domains: Option<&[String]>) -> std::result::Result<(), Broken> {
    let known: Vec<_> = acequia_contracts::catalog()
        .iter()
        .map(|domain| domain.name)
        .collect();
    let Some(domains) = domains else {
        return Ok(());
    };
    if !domains.is_empty() && domains.iter().all(|name| known.contains(&name.as_str())) {
        return Ok(());
    }
    Err(("domains", format!("must be some of {}", known.join(", "))))
}

/// Days of validity.
///
/// # Errors
/// Below 1 or above 3650.
pub fn check_days(days: i32) -> std::result::Result<(), Broken> {
    if (1..=3650).contains(&days) {
        return Ok(());
    }
    Err(("days", "must be 1 to 3650".to_owned()))
}

/// Calls per second.
///
/// # Errors
/// Below 1 or above 100,000.
pub fn check_rate(rate: Option<i32>) -> std::result::Result<(), Broken> {
    if rate.is_none_or(|rate| (1..=100_000).contains(&rate)) {
        return Ok(());
    }
    Err(("rate", "must be 1 to 100000".to_owned()))
}

/// The created token or person, or an error if the name exists.
///
/// # Errors
/// `conflict` in that case, else whatever PostgreSQL answered.
pub fn unless_taken<T>(made: sqlx::Result<T>, what: &str) -> Result<T> {
    match made {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Err(Problem::new(
            Code::Conflict,
            format!("there is a {what} of that name"),
        )),
        made => Ok(made?),
    }
}
