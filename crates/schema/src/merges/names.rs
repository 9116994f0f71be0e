//! The names that a merge is made of.

use acequia_contracts::{Change, Column, Domain, Entity, Kind, MergeKind, MissingParent};

/// A column of the key.
pub struct Key {
    /// Field of the message, and column of the staging table.
    pub field: &'static str,
    /// Column of the domain table.
    pub column: &'static str,
}

/// A value: a field that is not of the key.
pub struct Value {
    /// Field of the message, column of both tables.
    pub name: &'static str,
    /// Default of a staged column that is null, as SQL.
    pub default: Option<String>,
}

/// A row that others are looked up in.
pub struct Reference<'a> {
    /// Fields that hold its key, each with the column of the parent's domain table.
    pub columns: Vec<(&'static str, &'static str)>,
    /// Fields that may be null: then there is no parent to look for.
    pub optional: Vec<&'static str>,
    /// The parent.
    pub parent: &'a Entity,
    /// `<domain>.<entity>` of the parent.
    pub name: String,
    /// Whether rows of the parent's domain wait for the parent.
    pub awaited: bool,
}

/// Names and columns of which a merge is made.
pub struct Names<'a> {
    /// The contract of the entity.
    pub contract: &'a Entity,
    /// `<domain>.<entity>`.
    pub entity: String,
    /// Columns of the key.
    pub key: Vec<Key>,
    /// All other fields.
    pub values: Vec<Value>,
    /// Parents that a row waits for.
    pub waits_for: Vec<Reference<'a>>,
    /// Parents that are made with nothing but their key.
    pub infers: Vec<Reference<'a>>,
    /// Whether rows of other entities wait for rows of this one.
    pub awaited: bool,
    /// Changes for which the domain's hook is called.
    pub hook: &'static [Change],
}

impl<'a> Names<'a> {
    /// The names of an entity, which fits its domain: see `Domain::check`.
    pub fn of(domain: &'a Domain, entity: &'a Entity) -> Self {
        let spec = &entity.merge_spec;
        let is_key = |column: &&Column| entity.key.contains(&column.name);
        let key = entity.key.iter().map(|field| Key {
            field,
            column: spec.key_column(field),
        });
        let values = entity.columns.iter().filter(|column| !is_key(column));
        let references = |missing: MissingParent| {
            let parents = spec.parents.iter();
            let parents = parents.filter(move |parent| parent.missing == missing);
            parents
                .filter_map(|parent| reference(domain, entity, parent))
                .collect()
        };
        Self {
            contract: entity,
            entity: format!("{}.{}", entity.domain, entity.name),
            key: key.collect(),
            values: values
                .map(|column| Value {
                    name: column.name,
                    default: default(entity, column),
                })
                .collect(),
            waits_for: references(MissingParent::Wait),
            infers: references(MissingParent::Infer),
            awaited: awaited(domain, entity.name),
            hook: spec.hook,
        }
    }

    /// Whether rows may be pending.
    pub const fn waits(&self) -> bool {
        !self.waits_for.is_empty()
    }

    /// Whether messages may delete keys.
    pub const fn deletes(&self) -> bool {
        self.contract.merge_spec.deletes
    }

    /// Whether a row for each message is kept.
    pub fn appends(&self) -> bool {
        self.contract.merge_spec.kind == MergeKind::Append
    }

    /// Whether the hook is called for a change.
    pub fn hears(&self, change: Change) -> bool {
        self.hook.contains(&change)
    }

    /// The hook function.
    pub fn hook_name(&self) -> String {
        format!("{}.after_{}", self.contract.domain, self.contract.name)
    }

    /// `c.id = n.id_x`, for each column of the key.
    pub fn join(&self, table: &str) -> String {
        let mut columns: Vec<_> = self
            .key
            .iter()
            .map(|key| format!("{table}.{} = n.{}", key.column, key.field))
            .collect();
        if self.appends() {
            columns.push(format!("{table}.message_id = n.message_id"));
        }
        columns.join(" and ")
    }
}

fn reference<'a>(
    domain: &'a Domain,
    entity: &Entity,
    parent: &acequia_contracts::Parent,
) -> Option<Reference<'a>> {
    let other = domain.find(parent.entity)?;
    let spec = &other.merge_spec;
    let spec_deletes = entity.merge_spec.deletes;
    let fields = parent.columns.iter().copied();
    let optional = fields.clone().filter(|name| {
        let column = entity.columns.iter().find(|column| column.name == *name);
        // A deleted row refers to others by nothing but its key.
        let goes = spec_deletes && !entity.key.contains(name);
        goes || column.is_some_and(|column| !column.required && default(entity, column).is_none())
    });
    Some(Reference {
        optional: optional.collect(),
        columns: fields
            .zip(other.key.iter().map(|key| spec.key_column(key)))
            .collect(),
        name: format!("{}.{}", other.domain, other.name),
        awaited: awaited(domain, other.name),
        parent: other,
    })
}

/// Whether rows of other entities wait for rows of this one.
fn awaited(domain: &Domain, name: &str) -> bool {
    let entities = domain.entities.iter();
    let mut parents = entities.flat_map(|entity| entity.merge_spec.parents);
    parents.any(|parent| parent.entity == name && parent.missing == MissingParent::Wait)
}

/// The default of a staged column that is null.
fn default(entity: &Entity, column: &Column) -> Option<String> {
    if entity.merge_spec.dated == Some(column.name) {
        return Some("(s.event_at at time zone 'UTC')::date".to_owned());
    }
    let json = entity.merge_spec.default_of(column)?;
    Some(match serde_json::from_str(json) {
        Ok(serde_json::Value::String(text)) => format!("'{}'", text.replace('\'', "''")),
        // A number or a boolean is written alike in both languages.
        _ if column.kind == Kind::Float => format!("{json}::double precision"),
        _ => json.to_owned(),
    })
}
