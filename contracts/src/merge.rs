//! A message type's declaration of its merge, from which the schema makes the merge function.

use crate::message::Column;

/// Way in which the messages of an entity become rows of its domain table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeKind {
    /// One row per key: the newest version.
    Upsert,
    /// One row per message: the domain table's primary key is the key and `message_id`.
    Append,
    /// A function written by hand in the domain's folder of routines.
    Custom,
}

/// Treatment of a row whose parent row is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingParent {
    /// It is pending until its parent comes, and an orphan after the time that the worker allows.
    Wait,
    /// It is merged as it is: the reference leads nowhere until the parent comes. The domain table has
    /// no foreign key there.
    Unknown,
    /// The parent's row is made with nothing but its key, as a version older than any; the parent's
    /// message fills it. The value columns of the parent's table allow nulls.
    Infer,
}

/// Change of a row by a merge, as far as a hook can ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The row is new.
    Inserted,
    /// A row that was there has other values now, or is there again.
    Updated,
    /// The key is gone.
    Deleted,
}

/// A reference to another entity of the same domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    /// Fields that hold the parent's key, in the order of its key.
    pub columns: &'static [&'static str],
    /// Name of the parent inside the domain.
    pub entity: &'static str,
    /// Treatment of rows without a parent.
    pub missing: MissingParent,
}

/// The value of an optional field that a message leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DefaultValue {
    /// Name of field and column.
    pub column: &'static str,
    /// The value as JSON.
    pub json: &'static str,
}

/// The merge of an entity. [`MergeSpec::DEFAULT`] is that of most: an upsert without references.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MergeSpec {
    /// Way in which messages become rows.
    pub kind: MergeKind,
    /// Whether the domain table is partitioned: its rows are then looked up one by one.
    pub partitioned: bool,
    /// Columns of the domain table that hold the key, where their names differ from the fields':
    /// `(field, column)`.
    pub key_columns: &'static [(&'static str, &'static str)],
    /// The field that is the day of the event when the message leaves it out.
    pub dated: Option<&'static str>,
    /// Whether a message may say that its key is gone. The staging table then has a column `deleted`, the
    /// domain table `deleted_at`; the values of a row whose key is gone are null.
    pub deletes: bool,
    /// References, in the order in which they are looked at.
    pub parents: &'static [Parent],
    /// Values of fields that messages leave out.
    pub defaults: &'static [DefaultValue],
    /// Changes for which the function `<domain>.after_<entity>` is called, in the merge's transaction;
    /// empty when there is none.
    pub hook: &'static [Change],
}

impl MergeSpec {
    /// An upsert without references, defaults or hook.
    pub const DEFAULT: Self = Self {
        kind: MergeKind::Upsert,
        partitioned: false,
        key_columns: &[],
        dated: None,
        deletes: false,
        parents: &[],
        defaults: &[],
        hook: &[],
    };

    /// The column of the domain table that holds a field of the key.
    #[must_use]
    pub fn key_column(&self, field: &'static str) -> &'static str {
        self.key_columns
            .iter()
            .find(|(name, _)| *name == field)
            .map_or(field, |(_, column)| column)
    }

    /// The default of a field, as JSON.
    #[must_use]
    pub fn default_of(&self, column: &Column) -> Option<&'static str> {
        self.defaults
            .iter()
            .find(|default| default.column == column.name)
            .map(|default| default.json)
    }
}

/// Words of `message!` for [`MergeSpec`].
#[doc(hidden)]
#[macro_export]
macro_rules! merge_word {
    (kind) => {
        $crate::MergeKind::Upsert
    };
    (kind upsert) => {
        $crate::MergeKind::Upsert
    };
    (kind append) => {
        $crate::MergeKind::Append
    };
    (kind custom) => {
        $crate::MergeKind::Custom
    };
    (missing) => {
        $crate::MissingParent::Wait
    };
    (missing wait) => {
        $crate::MissingParent::Wait
    };
    (missing unknown) => {
        $crate::MissingParent::Unknown
    };
    (missing infer) => {
        $crate::MissingParent::Infer
    };
    (change inserted) => {
        $crate::Change::Inserted
    };
    (change updated) => {
        $crate::Change::Updated
    };
    (change deleted) => {
        $crate::Change::Deleted
    };
    (deletes allowed) => {
        true
    };
    (partitioned) => {
        false
    };
    (partitioned partitioned) => {
        true
    };
}
