//! The JSON Schema of each entity against the decoder: a valid sample fits it, and what it can say it does say.
#![allow(clippy::unwrap_used, missing_docs)]

use acequia_contracts::{Code, Context, Entity, catalog, fixtures, schema};
use serde_json::{Value, json};

/// Whether a value fits a schema, for the words that ours use; another word is a mistake.
fn fits(schema: &Value, value: &Value) -> bool {
    let words = schema.as_object().unwrap();
    words.iter().all(|(word, wanted)| match word.as_str() {
        "type" => {
            let is = |name: &Value| match name.as_str().unwrap() {
                "object" => value.is_object(),
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                "null" => value.is_null(),
                "number" => value.is_number(),
                "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
                other => panic!("type {other}"),
            };
            match wanted {
                Value::Array(names) => names.iter().any(is),
                name => is(name),
            }
        }
        "enum" => wanted.as_array().unwrap().contains(value),
        "minimum" => value.as_f64().is_none_or(|n| n >= wanted.as_f64().unwrap()),
        "maximum" => value.as_f64().is_none_or(|n| n <= wanted.as_f64().unwrap()),
        "minLength" | "maxLength" => value.as_str().is_none_or(|text| {
            let (length, limit) = (text.chars().count() as u64, wanted.as_u64().unwrap());
            if word == "minLength" {
                length >= limit
            } else {
                length <= limit
            }
        }),
        "pattern" => {
            assert_eq!(wanted, "^[0-9]{4}-[0-9]{2}-[0-9]{2}$");
            value.as_str().is_none_or(|text| {
                let digits = |at: usize, n: usize| {
                    text.get(at..at + n)
                        .is_some_and(|part| part.bytes().all(|b| b.is_ascii_digit()))
                };
                text.len() == 10 && digits(0, 4) && digits(5, 2) && digits(8, 2)
            })
        }
        "properties" => wanted
            .as_object()
            .unwrap()
            .iter()
            .all(|(name, property)| value.get(name).is_none_or(|value| fits(property, value))),
        "required" => wanted
            .as_array()
            .unwrap()
            .iter()
            .all(|name| value.get(name.as_str().unwrap()).is_some()),
        "allOf" => wanted
            .as_array()
            .unwrap()
            .iter()
            .all(|part| fits(part, value)),
        "anyOf" => wanted
            .as_array()
            .unwrap()
            .iter()
            .any(|part| fits(part, value)),
        "$schema" | "title" | "description" | "format" | "x-acequia-rule" | "x-acequia-key" => true,
        other => panic!("the schema says {other}, which nobody checks"),
    })
}

fn entities() -> impl Iterator<Item = &'static Entity> {
    catalog().iter().flat_map(|domain| &domain.entities)
}

fn codes(entity: &Entity, body: &str) -> Vec<Code> {
    let decoded = entity.decode(body, &Context::now(), &mut entity.new_columns());
    let violations = decoded.err().unwrap_or_default();
    violations.iter().map(|violation| violation.code).collect()
}

#[test]
fn every_valid_sample_fits_the_schema() {
    for entity in entities() {
        let schema = schema(entity);
        let mut fitting = 0;
        for sample in fixtures::valid(entity.domain, entity.name) {
            let body: Value = serde_json::from_slice(sample.body).unwrap();
            // The contract takes texts of a list in any case, the schema as they are spelled.
            let spelled = entity.columns.iter().all(|column| {
                let text = body.get(column.name).and_then(Value::as_str);
                column.choices.is_empty() || text.is_none_or(|text| column.choices.contains(&text))
            });
            if spelled {
                assert!(fits(&schema, &body), "{}: {}", entity.name, sample.name);
                fitting += 1;
            }
        }
        assert!(fitting > 0, "{}", entity.name);
    }
}

/// Fields taken away, of another type and out of their limits: the schema refuses what the decoder refuses for
/// its type, range, length or list.
#[test]
fn what_the_decoder_refuses_for_its_form_the_schema_refuses() {
    let mut refused = 0;
    for entity in entities() {
        let schema = schema(entity);
        let samples = fixtures::valid(entity.domain, entity.name);
        let samples = samples
            .iter()
            .map(|sample| serde_json::from_slice(sample.body).unwrap());
        let sample: Value = samples
            .into_iter()
            .find(|body| fits(&schema, body))
            .unwrap();
        for column in entity.columns {
            let values = [
                Value::Null,
                json!(true),
                json!(7),
                json!(-1),
                json!(0),
                json!(1e12),
                json!("x"),
                json!(""),
                json!("x".repeat(1000)),
                json!([1]),
            ];
            for value in values {
                let mut body = sample.clone();
                body[column.name] = value;
                let codes = codes(entity, &body.to_string());
                // Rules of their own are in the schema by name only.
                let own = schema["properties"][column.name]
                    .get("x-acequia-rule")
                    .is_some();
                let form = codes.iter().any(|code| match code {
                    Code::MissingField
                    | Code::InvalidType
                    | Code::NotAllowed
                    | Code::InvalidLength => true,
                    Code::OutOfRange => !own,
                    _ => false,
                });
                if form {
                    assert!(
                        !fits(&schema, &body),
                        "{}.{}: {body}",
                        entity.name,
                        column.name
                    );
                    refused += 1;
                }
                if codes.is_empty() {
                    assert!(
                        fits(&schema, &body),
                        "{}.{}: {body}",
                        entity.name,
                        column.name
                    );
                }
            }
            if column.required {
                let mut body = sample.clone();
                body.as_object_mut().unwrap().remove(column.name);
                for (other, _) in entity.aliases {
                    body.as_object_mut().unwrap().remove(*other);
                }
                assert!(
                    !fits(&schema, &body),
                    "{} without {}",
                    entity.name,
                    column.name
                );
            }
        }
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn a_schema_says_what_the_struct_says() {
    let schema = |name: &str| schema(entities().find(|entity| entity.name == name).unwrap());
    let student = schema("alumno");
    assert_eq!(student["title"], "academico.alumno");
    assert_eq!(
        student["properties"]["edad"],
        json!({"type": "integer", "minimum": 1, "maximum": 120, "description": "Age in years."})
    );
    assert_eq!(student["properties"]["genero"]["enum"], json!(["M", "F"]));
    assert_eq!(student["required"], json!(["nombre", "edad", "genero"]));
    assert_eq!(
        student["allOf"],
        json!([{"anyOf": [{"required": ["id_alumno"]}, {"required": ["id"]}]}])
    );
    let mark = schema("calificacion");
    assert_eq!(mark["properties"]["calificacion"]["x-acequia-rule"], "mark");
    assert_eq!(mark["x-acequia-key"], json!(["id_alumno", "id_grupo"]));
}

#[test]
fn a_body_that_deletes_needs_its_key_alone() {
    acequia_contracts::message! {
        entity "gate", staging "stg.gates", merge "demo.merge_gates", core "demo.gates",
        key ["id_gate"], aliases [("id", "id_gate"), ("nombre", "name")], deletes allowed;

        /// A gate.
        pub struct Gate {
            /// Number.
            pub id_gate: i32,
            /// Name.
            pub name: String,
            /// Width in metres.
            pub width: i32,
        }
    }
    let domain = acequia_contracts::Domain::new("demo").entity::<Gate>();
    let gate = domain.find("gate").unwrap();
    let schema = schema(gate);
    for (body, good) in [
        (json!({"id_gate": 1, "name": "a", "width": 2}), true),
        (
            json!({"id": 1, "nombre": "a", "width": 2, "_op": "upsert"}),
            true,
        ),
        (json!({"id_gate": 1, "_op": "delete"}), true),
        (json!({"id": 1, "_op": "delete"}), true),
        (json!({"id_gate": 1, "name": "a"}), false),
        (json!({"id_gate": 1, "width": 2, "_op": "upsert"}), false),
        (json!({"_op": "delete", "name": "a", "width": 2}), false),
        (json!({"id_gate": 1, "_op": "drop"}), false),
    ] {
        assert_eq!(fits(&schema, &body), good, "{body}");
        assert_eq!(codes(gate, &body.to_string()).is_empty(), good, "{body}");
    }
}
