//! Notifications of work (ADR 44).

/// The channel.
pub const CHANNEL: &str = "acequia";
