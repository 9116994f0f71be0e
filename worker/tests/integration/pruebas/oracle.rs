//! Expected tables after some messages, derived from the contract alone: kind, key, references,
//! defaults. It knows no SQL.

use std::collections::{BTreeMap, BTreeSet};

use acequia_contracts::{Entity, MergeKind, MissingParent};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::domain::domain;

/// A message that was accepted.
#[derive(Debug, Clone)]
pub struct Heard {
    pub entity: &'static str,
    pub id: Uuid,
    /// Event time, microseconds since 1970.
    pub at: i64,
    pub deletes: bool,
    pub body: Map<String, Value>,
}

/// Rows of a table by the columns that make them one of a kind.
pub type Table = BTreeMap<Vec<String>, Value>;

/// Tables by entity, and the messages that wait.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Outcome {
    pub tables: BTreeMap<&'static str, Table>,
    pub pending: BTreeSet<(&'static str, Uuid)>,
}

/// The version of a row that was made for a reference: 0001-01-01, in microseconds.
const INFERRED_AT: i64 = -62_135_596_800_000_000;

impl Outcome {
    /// The one result that these messages have, in whatever order and batches they come.
    pub fn of(messages: &[Heard]) -> Self {
        let mut outcome = Self::default();
        for entity in &domain().entities {
            outcome.tables.insert(entity.name, Table::new());
        }
        // A row may make its parent, which may be what another one waits for.
        loop {
            let before = outcome.clone();
            outcome.pending.clear();
            for heard in messages {
                outcome.hear(heard);
            }
            if outcome == before {
                return outcome;
            }
        }
    }

    fn hear(&mut self, heard: &Heard) {
        let entity = domain().find(heard.entity).unwrap();
        let row = row(entity, heard);
        let missing: Vec<_> = entity
            .merge_spec
            .parents
            .iter()
            .filter(|parent| {
                let key: Vec<_> = parent.columns.iter().map(|name| &row[*name]).collect();
                let given = !key.iter().any(|value| value.is_null());
                let key: Vec<String> = key.into_iter().map(ToString::to_string).collect();
                given && !self.tables[parent.entity].contains_key(&key)
            })
            .collect();
        if missing
            .iter()
            .any(|parent| parent.missing == MissingParent::Wait)
        {
            self.pending.insert((entity.name, heard.id));
            return;
        }
        for parent in missing {
            if parent.missing == MissingParent::Infer {
                self.infer(parent.entity, parent.columns, &row);
            }
        }
        let table = self.tables.get_mut(entity.name).unwrap();
        match entity.merge_spec.kind {
            MergeKind::Append => {
                let mut key = key(entity, &row);
                key.push(heard.id.to_string());
                table.insert(key, named(entity, row));
            }
            MergeKind::Upsert => {
                let version = |row: &Value| {
                    let id: Uuid = row["message_id"].as_str().unwrap().parse().unwrap();
                    (row["event_at"].as_i64().unwrap(), id)
                };
                let (key, row) = (key(entity, &row), named(entity, row));
                let newer = table
                    .get(&key)
                    .is_none_or(|old| version(&row) > version(old));
                if newer {
                    table.insert(key, row);
                }
            }
            MergeKind::Custom => unreachable!("no entity of this domain"),
        }
    }

    fn infer(&mut self, parent: &'static str, columns: &[&str], child: &Value) {
        let entity = domain().find(parent).unwrap();
        let mut row = Map::new();
        for column in entity.columns {
            row.insert(column.name.to_owned(), Value::Null);
        }
        for (name, column) in entity.key.iter().zip(columns) {
            row.insert((*name).to_owned(), child[*column].clone());
        }
        row.insert("event_at".to_owned(), INFERRED_AT.into());
        row.insert("message_id".to_owned(), json!(Uuid::nil()));
        let row = Value::Object(row);
        let table = self.tables.get_mut(parent).unwrap();
        table.insert(key(entity, &row), named(entity, row));
    }
}

/// The row that a message makes, by the names of its fields.
fn row(entity: &Entity, heard: &Heard) -> Value {
    let mut row = Map::new();
    for column in entity.columns {
        let sent = heard.body.get(column.name).filter(|value| !value.is_null());
        let spec = &entity.merge_spec;
        let value = match (sent, spec.default_of(column)) {
            _ if heard.deletes && !entity.key.contains(&column.name) => Value::Null,
            (Some(sent), _) => sent.clone(),
            (None, Some(default)) => serde_json::from_str(default).unwrap(),
            (None, None) if spec.dated == Some(column.name) => {
                let at = chrono::DateTime::from_timestamp_micros(heard.at).unwrap();
                json!(at.date_naive())
            }
            (None, None) => Value::Null,
        };
        row.insert(column.name.to_owned(), value);
    }
    row.insert("event_at".to_owned(), heard.at.into());
    row.insert("message_id".to_owned(), json!(heard.id));
    if entity.merge_spec.deletes {
        let gone = heard.deletes.then_some(heard.at);
        row.insert("deleted_at".to_owned(), json!(gone));
    }
    Value::Object(row)
}

fn key(entity: &Entity, row: &Value) -> Vec<String> {
    let fields = entity.key.iter();
    fields.map(|field| row[*field].to_string()).collect()
}

/// The row by the names of the table's columns.
fn named(entity: &Entity, row: Value) -> Value {
    let Value::Object(mut row) = row else {
        unreachable!("a row is an object");
    };
    for field in entity.key {
        let column = entity.merge_spec.key_column(field);
        if let Some(value) = row.remove(*field) {
            row.insert(column.to_owned(), value);
        }
    }
    Value::Object(row)
}
