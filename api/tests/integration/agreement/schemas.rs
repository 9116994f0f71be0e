//! The JSON Schema of an entity in a validator that is not ours, and where it may disagree with the contract.

use acequia_contracts::{Entity, schema};
use boon::{Compiler, ErrorKind, SchemaIndex, Schemas, ValidationError};
use serde_json::Value;

/// Field and code of a fault.
pub type Fault = (String, String);

/// The schema of an entity.
pub struct Schema {
    schemas: Schemas,
    index: SchemaIndex,
    words: Value,
}

impl Schema {
    pub fn of(entity: &Entity) -> Self {
        let words = schema(entity);
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        let place = "https://example.org/schema.json";
        compiler.add_resource(place, words.clone()).unwrap();
        let index = compiler.compile(place, &mut schemas).unwrap();
        Self {
            schemas,
            index,
            words,
        }
    }

    /// Faults that the validator reports for a body, in the contract's codes.
    pub fn faults(&self, body: &[u8]) -> Vec<Fault> {
        let Ok(value) = serde_json::from_slice::<Value>(body) else {
            return vec![(String::new(), "invalid_json".to_owned())];
        };
        let mut faults = Vec::new();
        if let Err(error) = self.schemas.validate(&value, self.index) {
            self.collect(&error, &mut faults);
        }
        faults
    }

    fn collect(&self, error: &ValidationError<'_, '_>, faults: &mut Vec<Fault>) {
        let place = error.instance_location.to_string();
        let field = place.trim_start_matches('/').to_owned();
        let code = match error.kind {
            ErrorKind::Type { .. } => "invalid_type",
            ErrorKind::Enum { .. } => "not_allowed",
            ErrorKind::Minimum { .. } | ErrorKind::Maximum { .. } => "out_of_range",
            ErrorKind::MinLength { .. } | ErrorKind::MaxLength { .. } => "invalid_length",
            ErrorKind::Pattern { .. } if self.words["properties"][&field]["format"].is_string() => {
                "invalid_date"
            }
            ErrorKind::Pattern { want, .. } if want.contains("u0000") => "nul_character",
            ErrorKind::Pattern { .. } => "invalid_format",
            ErrorKind::Required { .. } | ErrorKind::AnyOf => "missing_field",
            _ => {
                assert!(!error.causes.is_empty(), "{error}");
                return error
                    .causes
                    .iter()
                    .for_each(|cause| self.collect(cause, faults));
            }
        };
        faults.push((field, code.to_owned()));
    }

    /// Whether a rule of the schema lists the fault as one that it and the contract may disagree on.
    pub fn lists(&self, (field, code): &Fault) -> bool {
        let rules = self.words["x-acequia-rules"].as_array().unwrap();
        // Of an unknown field the first name counts.
        rules.iter().any(|rule| {
            let fields = rule["fields"].as_array().unwrap();
            let codes = rule["codes"].as_array().unwrap();
            let concerned = fields.is_empty() || fields.iter().any(|one| one == field);
            concerned && codes.iter().any(|one| one == code)
        })
    }
}
