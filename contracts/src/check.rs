//! Whether the declarations of a domain fit together.

use std::fmt;

use crate::catalog::{Domain, Entity};
use crate::delete::OP_FIELD;
use crate::merge::{MergeKind, MergeSpec, MissingParent, Parent};
use crate::message::Column;
use crate::schema::{Rule, custom_rule};

/// Problems in the declarations of a domain: each entry names entity and column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogError(pub Vec<String>);

impl fmt::Display for CatalogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "catalog: {}", self.0.join("; "))
    }
}

impl std::error::Error for CatalogError {}

impl Domain {
    /// Checks keys, aliases, rules, references, defaults and hooks of all entities.
    ///
    /// # Errors
    /// All problems, with entity and column.
    pub fn check(&self) -> Result<(), CatalogError> {
        let mut problems = Vec::new();
        for (position, entity) in self.entities.iter().enumerate() {
            if self.position(entity.name) != Some(position) {
                problems.push(format!("{}.{} is there twice", self.name, entity.name));
            }
            let mut found = Vec::new();
            fields(entity, &mut found);
            for parent in entity.merge_spec.parents {
                reference(self, position, entity, parent, &mut found);
            }
            let name = format!("{}.{}", self.name, entity.name);
            problems.extend(
                found
                    .into_iter()
                    .map(|problem| format!("{name}: {problem}")),
            );
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(CatalogError(problems))
        }
    }
}

fn column<'a>(entity: &'a Entity, name: &str) -> Option<&'a Column> {
    entity.columns.iter().find(|column| column.name == name)
}

/// Columns of the envelope, and those that a generated merge adds to the fields.
const TAKEN: [&str; 17] = [
    "message_id",
    "day",
    "batch_id",
    "event_at",
    "published_at",
    "received_at",
    "body_hash",
    "deleted",
    "deleted_at",
    "age",
    "before",
    "fresh",
    "missing",
    "missing_key",
    "outcome",
    "waited",
    OP_FIELD,
];

/// Checks an entity's declarations about its own fields.
fn fields(entity: &Entity, problems: &mut Vec<String>) {
    let spec = &entity.merge_spec;
    let taken = TAKEN.iter().filter(|name| column(entity, name).is_some());
    problems
        .extend(taken.map(|name| format!("field {name} has the name of a column of the platform")));
    for key in entity.key {
        match column(entity, key) {
            None => problems.push(format!("key column {key} is no field")),
            Some(column) if !column.required => {
                problems.push(format!("key column {key} must not be optional"));
            }
            Some(_) => {}
        }
    }
    for (alias, field) in entity.aliases {
        if column(entity, field).is_none() {
            problems.push(format!(
                "alias {alias} stands for {field}, which is no field"
            ));
        }
    }
    for column in entity.columns {
        let Some(function) = custom_rule(column) else {
            continue;
        };
        match Rule::find(entity.rules, function).map(Rule::words) {
            None => problems.push(format!(
                "field {} has the rule {function}, which the domain does not describe",
                column.name
            )),
            Some(None) => {
                problems.push(format!("the schema of rule {function} is no JSON object"));
            }
            Some(Some(_)) => {}
        }
    }
    for default in spec.defaults {
        let name = default.column;
        match column(entity, name) {
            None => problems.push(format!("default column {name} is no field")),
            Some(column) if column.required => {
                problems.push(format!("default column {name} is required"));
            }
            Some(column) if !(column.accepts)(default.json) => problems.push(format!(
                "default {} is no value of column {name}",
                default.json
            )),
            Some(_) if spec.dated == Some(name) => {
                problems.push(format!("column {name} has a default and is dated"));
            }
            Some(_) => {}
        }
        let same = spec.defaults.iter().filter(|other| other.column == name);
        if same.count() > 1 {
            problems.push(format!("column {name} has two defaults"));
        }
    }
    match spec.kind {
        MergeKind::Custom if has_parts(spec) => problems.push(format!(
            "{} is written by hand: references, defaults and hook are its own",
            entity.merge
        )),
        MergeKind::Append if spec.deletes => {
            problems.push("what is appended stays: no deletes".to_owned());
        }
        MergeKind::Append if !spec.hook.is_empty() => {
            problems.push("an appended row has no version before: no hook".to_owned());
        }
        _ => {}
    }
}

/// Whether anything is declared that only a generated merge does.
const fn has_parts(spec: &MergeSpec) -> bool {
    !spec.parents.is_empty() || !spec.defaults.is_empty() || !spec.hook.is_empty()
}

/// Checks an entity's reference to another one.
fn reference(
    domain: &Domain,
    position: usize,
    entity: &Entity,
    parent: &Parent,
    problems: &mut Vec<String>,
) {
    let columns = parent.columns.join(", ");
    let name = parent.entity;
    let found = domain.entities.iter().position(|other| other.name == name);
    let Some(place) = found else {
        problems.push(format!(
            "parent {name} of {columns} is no entity of the domain"
        ));
        return;
    };
    if place >= position {
        problems.push(format!(
            "parent {name} of {columns} must stand before it in the list of the domain"
        ));
        return;
    }
    let other = &domain.entities[place];
    if other.merge_spec.kind == MergeKind::Append {
        problems.push(format!("parent {name} of {columns} has many rows of a key"));
    }
    if parent.columns.len() != other.key.len() {
        problems.push(format!(
            "parent {name} of {columns} has the key {}",
            other.key.join(", ")
        ));
        return;
    }
    for (name, key) in parent.columns.iter().zip(other.key) {
        match (column(entity, name), column(other, key)) {
            (None, _) => problems.push(format!("parent column {name} is no field")),
            (Some(child), Some(parent)) if child.kind != parent.kind => problems.push(format!(
                "parent column {name} is {}, key {key} of {} is {}",
                child.kind.sql(),
                other.name,
                parent.kind.sql()
            )),
            _ => {}
        }
    }
    let spec = &other.merge_spec;
    if parent.missing == MissingParent::Infer
        && (spec.kind != MergeKind::Upsert || !spec.parents.is_empty())
    {
        problems.push(format!(
            "parent {name} of {columns} cannot be inferred: it is no upsert or refers to others"
        ));
    }
}
