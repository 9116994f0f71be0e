//! The target of a trace: a message or a key.

use std::fmt::Write as _;

use acequia_contracts::envelope::Identity;
use acequia_contracts::{Entity, Kind, catalog};
use anyhow::bail;

/// Target of a trace.
#[derive(Debug)]
pub enum Target {
    /// A message, by the text it was named with and the identity made of it.
    Message(String, Identity),
    /// The rows of an entity under a key, its parts in the catalog's order.
    Key(&'static Entity, Vec<String>),
}

impl Target {
    /// Reads the request: the id of a message, or the full name of an entity with its key.
    ///
    /// # Errors
    /// When a key is given for no entity, or is not a key of it; the text lists the entities.
    pub fn parse(target: &str, key: &[String]) -> anyhow::Result<Self> {
        let named = entity(target);
        let Some(entity) = named else {
            if key.is_empty() {
                return Ok(Self::Message(target.to_owned(), Identity::of_text(target)));
            }
            bail!("there is no entity {target:?}. {}", entities());
        };
        if key.len() != entity.key.len() {
            bail!(
                "the key of {}.{} has {} part(s), {}; {} given. {}",
                entity.domain,
                entity.name,
                entity.key.len(),
                entity.key.join(" and "),
                key.len(),
                entities()
            );
        }
        for (name, value) in entity.key.iter().zip(key) {
            let mut columns = entity.columns.iter();
            let Some(column) = columns.find(|column| column.name == *name) else {
                continue;
            };
            let plain = matches!(
                column.kind,
                Kind::Int | Kind::BigInt | Kind::Float | Kind::Bool | Kind::Decimal
            );
            let json = if plain {
                value.clone()
            } else {
                serde_json::Value::from(value.as_str()).to_string()
            };
            if value.contains('\0') || !(column.accepts)(&json) {
                bail!("{name} must be of type {}", column.kind.sql());
            }
        }
        Ok(Self::Key(entity, key.to_vec()))
    }
}

/// The entity of a full name.
fn entity(name: &str) -> Option<&'static Entity> {
    let (domain, _) = name.split_once('.')?;
    catalog()
        .iter()
        .find(|found| found.name == domain)?
        .find(name)
}

/// The entities with their keys.
fn entities() -> String {
    let mut text = "The entities and their keys:".to_owned();
    for entity in catalog().iter().flat_map(|domain| &domain.entities) {
        let keys: Vec<_> = entity.key.iter().map(|key| key.to_uppercase()).collect();
        let _ = write!(
            text,
            "\n  {}.{} {}",
            entity.domain,
            entity.name,
            keys.join(" ")
        );
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(target: &str, key: &[&str]) -> Result<Target, String> {
        let key: Vec<_> = key.iter().map(ToString::to_string).collect();
        Target::parse(target, &key).map_err(|error| error.to_string())
    }

    #[test]
    fn anything_but_an_entity_is_a_message() {
        for id in [
            "0190163d-8694-739b-aea5-966c26f8ad91",
            "order-17",
            "a.b",
            "",
        ] {
            assert!(matches!(parse(id, &[]), Ok(Target::Message(..))), "{id}");
        }
        for entity in catalog().iter().flat_map(|domain| &domain.entities) {
            let name = format!("{}.{}", entity.domain, entity.name);
            let a_value = |name: &&str| {
                let column = entity.columns.iter().find(|column| column.name == *name);
                match column.unwrap().kind {
                    Kind::Date => "2024-01-01",
                    Kind::Timestamp => "2024-01-01T00:00:00Z",
                    _ => "1",
                }
            };
            let key: Vec<_> = entity.key.iter().map(a_value).collect();
            assert!(matches!(parse(&name, &key), Ok(Target::Key(..))), "{name}");
        }
    }

    #[test]
    fn a_wrong_key_is_answered_with_the_right_ones() {
        let entity = &catalog()[0].entities[0];
        let name = format!("{}.{}", entity.domain, entity.name);
        for (target, key) in [("no.such", &["1"][..]), (&name, &[]), (&name, &["1"; 9])] {
            let told = parse(target, key).unwrap_err();
            for entity in catalog().iter().flat_map(|domain| &domain.entities) {
                assert!(
                    told.contains(&format!("{}.{}", entity.domain, entity.name)),
                    "{told}"
                );
            }
        }
        let told = parse(&name, &["x"]).unwrap_err();
        assert!(told.contains(entity.key[0]), "{told}");
    }
}
