//! Reasons for refusing a message: a stable code, the field, a sentence without the value.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use validator::{ValidationError, ValidationErrors, ValidationErrorsKind};

/// The closed list of reasons for which a message ends in quarantine.
///
/// Codes are part of the contract with publishers: they are added to, never renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The body has more bytes than the platform takes.
    TooLarge,
    /// The body is not UTF-8.
    NotUtf8,
    /// The body is not JSON (RFC 8259).
    InvalidJson,
    /// Objects or lists nested deeper than [`crate::MAX_DEPTH`].
    TooDeep,
    /// The decoder itself failed on the body: a defect of the worker, not of the message.
    DecoderFailed,
    /// An AMQP property, the name of a header, exchange or routing key is not UTF-8.
    PropertyNotUtf8,
    /// AMQP headers nested deeper than anybody reads.
    HeadersTooDeep,
    /// An AMQP property or header whose length or kind is wrong.
    PropertyMalformed,
    /// Neither AMQP type, routing key nor body name an entity of the queue's domain.
    UnknownEntity,
    /// A required field is absent or null.
    MissingField,
    /// The same field stands twice in the object.
    DuplicateField,
    /// Another JSON type than the field has.
    InvalidType,
    /// A number outside its limits.
    OutOfRange,
    /// More decimals than the field keeps.
    TooPrecise,
    /// A text shorter or longer than allowed.
    InvalidLength,
    /// A text that does not have the field's form.
    InvalidFormat,
    /// A value outside the field's closed list.
    NotAllowed,
    /// Not a date or an instant in ISO 8601 form.
    InvalidDate,
    /// A date or an instant that lies in the future.
    FutureDate,
    /// Text with U+0000, which PostgreSQL cannot hold.
    NulCharacter,
    /// Fields that contradict each other.
    Inconsistent,
    /// PostgreSQL refused the row although the contract allowed it.
    RefusedByDatabase,
    /// The message deletes its key, which messages of its entity do not do.
    DeleteNotAllowed,
    /// Another message came before under the same id, with another body.
    IdReused,
    /// A table of the core refused the row although the contract allowed it.
    MergeRefused,
    /// The row it refers to did not arrive in time.
    Orphan,
    /// It came for a range that was archived and purged.
    Purged,
    /// The broker gave the message up after too many deliveries.
    DeliveryLimit,
    /// The message expired in its queue: its own time to live, or the queue's.
    Expired,
    /// Another consumer of the queue rejected the message.
    Rejected,
    /// The queue was full and dropped the message.
    QueueOverflow,
    /// The message came to the queue of dead letters without a reason that is known here.
    DeadLettered,
}

impl Code {
    /// Every code, in order of declaration; metrics create one series for each.
    pub const ALL: [Self; 32] = [
        Self::TooLarge,
        Self::NotUtf8,
        Self::InvalidJson,
        Self::TooDeep,
        Self::DecoderFailed,
        Self::PropertyNotUtf8,
        Self::HeadersTooDeep,
        Self::PropertyMalformed,
        Self::UnknownEntity,
        Self::MissingField,
        Self::DuplicateField,
        Self::InvalidType,
        Self::OutOfRange,
        Self::TooPrecise,
        Self::InvalidLength,
        Self::InvalidFormat,
        Self::NotAllowed,
        Self::InvalidDate,
        Self::FutureDate,
        Self::NulCharacter,
        Self::Inconsistent,
        Self::RefusedByDatabase,
        Self::DeleteNotAllowed,
        Self::IdReused,
        Self::MergeRefused,
        Self::Orphan,
        Self::Purged,
        Self::DeliveryLimit,
        Self::Expired,
        Self::Rejected,
        Self::QueueOverflow,
        Self::DeadLettered,
    ];

    /// The code as it is stored and shown: `snake_case`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::NotUtf8 => "not_utf8",
            Self::InvalidJson => "invalid_json",
            Self::TooDeep => "too_deep",
            Self::DecoderFailed => "decoder_failed",
            Self::PropertyNotUtf8 => "property_not_utf8",
            Self::HeadersTooDeep => "headers_too_deep",
            Self::PropertyMalformed => "property_malformed",
            Self::UnknownEntity => "unknown_entity",
            Self::MissingField => "missing_field",
            Self::DuplicateField => "duplicate_field",
            Self::InvalidType => "invalid_type",
            Self::OutOfRange => "out_of_range",
            Self::TooPrecise => "too_precise",
            Self::InvalidLength => "invalid_length",
            Self::InvalidFormat => "invalid_format",
            Self::NotAllowed => "not_allowed",
            Self::InvalidDate => "invalid_date",
            Self::FutureDate => "future_date",
            Self::NulCharacter => "nul_character",
            Self::Inconsistent => "inconsistent",
            Self::RefusedByDatabase => "refused_by_database",
            Self::DeleteNotAllowed => "delete_not_allowed",
            Self::IdReused => "id_reused",
            Self::MergeRefused => "merge_refused",
            Self::Orphan => "orphan",
            Self::Purged => "purged",
            Self::DeliveryLimit => "delivery_limit",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
            Self::QueueOverflow => "queue_overflow",
            Self::DeadLettered => "dead_lettered",
        }
    }

    /// The stage in which a message with this code leaves the way to the core.
    #[must_use]
    pub const fn stage(self) -> Stage {
        match self {
            Self::TooLarge
            | Self::NotUtf8
            | Self::InvalidJson
            | Self::TooDeep
            | Self::DecoderFailed
            | Self::PropertyNotUtf8
            | Self::HeadersTooDeep
            | Self::PropertyMalformed
            | Self::UnknownEntity => Stage::Decode,
            Self::RefusedByDatabase | Self::IdReused => Stage::Load,
            Self::MergeRefused | Self::Orphan | Self::Purged => Stage::Merge,
            Self::DeliveryLimit
            | Self::Expired
            | Self::Rejected
            | Self::QueueOverflow
            | Self::DeadLettered => Stage::Broker,
            _ => Stage::Contract,
        }
    }

    /// The code of a `validator` rule: its own names for the built-in rules, ours for the rest.
    fn of_rule(rule: &str) -> Self {
        match rule {
            "range" => Self::OutOfRange,
            "length" => Self::InvalidLength,
            "regex" | "email" | "url" | "contains" => Self::InvalidFormat,
            "required" => Self::MissingField,
            other => Self::ALL
                .into_iter()
                .find(|code| code.as_str() == other)
                .unwrap_or(Self::Inconsistent),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The part of the way in which a message was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The bytes are no message.
    Decode,
    /// The message breaks its contract.
    Contract,
    /// PostgreSQL refused the row, or has another message under its id.
    Load,
    /// The row could not be merged into the core.
    Merge,
    /// The broker stopped delivering it.
    Broker,
}

impl Stage {
    /// The stage as it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Contract => "contract",
            Self::Load => "load",
            Self::Merge => "merge",
            Self::Broker => "broker",
        }
    }
}

/// One broken rule. It never holds the offending value: that may be personal data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Kind of the broken rule.
    pub code: Code,
    /// The field, with dots between levels; empty for the body as a whole.
    pub path: Cow<'static, str>,
    /// A sentence for the publisher, without the value.
    pub message: String,
}

impl Violation {
    /// A violation of the body as a whole.
    pub fn body(code: Code, message: impl Into<String>) -> Self {
        Self::field(code, "", message)
    }

    /// A violation of one field.
    pub fn field(
        code: Code,
        path: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            code,
            path: path.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            write!(f, "{}: {}", self.code, self.message)
        } else {
            write!(f, "{} at {}: {}", self.code, self.path, self.message)
        }
    }
}

/// The error of a custom rule: `validator` carries our code and sentence through its own type.
#[must_use]
pub fn violation(code: Code, message: &'static str) -> ValidationError {
    ValidationError::new(code.as_str()).with_message(Cow::Borrowed(message))
}

/// `validator`'s tree of errors as a flat list, sorted by path (its maps are in random order).
#[must_use]
pub fn flatten(errors: &ValidationErrors) -> Vec<Violation> {
    let mut flat = Vec::new();
    collect(errors, "", &mut flat);
    sort(&mut flat);
    flat
}

/// Puts violations in the order in which they are reported: by path, then by code.
pub(crate) fn sort(violations: &mut [Violation]) {
    violations.sort_by(|a, b| (&a.path, a.code).cmp(&(&b.path, b.code)));
}

fn collect(errors: &ValidationErrors, prefix: &str, flat: &mut Vec<Violation>) {
    for (name, kind) in errors.errors() {
        // Rules over several fields are reported by `validator` under this name.
        let name = if name == "__all__" { "" } else { name.as_ref() };
        let path = match (prefix, name) {
            ("", name) => name.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, name) => format!("{prefix}.{name}"),
        };
        match kind {
            ValidationErrorsKind::Field(broken) => {
                flat.extend(broken.iter().map(|error| {
                    let code = Code::of_rule(&error.code);
                    Violation::field(code, path.clone(), sentence(error))
                }));
            }
            ValidationErrorsKind::Struct(nested) => collect(nested, &path, flat),
            ValidationErrorsKind::List(items) => {
                for (index, nested) in items {
                    collect(nested, &format!("{path}.{index}"), flat);
                }
            }
        }
    }
}

/// A sentence from the rule's limits; the offending value among the parameters is left out.
fn sentence(error: &ValidationError) -> String {
    if let Some(message) = &error.message {
        return message.to_string();
    }
    let limit = |name: &str| error.params.get(name).map(ToString::to_string);
    let what = match error.code.as_ref() {
        "length" => "length must be",
        _ => "must be",
    };
    match (limit("min"), limit("max")) {
        (Some(min), Some(max)) => format!("{what} between {min} and {max}"),
        (Some(min), None) => format!("{what} at least {min}"),
        (None, Some(max)) => format!("{what} at most {max}"),
        (None, None) => format!("breaks the rule {}", error.code),
    }
}
