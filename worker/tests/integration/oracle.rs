//! What the academic core and its marts must hold, told from the contract and not from the SQL:
//! plain loops over everything that was ever said, in whatever order it was said.
//!
//! - The newest version of a natural key wins: by event time, then by message id.
//! - A version whose parent is nowhere waits; it never hides an older one that has its parents.
//! - A message without `ts` happened when it was published; without a date, on the day of its `ts` where that was
//!   written, and on the day of its publishing in UTC without one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, SubsecRound, Utc};
use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::{Map, Value};
use sqlx::FromRow;
use uuid::Uuid;

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

/// One message as a version of the row it speaks of.
#[derive(Clone, Copy)]
struct Version<'a> {
    message_id: Uuid,
    event_at: DateTime<Utc>,
    body: &'a Map<String, Value>,
}

/// What must have become of all messages.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Outcome {
    pub core: Core,
    pub pending: Vec<Pending>,
}

/// The core tables, sorted by key.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Core {
    pub maestros: Vec<Maestro>,
    pub materias: Vec<Materia>,
    pub grupos: Vec<Grupo>,
    pub alumnos: Vec<Alumno>,
    pub inscripciones: Vec<Inscripcion>,
    pub calificaciones: Vec<Calificacion>,
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

#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Maestro {
    pub id: i32,
    pub nombre: String,
    pub especialidad: Option<String>,
    pub event_at: DateTime<Utc>,
    pub message_id: Uuid,
}

#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Materia {
    pub id: i32,
    pub nombre: String,
    pub creditos: i32,
    pub event_at: DateTime<Utc>,
    pub message_id: Uuid,
}

#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Grupo {
    pub id: i32,
    pub id_materia: i32,
    pub id_maestro: i32,
    pub periodo: String,
    pub fecha_inicio: NaiveDate,
    pub event_at: DateTime<Utc>,
    pub message_id: Uuid,
}

#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Alumno {
    pub id: i32,
    pub nombre: String,
    pub edad: i32,
    pub genero: String,
    pub event_at: DateTime<Utc>,
    pub message_id: Uuid,
}

#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Inscripcion {
    pub id_alumno: i32,
    pub id_grupo: i32,
    pub fecha_inscripcion: NaiveDate,
    pub event_at: DateTime<Utc>,
    pub message_id: Uuid,
}

#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Calificacion {
    pub id_alumno: i32,
    pub id_grupo: i32,
    pub calificacion: Decimal,
    pub fecha_registro: NaiveDate,
    pub event_at: DateTime<Utc>,
    pub message_id: Uuid,
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

impl Version<'_> {
    fn int(&self, field: &str) -> i32 {
        // Catalogues are also sent with a plain `id`.
        let value = self.body.get(field).or_else(|| self.body.get("id"));
        i32::try_from(value.unwrap().as_i64().unwrap()).unwrap()
    }

    fn id_of(&self, parent: &str) -> i32 {
        self.int(&format!("id_{parent}"))
    }

    fn text(&self, field: &str) -> Option<String> {
        self.body.get(field)?.as_str().map(ToOwned::to_owned)
    }

    fn trimmed(&self, field: &str) -> String {
        self.text(field).unwrap().trim().to_owned()
    }

    fn date(&self, field: &str) -> NaiveDate {
        self.text(field)
            .or_else(|| self.text("ts"))
            .map_or(self.event_at.date_naive(), |date| {
                date[..10].parse().unwrap()
            })
    }

    fn maestro(self) -> Maestro {
        Maestro {
            id: self.int("id_maestro"),
            nombre: self.trimmed("nombre"),
            especialidad: self.text("especialidad"),
            event_at: self.event_at,
            message_id: self.message_id,
        }
    }

    fn materia(self) -> Materia {
        Materia {
            id: self.int("id_materia"),
            nombre: self.trimmed("nombre"),
            creditos: self.int("creditos"),
            event_at: self.event_at,
            message_id: self.message_id,
        }
    }

    fn grupo(self) -> Grupo {
        Grupo {
            id: self.int("id_grupo"),
            id_materia: self.int("id_materia"),
            id_maestro: self.int("id_maestro"),
            periodo: self.text("periodo").unwrap(),
            fecha_inicio: self.date("fecha_inicio"),
            event_at: self.event_at,
            message_id: self.message_id,
        }
    }

    fn alumno(self) -> Alumno {
        Alumno {
            id: self.int("id_alumno"),
            nombre: self.trimmed("nombre"),
            edad: self.int("edad"),
            genero: self.trimmed("genero").to_uppercase(),
            event_at: self.event_at,
            message_id: self.message_id,
        }
    }

    fn inscripcion(self) -> Inscripcion {
        Inscripcion {
            id_alumno: self.int("id_alumno"),
            id_grupo: self.int("id_grupo"),
            fecha_inscripcion: self.date("fecha_inscripcion"),
            event_at: self.event_at,
            message_id: self.message_id,
        }
    }

    fn calificacion(self) -> Calificacion {
        let mark = &self.body["calificacion"];
        Calificacion {
            id_alumno: self.int("id_alumno"),
            id_grupo: self.int("id_grupo"),
            calificacion: mark.to_string().parse().unwrap(),
            fecha_registro: self.date("fecha_registro"),
            event_at: self.event_at,
            message_id: self.message_id,
        }
    }
}

/// `marts.kpi_grupo`: one row per group.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct KpiGrupo {
    pub id_grupo: i32,
    pub periodo: String,
    pub materia: String,
    pub profesor: String,
    pub alumnos_inscritos: i64,
    pub promedio: Option<Decimal>,
    pub n: i64,
}

/// `marts.kpi_materia`: one row per subject.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct KpiMateria {
    pub id_materia: i32,
    pub nombre: String,
    pub promedio: Option<Decimal>,
    pub tasa_aprob: Option<Decimal>,
    pub n: i64,
}

/// `marts.materia_periodo_stats` and `marts.top_materias`: one row per period and subject.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct MateriaPeriodo {
    pub periodo: String,
    pub id_materia: i32,
    pub materia: String,
    pub promedio: Option<Decimal>,
    pub tasa_aprob: Option<Decimal>,
    pub n: i64,
}

/// `marts.ranking_maestros`: one row per teacher with enough marks.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct RankingMaestro {
    pub id_maestro: i32,
    pub maestro: String,
    pub promedio: Decimal,
    pub evaluaciones: i64,
}

/// `marts.alumnos_en_riesgo`: one row per period and student with a mean below the pass mark.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct AlumnoEnRiesgo {
    pub periodo: String,
    pub id_alumno: i32,
    pub nombre: String,
    pub promedio: Decimal,
    pub n: i64,
}

/// `marts.kpi_alumno`: one row per student.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct KpiAlumno {
    pub id_alumno: i32,
    pub nombre: String,
    pub edad: Option<i32>,
    pub genero: String,
    pub grupos_inscritos: i64,
    pub promedio: Option<Decimal>,
    pub tasa_aprob: Option<Decimal>,
    pub n: i64,
    pub reprobadas: i64,
    pub minima: Option<Decimal>,
    pub maxima: Option<Decimal>,
    pub ultimo_periodo: Option<String>,
    pub periodos: i64,
    pub periodos_en_riesgo: i64,
}

/// `marts.distribucion_calificaciones`: ten rows per period and subject with a mark.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Tramo {
    pub periodo: String,
    pub id_materia: i32,
    pub materia: String,
    pub desde: i32,
    pub hasta: i32,
    pub n: i64,
    pub proporcion: Decimal,
}

const PASS_MARK: Decimal = Decimal::from_parts(6, 0, 0, false, 0);
const ENOUGH_MARKS: i64 = 30;
/// Digits that `tasa_aprob` is compared with.
const SHARE_DIGITS: u32 = 4;

/// Some marks.
#[derive(Debug, Default, Clone)]
struct Marks(Vec<Decimal>);

impl Marks {
    fn count(&self) -> i64 {
        i64::try_from(self.0.len()).unwrap()
    }

    /// The exact mean as numerator and denominator; none of no marks.
    fn mean(&self) -> Option<(Decimal, Decimal)> {
        let sum = self.0.iter().sum();
        (!self.0.is_empty()).then(|| (sum, Decimal::from(self.count())))
    }

    fn rounded_mean(&self) -> Option<Decimal> {
        self.mean().map(|(sum, count)| rounded(sum / count, 2))
    }

    fn pass_rate(&self) -> Option<Decimal> {
        let passed = self.0.iter().filter(|&&mark| mark >= PASS_MARK).count();
        let passed = Decimal::from(passed);
        self.mean()
            .map(|(_, count)| rounded(passed / count, SHARE_DIGITS))
    }

    fn fails(&self) -> bool {
        self.mean()
            .is_some_and(|(sum, count)| sum < PASS_MARK * count)
    }
}

/// Half away from zero, as PostgreSQL rounds `numeric`.
fn rounded(number: Decimal, digits: u32) -> Decimal {
    number.round_dp_with_strategy(digits, RoundingStrategy::MidpointAwayFromZero)
}

impl Core {
    fn materia(&self, id: i32) -> &str {
        let found = self.materias.iter().find(|materia| materia.id == id);
        &found.unwrap().nombre
    }

    fn maestro(&self, id: i32) -> &str {
        let found = self.maestros.iter().find(|maestro| maestro.id == id);
        &found.unwrap().nombre
    }

    /// The marks, sorted into heaps by what a mark's student and group say.
    fn heaps<K: Ord>(&self, heap: impl Fn(i32, &Grupo) -> K) -> BTreeMap<K, Marks> {
        let groups: BTreeMap<i32, &Grupo> =
            self.grupos.iter().map(|grupo| (grupo.id, grupo)).collect();
        let mut heaps: BTreeMap<K, Marks> = BTreeMap::new();
        for mark in &self.calificaciones {
            let heap = heap(mark.id_alumno, groups[&mark.id_grupo]);
            heaps.entry(heap).or_default().0.push(mark.calificacion);
        }
        heaps
    }

    /// By group.
    pub fn kpi_grupo(&self) -> Vec<KpiGrupo> {
        let mut heaps = self.heaps(|_, grupo| grupo.id);
        let of_grupo = |grupo: &Grupo| {
            let enrolled = self.inscripciones.iter();
            let enrolled = enrolled.filter(|inscripcion| inscripcion.id_grupo == grupo.id);
            let students: BTreeSet<i32> = enrolled.map(|row| row.id_alumno).collect();
            let marks = heaps.remove(&grupo.id).unwrap_or_default();
            KpiGrupo {
                id_grupo: grupo.id,
                periodo: grupo.periodo.clone(),
                materia: self.materia(grupo.id_materia).to_owned(),
                profesor: self.maestro(grupo.id_maestro).to_owned(),
                alumnos_inscritos: i64::try_from(students.len()).unwrap(),
                promedio: marks.rounded_mean(),
                n: marks.count(),
            }
        };
        self.grupos.iter().map(of_grupo).collect()
    }

    /// By subject.
    pub fn kpi_materia(&self) -> Vec<KpiMateria> {
        let mut heaps = self.heaps(|_, grupo| grupo.id_materia);
        let of_materia = |materia: &Materia| {
            let marks = heaps.remove(&materia.id).unwrap_or_default();
            KpiMateria {
                id_materia: materia.id,
                nombre: materia.nombre.clone(),
                promedio: marks.rounded_mean(),
                tasa_aprob: marks.pass_rate(),
                n: marks.count(),
            }
        };
        self.materias.iter().map(of_materia).collect()
    }

    /// By period and subject: every pair that has a group.
    pub fn materia_periodo_stats(&self) -> Vec<MateriaPeriodo> {
        let mut heaps = self.heaps(|_, grupo| (grupo.periodo.clone(), grupo.id_materia));
        let pairs: BTreeSet<(String, i32)> = self
            .grupos
            .iter()
            .map(|grupo| (grupo.periodo.clone(), grupo.id_materia))
            .collect();
        let of_pair = |pair: (String, i32)| {
            let marks = heaps.remove(&pair).unwrap_or_default();
            let (periodo, id_materia) = pair;
            MateriaPeriodo {
                periodo,
                id_materia,
                materia: self.materia(id_materia).to_owned(),
                promedio: marks.rounded_mean(),
                tasa_aprob: marks.pass_rate(),
                n: marks.count(),
            }
        };
        pairs.into_iter().map(of_pair).collect()
    }

    /// The best subjects of a period, best first; equal ones in any order.
    pub fn top_materias(&self, periodo: &str, n: usize) -> Vec<MateriaPeriodo> {
        let mut rows = self.materia_periodo_stats();
        rows.retain(|row| row.periodo == periodo);
        // None is less than Some, so that it comes last in descending order.
        rows.sort_by_key(|row| Reverse((row.promedio, row.tasa_aprob)));
        rows.truncate(n);
        rows
    }

    /// Teachers with at least 30 marks, best first, more marks first among equals.
    pub fn ranking_maestros(&self) -> Vec<RankingMaestro> {
        let heaps = self.heaps(|_, grupo| grupo.id_maestro).into_iter();
        let mut rows: Vec<RankingMaestro> = heaps
            .filter(|(_, marks)| marks.count() >= ENOUGH_MARKS)
            .map(|(id_maestro, marks)| RankingMaestro {
                id_maestro,
                maestro: self.maestro(id_maestro).to_owned(),
                promedio: marks.rounded_mean().unwrap(),
                evaluaciones: marks.count(),
            })
            .collect();
        rows.sort_by_key(|row| Reverse((row.promedio, row.evaluaciones)));
        rows
    }

    /// Students whose mean in a period is below the pass mark, by period, worst first.
    pub fn alumnos_en_riesgo(&self) -> Vec<AlumnoEnRiesgo> {
        let names: BTreeMap<i32, &str> = self
            .alumnos
            .iter()
            .map(|alumno| (alumno.id, alumno.nombre.as_str()))
            .collect();
        let heaps = self.heaps(|alumno, grupo| (grupo.periodo.clone(), alumno));
        let mut rows: Vec<AlumnoEnRiesgo> = heaps
            .into_iter()
            .filter(|(_, marks)| marks.fails())
            .map(|((periodo, id_alumno), marks)| AlumnoEnRiesgo {
                periodo,
                id_alumno,
                nombre: names[&id_alumno].to_owned(),
                promedio: marks.rounded_mean().unwrap(),
                n: marks.count(),
            })
            .collect();
        rows.sort_by(|a, b| (&a.periodo, a.promedio).cmp(&(&b.periodo, b.promedio)));
        rows
    }

    /// By student.
    pub fn kpi_alumno(&self) -> Vec<KpiAlumno> {
        let mut heaps = self.heaps(|alumno, _| alumno);
        let periods = self.heaps(|alumno, grupo| (alumno, grupo.periodo.clone()));
        let of_alumno = |alumno: &Alumno| {
            let marks = heaps.remove(&alumno.id).unwrap_or_default();
            let enrolled = self.inscripciones.iter();
            let enrolled = enrolled.filter(|row| row.id_alumno == alumno.id);
            let groups: BTreeSet<i32> = enrolled.map(|row| row.id_grupo).collect();
            let count = |count: usize| i64::try_from(count).unwrap();
            let periods: Vec<_> = periods
                .iter()
                .filter(|((id, _), _)| *id == alumno.id)
                .collect();
            KpiAlumno {
                id_alumno: alumno.id,
                nombre: alumno.nombre.clone(),
                edad: Some(alumno.edad),
                genero: alumno.genero.clone(),
                grupos_inscritos: count(groups.len()),
                promedio: marks.rounded_mean(),
                tasa_aprob: marks.pass_rate(),
                n: marks.count(),
                reprobadas: count(marks.0.iter().filter(|&&mark| mark < PASS_MARK).count()),
                minima: marks.0.iter().min().copied(),
                maxima: marks.0.iter().max().copied(),
                ultimo_periodo: periods.last().map(|((_, periodo), _)| periodo.clone()),
                periodos: count(periods.len()),
                periodos_en_riesgo: count(periods.iter().filter(|(_, m)| m.fails()).count()),
            }
        };
        self.alumnos.iter().map(of_alumno).collect()
    }

    /// By period, subject and band of one mark.
    pub fn distribucion(&self) -> Vec<Tramo> {
        let heaps = self.heaps(|_, grupo| (grupo.periodo.clone(), grupo.id_materia));
        let mut rows = Vec::new();
        for ((periodo, id_materia), marks) in heaps {
            for desde in 0..10 {
                let inside = |mark: &Decimal| match desde {
                    9 => *mark >= Decimal::from(9),
                    _ => *mark >= Decimal::from(desde) && *mark < Decimal::from(desde + 1),
                };
                let n = marks.0.iter().filter(|mark| inside(mark)).count();
                rows.push(Tramo {
                    periodo: periodo.clone(),
                    id_materia,
                    materia: self.materia(id_materia).to_owned(),
                    desde,
                    hasta: desde + 1,
                    n: i64::try_from(n).unwrap(),
                    proporcion: rounded(
                        Decimal::from(n) / Decimal::from(marks.count()),
                        SHARE_DIGITS,
                    ),
                });
            }
        }
        rows
    }
}

mod tests {
    use super::*;

    const MAESTRO: &str = r#"{"id_maestro":1,"nombre":" Ana ","ts":"2024-01-01T00:00:00Z"}"#;
    const MATERIA: &str =
        r#"{"id_materia":1,"nombre":"Historia","creditos":5,"ts":"2024-01-01T00:00:00Z"}"#;
    const GRUPO: &str = r#"{"id_grupo":7,"id_materia":1,"id_maestro":1,"periodo":"2024A","ts":"2024-01-02T23:00:00-05:00"}"#;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    /// An oracle that heard these messages; their ids are 1, 2, 3 and so on.
    fn told(messages: &[(&str, &str)]) -> Oracle {
        let mut oracle = Oracle::default();
        for (number, (entity, body)) in (1..).zip(messages) {
            let published = at("2024-05-05T05:05:05Z");
            oracle.hear(Uuid::from_u128(number), published, entity, body.as_bytes());
        }
        oracle
    }

    #[test]
    fn the_newest_version_wins_and_the_id_decides_a_tie() {
        let named = |name: &str, ts: &str| {
            format!(r#"{{"id_alumno":1,"nombre":"{name}","edad":20,"genero":"f","ts":"{ts}"}}"#)
        };
        let messages = [
            named("old", "2024-01-01T00:00:00Z"),
            named("tie", "2024-01-02T00:00:00Z"),
            named("last", "2024-01-02T01:00:00+01:00"),
            named("older", "2023-01-01T00:00:00Z"),
        ];
        let messages: Vec<_> = messages
            .iter()
            .map(|body| ("alumno", body.as_str()))
            .collect();
        let core = told(&messages).outcome().core;
        let expected = Alumno {
            id: 1,
            nombre: "last".to_owned(),
            edad: 20,
            genero: "F".to_owned(),
            event_at: at("2024-01-02T00:00:00Z"),
            message_id: Uuid::from_u128(3),
        };
        assert_eq!(core.alumnos, [expected]);
    }

    #[test]
    fn the_same_message_again_changes_nothing() {
        let mut oracle = told(&[("maestro", MAESTRO)]);
        let before = oracle.outcome();
        let later = at("2024-09-09T00:00:00Z");
        oracle.hear(Uuid::from_u128(1), later, "maestro", MAESTRO.as_bytes());
        assert_eq!(oracle.outcome(), before);
        assert_eq!(oracle.count("maestro"), 1);
        assert_eq!(before.core.maestros[0].nombre, "Ana");
    }

    #[test]
    fn a_message_without_time_happened_when_it_was_published_and_dates_default_to_its_day() {
        let core = told(&[
            ("materia", MATERIA),
            ("maestro", MAESTRO),
            ("grupo", GRUPO),
            (
                "alumno",
                r#"{"id_alumno":1,"nombre":"Eva","edad":20,"genero":"F"}"#,
            ),
            (
                "inscripcion",
                r#"{"id_alumno":1,"id_grupo":7,"fecha_inscripcion":null}"#,
            ),
            (
                "calificacion",
                r#"{"id_alumno":1,"id_grupo":7,"calificacion":8.5,"fecha_registro":"2024-04-04"}"#,
            ),
        ])
        .outcome()
        .core;
        assert_eq!(core.grupos[0].fecha_inicio, "2024-01-02".parse().unwrap());
        assert_eq!(core.alumnos[0].event_at, at("2024-05-05T05:05:05Z"));
        assert_eq!(
            core.inscripciones[0].fecha_inscripcion,
            "2024-05-05".parse().unwrap()
        );
        assert_eq!(
            core.calificaciones[0].fecha_registro,
            "2024-04-04".parse().unwrap()
        );
        assert_eq!(core.calificaciones[0].calificacion, decimal("8.50"));
    }

    #[test]
    fn a_version_without_parents_waits_and_an_older_one_with_parents_stays() {
        let moved = GRUPO
            .replace(r#""id_materia":1"#, r#""id_materia":9"#)
            .replace("2024-01-02", "2024-01-03");
        let mark = r#"{"id_alumno":1,"id_grupo":8,"calificacion":6}"#;
        let messages = [
            ("calificacion", mark),
            ("grupo", moved.as_str()),
            ("grupo", GRUPO),
            ("materia", MATERIA),
            ("maestro", MAESTRO),
        ];
        let Outcome { core, pending } = told(&messages).outcome();
        assert_eq!(core.grupos.len(), 1);
        assert_eq!(core.grupos[0].id_materia, 1);
        let waits = |entity, id, missing: &[(&'static str, i32)]| Pending {
            entity,
            message_id: Uuid::from_u128(id),
            missing: missing.iter().copied().collect(),
        };
        let expected = [
            waits("calificacion", 1, &[("alumno", 1), ("grupo", 8)]),
            waits("grupo", 2, &[("materia", 9)]),
        ];
        assert_eq!(pending, expected);
        let ninth = MATERIA.replace(r#""id_materia":1"#, r#""id_materia":9"#);
        let all: Vec<_> = messages
            .into_iter()
            .chain([("materia", ninth.as_str())])
            .collect();
        let Outcome { core, pending } = told(&all).outcome();
        assert_eq!(core.grupos[0].id_materia, 9);
        assert_eq!(pending, expected[..1]);
    }

    /// Two groups of one subject in two periods: marks 5.99 and 6 in the first, none in the second.
    fn two_groups() -> Core {
        let second = GRUPO
            .replace(r#""id_grupo":7"#, r#""id_grupo":8"#)
            .replace("2024A", "2024B");
        let alumno =
            |id: i32| format!(r#"{{"id_alumno":{id},"nombre":"A{id}","edad":20,"genero":"M"}}"#);
        let mark = |id: i32, mark: &str| {
            format!(r#"{{"id_alumno":{id},"id_grupo":7,"calificacion":{mark}}}"#)
        };
        told(&[
            ("maestro", MAESTRO),
            ("materia", MATERIA),
            ("grupo", GRUPO),
            ("grupo", &second),
            ("alumno", &alumno(1)),
            ("alumno", &alumno(2)),
            ("inscripcion", r#"{"id_alumno":1,"id_grupo":7}"#),
            ("inscripcion", r#"{"id_alumno":1,"id_grupo":8}"#),
            ("inscripcion", r#"{"id_alumno":2,"id_grupo":8}"#),
            ("calificacion", &mark(1, "5.99")),
            ("calificacion", &mark(2, "6")),
        ])
        .outcome()
        .core
    }

    #[test]
    fn marts_of_two_groups() {
        let core = two_groups();
        let groups = core.kpi_grupo();
        // The mean is 5.995: half a cent goes up.
        assert_eq!(groups[0].promedio, Some(decimal("6.00")));
        assert_eq!(groups[0].alumnos_inscritos, 1);
        assert_eq!(
            (groups[0].materia.as_str(), groups[0].profesor.as_str()),
            ("Historia", "Ana")
        );
        assert_eq!((groups[1].promedio, groups[1].alumnos_inscritos), (None, 2));

        let subjects = core.kpi_materia();
        assert_eq!(subjects[0].tasa_aprob, Some(decimal("0.5")));
        let stats = core.materia_periodo_stats();
        assert_eq!(stats[0].promedio, Some(decimal("6")));
        assert_eq!(
            (stats[1].periodo.as_str(), stats[1].promedio),
            ("2024B", None)
        );
        assert_eq!(core.top_materias("2024A", 10), stats[..1]);
        assert_eq!(core.top_materias("2024A", 0), []);
        assert_eq!(core.ranking_maestros(), []);
        let at_risk = AlumnoEnRiesgo {
            periodo: "2024A".to_owned(),
            id_alumno: 1,
            nombre: "A1".to_owned(),
            promedio: decimal("5.99"),
            n: 1,
        };
        assert_eq!(core.alumnos_en_riesgo(), [at_risk]);
        let student = &core.kpi_alumno()[0];
        assert_eq!(
            (
                student.grupos_inscritos,
                student.n,
                student.reprobadas,
                student.periodos
            ),
            (2, 1, 1, 1)
        );
        assert_eq!(student.periodos_en_riesgo, 1);
        let bands: Vec<_> = core.distribucion().iter().map(|band| band.n).collect();
        assert_eq!(bands, [0, 0, 0, 0, 0, 1, 1, 0, 0, 0]);
    }

    #[test]
    fn a_mean_that_is_only_rounded_to_the_pass_mark_is_a_risk() {
        let marks = |marks: &[&str]| Marks(marks.iter().map(|mark| decimal(mark)).collect());
        let nearly = marks(&["5.99", "6", "6"]);
        assert!(nearly.fails());
        assert_eq!(nearly.rounded_mean(), Some(decimal("6.00")));
        assert_eq!(nearly.pass_rate(), Some(decimal("0.6667")));
        assert!(!marks(&["6"]).fails());
        assert!(!marks(&[]).fails());
        assert_eq!(marks(&[]).pass_rate(), None);
    }

    #[test]
    fn teachers_are_ranked_from_thirty_marks_on() {
        let mut core = two_groups();
        let mark = core.calificaciones[0].clone();
        core.calificaciones = (1..=29)
            .map(|id_alumno| Calificacion {
                id_alumno,
                ..mark.clone()
            })
            .collect();
        assert_eq!(core.ranking_maestros(), []);
        core.calificaciones.push(Calificacion {
            id_alumno: 30,
            ..mark
        });
        let ranking = core.ranking_maestros();
        assert_eq!(
            (ranking[0].promedio, ranking[0].evaluaciones),
            (decimal("5.99"), 30)
        );
    }
}
