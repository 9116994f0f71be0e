//! The domains that a call is about.

use acequia_contracts::domain;
use acequia_contracts::envelope::UNKNOWN;

use crate::auth::Caller;
use crate::params::Params;
use crate::problem::{Problem, Result};

/// Parameter `domain`: the domains that a list is about; `None`: all domains, and data that belong to no domain.
///
/// # Errors
/// `foreign_domain` for one outside the caller's scope, `invalid_parameter` for one that is not there.
pub fn scope(caller: &Caller, params: &mut Params) -> Result<Option<Vec<String>>> {
    let asked = params.list("domain");
    check(caller, asked)
}

/// Like [`scope`], of domains that were asked for in another way.
///
/// # Errors
/// Same as [`scope`].
pub fn check(caller: &Caller, asked: Vec<String>) -> Result<Option<Vec<String>>> {
    let scope = caller.scope(asked.clone())?;
    let wrong = |name: &&String| *name != UNKNOWN && domain(name).is_none();
    if asked.iter().any(|name| wrong(&name)) {
        let known: Vec<_> = acequia_contracts::catalog()
            .iter()
            .filter(|domain| caller.sees(domain.name))
            .map(|domain| domain.name)
            .collect();
        return Err(Problem::parameter(
            "domain",
            format!("is no domain; there is {}", known.join(", ")),
        ));
    }
    Ok(scope)
}
