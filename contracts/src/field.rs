//! Types of fields, and the columns that staged messages fill.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::exact_decimal::ExactDecimal;
use crate::time::{Date, Instant};

/// The type of a staging column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `integer`
    Int,
    /// `bigint`
    BigInt,
    /// `double precision`
    Float,
    /// `boolean`
    Bool,
    /// `text`
    Text,
    /// A closed list of texts, stored as `text`.
    Choice,
    /// `numeric`
    Decimal,
    /// `date`
    Date,
    /// `timestamptz`
    Timestamp,
}

impl Kind {
    /// The PostgreSQL type that the staged array is cast to.
    #[must_use]
    pub const fn sql(self) -> &'static str {
        match self {
            Self::Int => "integer",
            Self::BigInt => "bigint",
            Self::Float => "double precision",
            Self::Bool => "boolean",
            Self::Text | Self::Choice => "text",
            Self::Decimal => "numeric",
            Self::Date => "date",
            Self::Timestamp => "timestamptz",
        }
    }
}

/// The values of one staging column, one per staged message.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// `integer`
    Int(Vec<Option<i32>>),
    /// `bigint`
    BigInt(Vec<Option<i64>>),
    /// `double precision`
    Float(Vec<Option<f64>>),
    /// `boolean`
    Bool(Vec<Option<bool>>),
    /// `text`
    Text(Vec<Option<String>>),
    /// `numeric`
    Decimal(Vec<Option<Decimal>>),
    /// `date`
    Date(Vec<Option<NaiveDate>>),
    /// `timestamptz`
    Timestamp(Vec<Option<DateTime<Utc>>>),
}

/// Does the same with the values of whatever type.
macro_rules! each {
    ($column:expr, $values:ident => $does:expr) => {
        match $column {
            Values::Int($values) => $does,
            Values::BigInt($values) => $does,
            Values::Float($values) => $does,
            Values::Bool($values) => $does,
            Values::Text($values) => $does,
            Values::Decimal($values) => $does,
            Values::Date($values) => $does,
            Values::Timestamp($values) => $does,
        }
    };
}

impl Values {
    /// An empty column of the given type.
    #[must_use]
    pub const fn new(kind: Kind) -> Self {
        match kind {
            Kind::Int => Self::Int(Vec::new()),
            Kind::BigInt => Self::BigInt(Vec::new()),
            Kind::Float => Self::Float(Vec::new()),
            Kind::Bool => Self::Bool(Vec::new()),
            Kind::Text | Kind::Choice => Self::Text(Vec::new()),
            Kind::Decimal => Self::Decimal(Vec::new()),
            Kind::Date => Self::Date(Vec::new()),
            Kind::Timestamp => Self::Timestamp(Vec::new()),
        }
    }

    /// Drops the values from `len` on.
    pub fn truncate(&mut self, len: usize) {
        each!(self, values => values.truncate(len));
    }

    /// Adds a null.
    pub(crate) fn push_null(&mut self) {
        each!(self, values => values.push(None));
    }

    /// Takes the values of a column of the same type.
    pub(crate) fn append(&mut self, other: &mut Self) {
        match (self, other) {
            (Self::Int(all), Self::Int(more)) => all.append(more),
            (Self::BigInt(all), Self::BigInt(more)) => all.append(more),
            (Self::Float(all), Self::Float(more)) => all.append(more),
            (Self::Bool(all), Self::Bool(more)) => all.append(more),
            (Self::Text(all), Self::Text(more)) => all.append(more),
            (Self::Decimal(all), Self::Decimal(more)) => all.append(more),
            (Self::Date(all), Self::Date(more)) => all.append(more),
            (Self::Timestamp(all), Self::Timestamp(more)) => all.append(more),
            _ => debug_assert!(false, "column of another type"),
        }
    }
}

/// A type that a message field may have.
pub trait Field: DeserializeOwned {
    /// The staging column's type.
    const KIND: Kind;
    /// Whether the field must be there and not null.
    const REQUIRED: bool = true;
    /// Some value of the type, as JSON: it stands in for one that cannot be read, so that the rules
    /// of the other fields can be checked all the same.
    const STAND_IN: &'static str;
    /// The texts of a closed list; none of another type.
    const CHOICES: &'static [&'static str] = &[];

    /// Appends the value to its column. The column is the one made for [`Field::KIND`].
    fn append(self, column: &mut Values);

    /// Whether PostgreSQL can hold the value: no text may contain U+0000.
    fn is_storable(&self) -> bool {
        true
    }
}

/// Appends to the column when it has the expected type. Columns are made from the same
/// constants, so another type cannot occur; a test over the whole catalog keeps it so.
macro_rules! append {
    ($column:expr, $variant:ident, $value:expr) => {
        if let Values::$variant(values) = $column {
            values.push($value);
        } else {
            debug_assert!(false, "column of another type");
        }
    };
}

macro_rules! plain_field {
    ($($type:ty => $kind:ident, $stand_in:literal, $stored:expr;)*) => {$(
        impl Field for $type {
            const KIND: Kind = Kind::$kind;
            const STAND_IN: &'static str = $stand_in;
            fn append(self, column: &mut Values) {
                append!(column, $kind, Some($stored(self)));
            }
        }
        impl Field for Option<$type> {
            const KIND: Kind = Kind::$kind;
            const REQUIRED: bool = false;
            const STAND_IN: &'static str = "null";
            fn append(self, column: &mut Values) {
                append!(column, $kind, self.map($stored));
            }
        }
    )*};
}

plain_field! {
    i32 => Int, "0", std::convert::identity;
    i64 => BigInt, "0", std::convert::identity;
    f64 => Float, "0", std::convert::identity;
    bool => Bool, "false", std::convert::identity;
    ExactDecimal => Decimal, "0", |exact: ExactDecimal| exact.0;
    Date => Date, "\"2000-01-01\"", |date: Date| date.0;
    Instant => Timestamp, "\"2000-01-01T00:00:00Z\"", Instant::utc;
}

impl Field for String {
    const KIND: Kind = Kind::Text;
    const STAND_IN: &'static str = "\"\"";
    fn append(self, column: &mut Values) {
        append!(column, Text, Some(self));
    }
    fn is_storable(&self) -> bool {
        !self.contains('\0')
    }
}

impl Field for Option<String> {
    const KIND: Kind = Kind::Text;
    const REQUIRED: bool = false;
    const STAND_IN: &'static str = "null";
    fn append(self, column: &mut Values) {
        append!(column, Text, self);
    }
    fn is_storable(&self) -> bool {
        self.as_ref().is_none_or(Field::is_storable)
    }
}

/// A text, borrowed from the body unless it contains escapes.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// Declares a closed list of texts as a field type. Spaces around and lower case are accepted.
#[macro_export]
macro_rules! closed_enum {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, ::serde::Serialize)]
        pub enum $name { $($(#[$vmeta])* #[serde(rename = $text)] $variant),* }

        impl $name {
            /// The text that is stored.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <::std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                $(if text.trim().eq_ignore_ascii_case($text) { return Ok(Self::$variant); })*
                Err(::serde::de::Error::custom("not in the list"))
            }
        }

        impl $crate::Field for $name {
            const KIND: $crate::Kind = $crate::Kind::Choice;
            const STAND_IN: &'static str = {
                const TEXTS: &[&str] = &[$(concat!("\"", $text, "\"")),*];
                TEXTS[0]
            };
            const CHOICES: &'static [&'static str] = &[$($text),*];
            fn append(self, column: &mut $crate::Values) {
                Some(self).append(column);
            }
        }

        impl $crate::Field for Option<$name> {
            const KIND: $crate::Kind = $crate::Kind::Choice;
            const REQUIRED: bool = false;
            const STAND_IN: &'static str = "null";
            const CHOICES: &'static [&'static str] = &[$($text),*];
            fn append(self, column: &mut $crate::Values) {
                $crate::Field::append(self.map(|choice| choice.as_str().to_owned()), column);
            }
        }
    };
}
