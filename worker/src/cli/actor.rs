//! The actor of a command, for the audit log.

/// The name that was given, else the user of the system; `None` where there is none, as in a
/// container: then the role of the database stands for both.
#[must_use]
pub fn name(given: Option<&str>) -> Option<String> {
    let user = || {
        ["SUDO_USER", "USER", "LOGNAME"]
            .into_iter()
            .filter_map(|name| std::env::var(name).ok())
            .find(|name| !name.is_empty())
    };
    given.map(ToOwned::to_owned).or_else(user)
}
