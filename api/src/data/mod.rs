//! The tables of the API itself: callers, the record of calls, answers to repeated calls, operations, events.

pub mod callers;
pub mod calls;
pub mod events;
pub mod idempotency;
pub mod operations;
pub mod people;
pub mod tokens;
