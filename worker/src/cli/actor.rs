//! The actor of a command, for the audit log.

/// The name that was given, else the user of the system; `None` where there is none, as in a
/// container: then the role of the database stands for both.
#[must_use]
pub fn name(given: Option<&str>) -> Option<String> {
    given
        .map(ToOwned::to_owned)
        .or_else(acequia_args::system_user)
}
