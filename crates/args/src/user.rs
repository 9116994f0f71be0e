//! The user who runs a command.

/// The user of the system; `None` where there is none, as in a container.
#[must_use]
pub fn system_user() -> Option<String> {
    ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|name| !name.is_empty())
}
