//! Schema of the rules that a domain writes as functions.

use serde_json::{Map, Value};

use crate::violation::Code;

/// A rule of a field, `#[validate(custom(function = "..."))]`, as it is seen from outside the program.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Name of the function.
    pub function: &'static str,
    /// The rule in words.
    pub text: &'static str,
    /// As much of it as JSON Schema can say: an object with its words.
    pub schema: &'static str,
    /// Codes of violations that those words do not foresee.
    pub codes: &'static [Code],
}

/// The rules of [`crate::rules`], which all domains share.
static SHARED: [Rule; 4] = [
    Rule {
        function: "past_date",
        text: "from 1900-01-01, not in the future",
        schema: "{}",
        codes: &[Code::InvalidDate, Code::FutureDate],
    },
    Rule {
        function: "any_date",
        text: "from 1900-01-01",
        schema: "{}",
        codes: &[Code::InvalidDate],
    },
    Rule {
        function: "event_time",
        text: EVENT_TIME,
        schema: "{}",
        codes: &[Code::InvalidDate, Code::FutureDate],
    },
    Rule {
        function: "optional_event_time",
        text: EVENT_TIME,
        schema: "{}",
        codes: &[Code::InvalidDate, Code::FutureDate],
    },
];

/// The rule of event times in words.
pub const EVENT_TIME: &str = "from 1900-01-01, at most a day in the future";

impl Rule {
    /// The rule with this function: the domain's own, else a shared one.
    pub(crate) fn find(own: &'static [Self], function: &str) -> Option<&'static Self> {
        own.iter()
            .chain(&SHARED)
            .find(|rule| rule.function == function)
    }

    /// The words of JSON Schema; nothing when they are no object.
    pub(crate) fn words(&self) -> Option<Map<String, Value>> {
        serde_json::from_str(self.schema).ok()
    }
}
