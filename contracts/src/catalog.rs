//! The list of domains and entities. Nothing else in the project lists them.

use std::collections::HashMap;

use crate::decode::{Envelope, decode};
use crate::delete::{Op, decode_delete};
use crate::envelope::OP;
use crate::field::Values;
use crate::merge::MergeSpec;
use crate::message::{Column, Message};
use crate::rules::Context;
use crate::schema::Rule;
use crate::violation::Violation;

/// [`decode`] of one Rust type.
type Decode = fn(&str, &Context, &mut [Values]) -> Result<Envelope, Vec<Violation>>;
/// [`decode_delete`] of one Rust type.
type DecodeDelete =
    fn(&str, &'static str, &Context, &mut [Values]) -> Result<Envelope, Vec<Violation>>;

/// A message type without its Rust type: what the engine works with.
#[derive(Debug)]
pub struct Entity {
    /// Domain: name of its queue, its core schema and its SQL folder.
    pub domain: &'static str,
    /// Name inside the domain.
    pub name: &'static str,
    /// Staging table with its schema.
    pub staging: &'static str,
    /// SQL function that merges staged batches into the core.
    pub merge: &'static str,
    /// Declaration of the merge function.
    pub merge_spec: MergeSpec,
    /// Core table with its schema.
    pub core: &'static str,
    /// Staging columns that make up the natural key.
    pub key: &'static [&'static str],
    /// Staging columns in the order of the struct's fields.
    pub columns: &'static [Column],
    /// Other names of fields in messages: the other name, then the field's.
    pub aliases: &'static [(&'static str, &'static str)],
    /// Rules of the domain's own, as the JSON Schema shows them.
    pub rules: &'static [Rule],
    decode: Decode,
    decode_delete: DecodeDelete,
}

impl Entity {
    const fn of<T: Message>(domain: &'static str, rules: &'static [Rule]) -> Self {
        Self {
            domain,
            rules,
            name: T::ENTITY,
            staging: T::STAGING,
            merge: T::MERGE,
            merge_spec: T::MERGE_SPEC,
            core: T::CORE,
            key: T::KEY,
            columns: T::COLUMNS,
            aliases: T::ALIASES,
            decode: decode::<T>,
            decode_delete: decode_delete::<T>,
        }
    }

    /// Empty columns for a batch.
    #[must_use]
    pub fn new_columns(&self) -> Vec<Values> {
        self.columns
            .iter()
            .map(|column| Values::new(column.kind))
            .collect()
    }

    /// Decodes and validates one body and, when it is good, appends it to the columns, which
    /// must come from [`Entity::new_columns`].
    ///
    /// # Errors
    /// Every broken rule, sorted by field.
    pub fn decode(
        &self,
        body: &str,
        context: &Context,
        columns: &mut [Values],
    ) -> Result<Envelope, Vec<Violation>> {
        (self.decode)(body, context, columns)
    }

    /// The same for a message that came with a header `x-op`: `delete` comes before what the body says, `upsert` leaves it to the
    /// body.
    ///
    /// # Errors
    /// Like [`Entity::decode`]; also [`Code::NotAllowed`](crate::Code::NotAllowed) for another header than
    /// `delete` or `upsert`, and [`Code::DeleteNotAllowed`](crate::Code::DeleteNotAllowed).
    pub fn decode_with_op(
        &self,
        body: &str,
        header: &str,
        context: &Context,
        columns: &mut [Values],
    ) -> Result<Envelope, Vec<Violation>> {
        match Op::read(header, OP).map_err(|violation| vec![violation])? {
            Op::Delete => (self.decode_delete)(body, OP, context, columns),
            Op::Upsert => self.decode(body, context, columns),
        }
    }
}

/// A name without its domain in front.
pub(crate) fn without_domain<'a>(domain: &str, name: &'a str) -> &'a str {
    name.strip_prefix(domain)
        .and_then(|rest| rest.strip_prefix('.'))
        .unwrap_or(name)
}

/// A domain: one queue, one core schema, its entities in merge order.
#[derive(Debug)]
pub struct Domain {
    /// Its name.
    pub name: &'static str,
    /// A queue on the default exchange whose messages name their entity in the body, kept for
    /// publishers written for a reference system.
    pub legacy_queue: Option<&'static str>,
    /// Its entities, parents before children.
    pub entities: Vec<Entity>,
    rules: &'static [Rule],
    /// Its source of synthetic data.
    #[cfg(feature = "generate")]
    pub generator: Option<&'static dyn crate::generate::Generator>,
    by_name: HashMap<&'static str, usize>,
}

impl Domain {
    /// A domain without entities.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            legacy_queue: None,
            entities: Vec::new(),
            rules: &[],
            #[cfg(feature = "generate")]
            generator: None,
            by_name: HashMap::new(),
        }
    }

    /// Adds an entity. Parents come before their children: this is the order of the merges.
    #[must_use]
    pub fn entity<T: Message>(mut self) -> Self {
        self.by_name.insert(T::ENTITY, self.entities.len());
        self.entities.push(Entity::of::<T>(self.name, self.rules));
        self
    }

    /// Describes the functions that check fields of the domain's entities.
    #[must_use]
    pub fn rules(mut self, rules: &'static [Rule]) -> Self {
        self.rules = rules;
        for entity in &mut self.entities {
            entity.rules = rules;
        }
        self
    }

    /// Also drains this queue on the default exchange.
    #[must_use]
    pub const fn legacy_queue(mut self, queue: &'static str) -> Self {
        self.legacy_queue = Some(queue);
        self
    }

    /// Sets the source of synthetic data.
    #[cfg(feature = "generate")]
    #[must_use]
    pub const fn generator(mut self, generator: &'static dyn crate::generate::Generator) -> Self {
        self.generator = Some(generator);
        self
    }

    /// The position of an entity in [`Domain::entities`], by its name, with or without the
    /// domain in front, in any case.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        let name = without_domain(self.name, name);
        self.by_name
            .get(name)
            .or_else(|| self.by_name.get(name.trim().to_lowercase().as_str()))
            .copied()
    }

    /// An entity by its name, as [`Domain::position`].
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Entity> {
        self.position(name)
            .and_then(|index| self.entities.get(index))
    }
}
