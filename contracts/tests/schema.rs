//! The JSON Schema of each entity against the decoder: a valid sample fits it, and what it can say it does say.
#![allow(clippy::unwrap_used, missing_docs)]

use acequia_contracts::{Code, Context, Entity, catalog, fixtures, schema};
use serde_json::{Value, json};

/// Whether a value fits a schema, by a validator that is not ours.
fn fits(schema: &Value, value: &Value) -> bool {
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    let location = "https://example.org/schema.json";
    compiler.add_resource(location, schema.clone()).unwrap();
    let index = compiler.compile(location, &mut schemas).unwrap();
    schemas.validate(value, index).is_ok()
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
                let form = codes.iter().any(|code| {
                    matches!(
                        code,
                        Code::MissingField
                            | Code::InvalidType
                            | Code::NotAllowed
                            | Code::InvalidLength
                            | Code::InvalidFormat
                            | Code::OutOfRange
                    )
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
    let value = &mark["properties"]["calificacion"];
    assert_eq!(value["x-acequia-rule"], "mark");
    assert_eq!(
        (&value["minimum"], &value["maximum"]),
        (&json!(0), &json!(10))
    );
    assert_eq!(mark["x-acequia-key"], json!(["id_alumno", "id_grupo"]));
}

/// The domains whose rules are listed below.
const REFERENCES: [&str; 2] = ["academico", "consumo"];

#[test]
fn where_the_schema_and_the_contract_may_disagree_is_listed() {
    let mut rules = Vec::new();
    for entity in entities() {
        let schema = schema(entity);
        for entry in schema["x-acequia-rules"].as_array().unwrap() {
            for field in entry["fields"].as_array().unwrap() {
                let known = schema["properties"].get(field.as_str().unwrap());
                assert!(known.is_some(), "{}: {field}", entity.name);
            }
            let codes = entry["codes"].as_array().unwrap();
            assert!(!codes.is_empty(), "{entry}");
            for code in codes {
                let known = Code::ALL.iter().any(|one| one.as_str() == code);
                assert!(known, "{code}");
            }
            assert!(!entry["description"].as_str().unwrap().is_empty());
            if REFERENCES.contains(&entity.domain) {
                let rule = entry.get("rule");
                rules.extend(rule.map(|rule| format!("{} {rule} {}", entity.name, entry["codes"])));
            }
        }
    }
    assert_eq!(
        rules,
        [
            r#"grupo "any_date" ["invalid_date"]"#,
            r#"inscripcion "past_date" ["invalid_date","future_date"]"#,
            r#"calificacion "mark" ["too_precise"]"#,
            r#"calificacion "past_date" ["invalid_date","future_date"]"#,
            r#"lectura "measured_at" ["invalid_date","future_date"]"#,
            r#"lectura "kwh" ["too_precise"]"#,
            r#"lectura "optional_event_time" ["invalid_date","future_date"]"#,
        ]
    );
}

#[test]
fn a_rule_that_nobody_describes_is_a_defect_of_the_catalog() {
    fn even(_: i32) -> Result<(), validator::ValidationError> {
        Ok(())
    }
    acequia_contracts::message! {
        entity "lock", staging "stg.locks", merge "demo.merge_locks", core "demo.locks", key ["id_lock"];

        /// A lock.
        pub struct Lock {
            /// Number.
            #[validate(custom(function = "even"))]
            pub id_lock: i32,
        }
    }
    const EVEN: &[acequia_contracts::Rule] = &[acequia_contracts::Rule {
        function: "even",
        text: "even",
        schema: r#"{"multipleOf": 2}"#,
        codes: &[],
    }];
    let domain = acequia_contracts::Domain::new("demo").entity::<Lock>();
    let error = domain.check().unwrap_err();
    assert_eq!(
        error.0,
        ["demo.lock: field id_lock has the rule even, which the domain does not describe"]
    );
    let domain = domain.rules(EVEN);
    domain.check().unwrap();
    let schema = schema(domain.find("lock").unwrap());
    assert_eq!(schema["properties"]["id_lock"]["multipleOf"], 2);
    assert!(fits(&schema, &json!({"id_lock": 2})) && !fits(&schema, &json!({"id_lock": 3})));
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
