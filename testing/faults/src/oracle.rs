//! The expected result, computed by plain loops over the list of the messages that were
//! sent.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::kinds::{KINDS, Row};

/// Expected fate of a message, known to its maker.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Keeps its contract.
    Good(Row),
    /// Breaks it, or is to be given up by the broker.
    Bad,
    /// Nobody knows; it must be in one place all the same.
    Either,
}

/// A message that was sent.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Its id.
    pub id: Uuid,
    /// Its expected fate.
    pub verdict: Verdict,
}

/// Entity and natural key.
pub(crate) type Key = (&'static str, Vec<String>);

/// Values of a core row, and the message that set them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Version {
    pub(crate) event_at: DateTime<Utc>,
    pub(crate) id: Uuid,
    pub(crate) values: Vec<String>,
}

/// Expected rows.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    pub(crate) core: BTreeMap<Key, Version>,
    pub(crate) pending: BTreeSet<Uuid>,
}

/// The newest version of each key wins, by event time, then by id; a version whose parent is
/// nowhere waits.
pub(crate) fn expect<'a>(rows: impl Iterator<Item = (Uuid, &'a Row)>) -> Expected {
    let mut of_kind: HashMap<&str, Vec<(Uuid, &Row)>> = HashMap::new();
    for (id, row) in rows {
        of_kind.entry(row.kind.name).or_default().push((id, row));
    }
    let mut expected = Expected::default();
    for kind in &KINDS {
        let mut winners: BTreeMap<Key, Version> = BTreeMap::new();
        for (id, row) in of_kind.remove(kind.name).unwrap_or_default() {
            let complete = row
                .parents
                .iter()
                .all(|parent| expected.core.contains_key(parent));
            if !complete {
                expected.pending.insert(id);
                continue;
            }
            let version = Version {
                event_at: row.event_at,
                id,
                values: row.values.clone(),
            };
            let key = (row.kind.name, row.key.clone());
            match winners.get_mut(&key) {
                Some(best) if (best.event_at, best.id) < (version.event_at, version.id) => {
                    *best = version;
                }
                Some(_) => {}
                None => {
                    winners.insert(key, version);
                }
            }
        }
        expected.core.append(&mut winners);
    }
    expected
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::kinds::kind;
    use serde_json::json;

    fn row(name: &str, fields: &serde_json::Value, second: i64) -> Row {
        let at = DateTime::from_timestamp(second, 0).unwrap();
        Row::of(kind(name).unwrap(), fields, at)
    }

    #[test]
    fn the_newest_version_wins_whatever_came_last() {
        let old = row("alumno", &json!({"id_alumno": 1, "nombre": "old"}), 1);
        let new = row("alumno", &json!({"id_alumno": 1, "nombre": "new"}), 2);
        let ids = [Uuid::from_u128(1), Uuid::from_u128(2)];
        let expected = expect([(ids[0], &new), (ids[1], &old)].into_iter());
        let winner = &expected.core[&("alumno", vec!["1".to_owned()])];
        assert_eq!((winner.id, winner.values[0].as_str()), (ids[0], "new"));
        // The same moment: the greater id.
        let twin = row("alumno", &json!({"id_alumno": 1, "nombre": "twin"}), 2);
        let expected = expect([(ids[1], &twin), (ids[0], &new)].into_iter());
        let winner = &expected.core[&("alumno", vec!["1".to_owned()])];
        assert_eq!(winner.id, ids[1]);
    }

    #[test]
    fn a_row_without_its_parent_waits() {
        let group = row(
            "grupo",
            &json!({"id_grupo": 1, "id_materia": 1, "id_maestro": 1}),
            1,
        );
        let expected = expect([(Uuid::from_u128(1), &group)].into_iter());
        assert!(expected.core.is_empty());
        assert_eq!(expected.pending.len(), 1);
    }
}
