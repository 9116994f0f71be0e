//! Expected contents of the academic core and its marts, derived from the contract and not from the SQL:
//! plain loops over all messages ever sent, in whatever order.
//!
//! - The newest version of a natural key wins: by event time, then by message id.
//! - A version whose parent is nowhere waits; it never hides an older one that has its parents.
//! - A message without `ts` happened when it was published; without a date, on the day of its `ts` where that was
//!   written, and on the day of its publishing in UTC without one.

mod marks;
mod marts;
mod tables;
mod tests;
mod versions;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SubsecRound, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

pub use self::marts::{
    AlumnoEnRiesgo, KpiAlumno, KpiGrupo, KpiMateria, MateriaPeriodo, RankingMaestro, Tramo,
};
pub use self::tables::{Alumno, Calificacion, Core};
use self::versions::Version;

/// Everything that was said, once.
#[derive(Debug, Default)]
pub struct Oracle {
    messages: BTreeMap<Uuid, Message>,
}

#[derive(Debug)]
struct Message {
    entity: String,
    event_at: DateTime<Utc>,
    body: Map<String, Value>,
}

/// Expected outcome of all messages.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Outcome {
    pub core: Core,
    pub pending: Vec<Pending>,
}

impl Outcome {
    /// The first difference in words, if there is any.
    pub fn difference(&self, expected: &Self) -> Option<String> {
        fn of<T: PartialEq + std::fmt::Debug>(
            what: &str,
            found: &[T],
            expected: &[T],
        ) -> Option<String> {
            let longest = found.len().max(expected.len());
            let row = (0..longest).find(|&row| found.get(row) != expected.get(row))?;
            let (found, expected) = (found.get(row), expected.get(row));
            Some(format!(
                "{what}, row {row}:\n   found {found:?}\nexpected {expected:?}"
            ))
        }
        let (core, right) = (&self.core, &expected.core);
        of("maestros", &core.maestros, &right.maestros)
            .or_else(|| of("materias", &core.materias, &right.materias))
            .or_else(|| of("grupos", &core.grupos, &right.grupos))
            .or_else(|| of("alumnos", &core.alumnos, &right.alumnos))
            .or_else(|| of("inscripciones", &core.inscripciones, &right.inscripciones))
            .or_else(|| {
                of(
                    "calificaciones",
                    &core.calificaciones,
                    &right.calificaciones,
                )
            })
            .or_else(|| of("pending", &self.pending, &expected.pending))
    }
}

/// A version that waits, and the parents (entity, key) that are missing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pending {
    pub entity: &'static str,
    pub message_id: Uuid,
    pub missing: BTreeSet<(&'static str, i32)>,
}

impl Oracle {
    /// Hears a valid message. The same id again changes nothing.
    pub fn hear(&mut self, id: Uuid, published_at: DateTime<Utc>, entity: &str, body: &[u8]) {
        let body: Map<String, Value> = serde_json::from_slice(body).unwrap();
        let ts = body.get("ts").and_then(Value::as_str);
        let event_at = ts.map_or(published_at, |ts| {
            DateTime::parse_from_rfc3339(ts).unwrap().to_utc()
        });
        self.messages.entry(id).or_insert_with(|| Message {
            entity: entity.to_owned(),
            // PostgreSQL keeps microseconds.
            event_at: event_at.trunc_subsecs(6),
            body,
        });
    }

    /// How many different messages of an entity there were.
    pub fn count(&self, entity: &str) -> usize {
        self.versions(entity).count()
    }

    fn versions<'a>(&'a self, entity: &'a str) -> impl Iterator<Item = Version<'a>> {
        let messages = self.messages.iter();
        messages
            .filter(move |(_, message)| message.entity == entity)
            .map(|(&message_id, message)| Version {
                message_id,
                event_at: message.event_at,
                body: &message.body,
            })
    }

    /// The core and what waits for it, once every message has been taken.
    pub fn outcome(&self) -> Outcome {
        let mut pending = Vec::new();
        let mut newest = |entity, key: &[&str], parents: &[(&'static str, &Keys)]| {
            self.newest(entity, key, parents, &mut pending)
        };

        let maestros = newest("maestro", &["id_maestro"], &[]);
        let materias = newest("materia", &["id_materia"], &[]);
        let alumnos = newest("alumno", &["id_alumno"], &[]);
        let (maestro_ids, materia_ids, alumno_ids) =
            (keys(&maestros), keys(&materias), keys(&alumnos));
        let of_grupo = [("materia", &materia_ids), ("maestro", &maestro_ids)];
        let grupos = newest("grupo", &["id_grupo"], &of_grupo);
        let grupo_ids = keys(&grupos);
        let of_pair = [("alumno", &alumno_ids), ("grupo", &grupo_ids)];
        let inscripciones = newest("inscripcion", &["id_alumno", "id_grupo"], &of_pair);
        let calificaciones = newest("calificacion", &["id_alumno", "id_grupo"], &of_pair);

        pending.sort();
        let core = Core {
            maestros: maestros.into_values().map(Version::maestro).collect(),
            materias: materias.into_values().map(Version::materia).collect(),
            grupos: grupos.into_values().map(Version::grupo).collect(),
            alumnos: alumnos.into_values().map(Version::alumno).collect(),
            inscripciones: inscripciones
                .into_values()
                .map(Version::inscripcion)
                .collect(),
            calificaciones: calificaciones
                .into_values()
                .map(Version::calificacion)
                .collect(),
        };
        Outcome { core, pending }
    }

    /// The newest version of each key among those whose parents are there; the others wait.
    fn newest<'a>(
        &'a self,
        entity: &'static str,
        key: &[&str],
        parents: &[(&'static str, &Keys)],
        pending: &mut Vec<Pending>,
    ) -> BTreeMap<Vec<i32>, Version<'a>> {
        let mut newest: BTreeMap<Vec<i32>, Version<'_>> = BTreeMap::new();
        for version in self.versions(entity) {
            let missing: BTreeSet<_> = parents
                .iter()
                .map(|&(parent, known)| (parent, version.id_of(parent), known))
                .filter(|(_, id, known)| !known.contains(id))
                .map(|(parent, id, _)| (parent, id))
                .collect();
            if !missing.is_empty() {
                pending.push(Pending {
                    entity,
                    message_id: version.message_id,
                    missing,
                });
                continue;
            }
            let key = key.iter().map(|field| version.int(field)).collect();
            let best = newest.entry(key).or_insert(version);
            if (version.event_at, version.message_id) > (best.event_at, best.message_id) {
                *best = version;
            }
        }
        newest
    }
}

type Keys = BTreeSet<i32>;

fn keys(rows: &BTreeMap<Vec<i32>, Version<'_>>) -> Keys {
    rows.keys().map(|key| key[0]).collect()
}
