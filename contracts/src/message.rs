//! A message type as the engine sees it: name, columns, decoder.

use validator::ValidateArgs;

use crate::field::{Field, Kind, Values};
use crate::merge::MergeSpec;
use crate::rules::Context;
use crate::time::{Date, Instant};
use crate::violation::Violation;

/// One column of a staging table, made from one field of the struct.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Name of field and column.
    pub name: &'static str,
    /// Type of the column.
    pub kind: Kind,
    /// Whether the field must be there.
    pub required: bool,
    /// Whether a JSON text is a value of the field's type, for a complete error report.
    pub accepts: fn(&str) -> bool,
    /// Some JSON that is a value of the field's type.
    pub stand_in: &'static str,
    /// The texts of a closed list.
    pub choices: &'static [&'static str],
    /// The field's attributes as they stand in the struct, each with U+001E behind it: its
    /// description and its rules, from which the JSON Schema is made.
    pub attributes: &'static str,
}

impl Column {
    /// The column of a field of type `T`.
    #[must_use]
    pub const fn of<T: Field>(name: &'static str) -> Self {
        Self {
            name,
            kind: T::KIND,
            required: T::REQUIRED,
            accepts: |json| serde_json::from_str::<T>(json).is_ok(),
            stand_in: T::STAND_IN,
            choices: T::CHOICES,
            attributes: "",
        }
    }

    /// The column with its field's attributes.
    #[must_use]
    pub const fn with_attributes(mut self, attributes: &'static str) -> Self {
        self.attributes = attributes;
        self
    }
}

/// A message type: implemented by the [`message!`](crate::message!) macro, registered in the
/// catalog by one line.
pub trait Message:
    serde::de::DeserializeOwned + for<'a> ValidateArgs<'a, Args = &'a Context> + 'static
{
    /// Name inside the domain, as in `type` and in the routing key `<domain>.<entity>`.
    const ENTITY: &'static str;
    /// Staging table with its schema.
    const STAGING: &'static str;
    /// SQL function that merges staged batches into the core.
    const MERGE: &'static str;
    /// Core table with its schema.
    const CORE: &'static str;
    /// Staging columns that make up the natural key.
    const KEY: &'static [&'static str];
    /// Declaration of the merge function.
    const MERGE_SPEC: MergeSpec;
    /// Other names under which publishers may send a field: `(alias, field)`.
    const ALIASES: &'static [(&'static str, &'static str)];
    /// The columns, in the order of the fields.
    const COLUMNS: &'static [Column];

    /// The event time when the message has no `ts`: a field of its own, if one is named.
    fn version(&self) -> Option<Instant>;

    /// Fills the field that says on which day it was, if there is one and the message leaves it out:
    /// the day of the event, in the offset of the event time.
    fn set_day(&mut self, day: Date);

    /// Appends the fields to the columns.
    fn append(self, columns: &mut [Values]);

    /// Adds a violation for each text that PostgreSQL cannot hold.
    fn check_storable(&self, violations: &mut Vec<Violation>);
}

/// Declares a message type: the struct is the single source of its JSON form, its rules,
/// its staging columns and its merge.
///
/// After `key`, each of these may stand, in this order:
///
/// - `aliases [("id", "id_sensor")]`: other names of fields in messages.
/// - `version made_at`: an optional instant that is the event time when the message has no `ts`.
/// - `dated day`: an optional date that is the day of the event when the message leaves it out.
/// - `parents [(["id_site"], "site"), (["id_owner"], "owner", unknown)]`: references to entities of the same
///   domain, by the fields that hold the parent's key. A row without its parent waits (`wait`, when nothing is
///   said), is merged as it is (`unknown`), or makes a parent row with nothing but the key (`infer`).
/// - `defaults ["place" = "roof"]`: values of optional fields that messages leave out.
/// - `hook [inserted, updated]`: the merge calls the domain's function `<domain>.after_<entity>` for these changes;
///   `deleted` is one too.
/// - `deletes allowed`: a message may delete its key.
///
/// `merge append "..."` keeps a row for each message, `merge custom "..."` is written by hand; nothing means
/// `upsert`. `core partitioned "..."` says that the domain table is partitioned. `key ["id_sensor" as "id"]`
/// names the column of the domain table where it is not the field's.
///
/// ```
/// use acequia_contracts::message;
/// message! {
///     entity "sensor", staging "stg.sensors", merge "demo.merge_sensors", core "demo.sensors",
///     key ["id_sensor"], aliases [("id", "id_sensor")];
///
///     /// A sensor.
///     pub struct Sensor {
///         /// Its number.
///         #[validate(range(min = 1))]
///         pub id_sensor: i32,
///         /// Where it hangs.
///         #[validate(length(min = 1, max = 80))]
///         pub place: Option<String>,
///     }
/// }
/// ```
#[macro_export]
macro_rules! message {
    (
        entity $entity:literal, staging $staging:literal, merge $($merge_kind:ident)? $merge:literal,
        core $($partitioned:ident)? $core:literal,
        key [$($key:literal $(as $key_column:literal)?),+] $(, aliases [$($alias:expr),*])?
        $(, version $version:ident)? $(, dated $dated:ident)?
        $(, parents [$(([$($parent_column:literal),+], $parent:literal $(, $missing:ident)?)),+])?
        $(, defaults [$($default_column:literal = $default:literal),+])?
        $(, hook [$($change:ident),+])? $(, deletes $deletes:ident)?;
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($(#[$fmeta:meta])* pub $field:ident : $type:ty),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, ::serde::Serialize, ::serde::Deserialize, ::validator::Validate)]
        #[validate(context = $crate::Context)]
        pub struct $name {
            $($(#[$fmeta])* pub $field: $type),*
        }

        impl $crate::Message for $name {
            const ENTITY: &'static str = $entity;
            const STAGING: &'static str = $staging;
            const MERGE: &'static str = $merge;
            const CORE: &'static str = $core;
            const KEY: &'static [&'static str] = &[$($key),+];
            // An entity that declares everything leaves nothing to the defaults.
            #[allow(clippy::needless_update)]
            const MERGE_SPEC: $crate::MergeSpec = $crate::MergeSpec {
                kind: $crate::merge_word!(kind $($merge_kind)?),
                partitioned: $crate::merge_word!(partitioned $($partitioned)?),
                key_columns: &[$($(($key, $key_column),)?)+],
                $(dated: Some(stringify!($dated)),)?
                $(parents: &[$($crate::Parent {
                    columns: &[$($parent_column),+],
                    entity: $parent,
                    missing: $crate::merge_word!(missing $($missing)?),
                }),+],)?
                $(defaults: &[$($crate::DefaultValue {
                    column: $default_column,
                    json: stringify!($default),
                }),+],)?
                $(deletes: $crate::merge_word!(deletes $deletes),)?
                $(hook: &[$($crate::merge_word!(change $change)),+],)?
                ..$crate::MergeSpec::DEFAULT
            };
            const ALIASES: &'static [(&'static str, &'static str)] = &[$($($alias),*)?];
            const COLUMNS: &'static [$crate::Column] =
                &[$($crate::Column::of::<$type>(stringify!($field))
                    .with_attributes(concat!($(stringify!($fmeta), "\u{1e}"),*))),*];

            fn version(&self) -> Option<$crate::Instant> {
                [None, $(self.$version)?].into_iter().flatten().next()
            }

            fn set_day(&mut self, day: $crate::Date) {
                $(self.$dated.get_or_insert(day);)?
                let _ = day;
            }

            fn append(self, columns: &mut [$crate::Values]) {
                let mut columns = columns.iter_mut();
                $(if let Some(column) = columns.next() {
                    $crate::Field::append(self.$field, column);
                })*
            }

            fn check_storable(&self, violations: &mut Vec<$crate::Violation>) {
                $(if !$crate::Field::is_storable(&self.$field) {
                    violations.push($crate::Violation::field(
                        $crate::Code::NulCharacter,
                        stringify!($field),
                        "must not contain the character U+0000",
                    ));
                })*
            }
        }
    };
}
