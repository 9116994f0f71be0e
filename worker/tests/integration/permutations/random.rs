//! Random messages over few keys, and the ways to write them.

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{ENTITIES, Sent};

/// Content of a random message.
#[derive(Debug, Clone)]
pub(super) enum Said {
    Maestro {
        id: i32,
        name: usize,
        area: Option<usize>,
    },
    Materia {
        id: i32,
        name: usize,
        credits: i32,
    },
    Grupo {
        id: i32,
        subject: i32,
        teacher: i32,
        period: usize,
        day: Option<usize>,
    },
    Alumno {
        id: i32,
        name: usize,
        age: i32,
        woman: bool,
    },
    Inscripcion {
        student: i32,
        group: i32,
        day: Option<usize>,
    },
    Calificacion {
        student: i32,
        group: i32,
        cents: i32,
        day: Option<usize>,
    },
    /// Something that no contract accepts, under this entity.
    Nonsense {
        entity: usize,
    },
}

const NAMES: [&str; 2] = ["Ana", "Íñigo Peña"];
const PERIODS: [&str; 2] = ["2024A", "2024B"];
const DAYS: [&str; 2] = ["2024-03-10", "2024-06-01"];
/// Few instants, so that versions tie; close to midnight, so that days differ between offsets.
const INSTANTS: [&str; 5] = [
    "2024-03-09T20:00:00Z",
    "2024-03-09T23:59:59.999999Z",
    "2024-03-10T00:00:00Z",
    "2024-03-10T00:00:00.000001Z",
    "2024-03-10T04:30:00Z",
];

/// A random message and where its copies stand in two orders: copies are sorted by these numbers.
#[derive(Debug, Clone)]
pub(super) struct Random {
    pub(super) said: Said,
    /// Instant and way of writing it; without one the time of publishing counts.
    pub(super) ts: Option<(usize, Writing)>,
    pub(super) published: usize,
    /// Capitals, spaces, aliases, unknown fields: other bytes, same meaning.
    pub(super) loud: bool,
    pub(super) one_order: Vec<u16>,
    pub(super) other_order: Vec<u16>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Writing {
    Utc,
    East,
    West,
    /// With nanoseconds, which PostgreSQL does not keep.
    Fine,
}

fn said() -> impl Strategy<Value = Said> {
    let day = || prop::option::of(0..DAYS.len());
    let (teacher, subject, group, student) = (|| 1..=2, || 1..=3, || 1..=3, || 1..=3);
    let name = || 0..NAMES.len();
    let marks = prop_oneof![Just(0), Just(600), Just(650), Just(1000), 0..=1000];
    prop_oneof![
        2 => (teacher(), name(), prop::option::of(name()))
            .prop_map(|(id, name, area)| Said::Maestro { id, name, area }),
        2 => (subject(), name(), 1..=2)
            .prop_map(|(id, name, credits)| Said::Materia { id, name, credits }),
        4 => (group(), subject(), teacher(), 0..PERIODS.len(), day())
            .prop_map(|(id, subject, teacher, period, day)| Said::Grupo { id, subject, teacher, period, day }),
        2 => (student(), name(), 18..=19, any::<bool>())
            .prop_map(|(id, name, age, woman)| Said::Alumno { id, name, age, woman }),
        4 => (student(), group(), day())
            .prop_map(|(student, group, day)| Said::Inscripcion { student, group, day }),
        5 => (student(), group(), marks, day())
            .prop_map(|(student, group, cents, day)| Said::Calificacion { student, group, cents, day }),
        1 => (0..ENTITIES.len()).prop_map(|entity| Said::Nonsense { entity }),
    ]
}

pub(super) fn random() -> impl Strategy<Value = Random> {
    let writing = prop_oneof![
        3 => Just(Writing::Utc),
        1 => Just(Writing::East),
        1 => Just(Writing::West),
        1 => Just(Writing::Fine),
    ];
    let ts = prop::option::weighted(0.8, (0..INSTANTS.len(), writing));
    let order = || {
        prop_oneof![
            3 => prop::collection::vec(any::<u16>(), 1),
            1 => prop::collection::vec(any::<u16>(), 2..=3),
        ]
    };
    (
        said(),
        ts,
        0..INSTANTS.len(),
        any::<bool>(),
        order(),
        order(),
    )
        .prop_map(
            |(said, ts, published, loud, one_order, other_order)| Random {
                said,
                ts,
                published,
                loud,
                one_order,
                other_order,
            },
        )
}

impl Random {
    pub(super) fn sent(&self, number: u16) -> Sent {
        let (entity, mut body) = self.body();
        if let Some((instant, writing)) = self.ts {
            body["ts"] = writing.write(INSTANTS[instant]).into();
        }
        if self.loud {
            body["ruido"] = json!({"n": [1, 2]});
            body["entity"] = entity.into();
        }
        Sent {
            id: message_id(number),
            entity,
            published_at: INSTANTS[self.published].parse().unwrap(),
            body: body.to_string().into_bytes(),
        }
    }

    pub(super) fn body(&self) -> (&'static str, Value) {
        let loud = self.loud;
        let name = |name: usize| {
            let name = NAMES[name];
            if loud {
                format!("  {name}\t")
            } else {
                name.to_owned()
            }
        };
        let key = |key: &'static str| if loud { "id" } else { key };
        let (entity, mut body, day) = match self.said {
            Said::Maestro { id, name: n, area } => (
                "maestro",
                json!({key("id_maestro"): id, "nombre": name(n), "especialidad": area.map(|area| NAMES[area])}),
                None,
            ),
            Said::Materia {
                id,
                name: n,
                credits,
            } => (
                "materia",
                json!({key("id_materia"): id, "nombre": name(n), "creditos": credits}),
                None,
            ),
            Said::Grupo {
                id,
                subject,
                teacher,
                period,
                day,
            } => (
                "grupo",
                json!({key("id_grupo"): id, "id_materia": subject, "id_maestro": teacher, "periodo": PERIODS[period]}),
                Some(("fecha_inicio", day)),
            ),
            Said::Alumno {
                id,
                name: n,
                age,
                woman,
            } => {
                let sex = match (woman, loud) {
                    (true, false) => "F",
                    (true, true) => " f",
                    (false, false) => "M",
                    (false, true) => "m ",
                };
                (
                    "alumno",
                    json!({key("id_alumno"): id, "nombre": name(n), "edad": age, "genero": sex}),
                    None,
                )
            }
            Said::Inscripcion {
                student,
                group,
                day,
            } => (
                "inscripcion",
                json!({"id_alumno": student, "id_grupo": group}),
                Some(("fecha_inscripcion", day)),
            ),
            Said::Calificacion {
                student,
                group,
                cents,
                day,
            } => (
                "calificacion",
                json!({"id_alumno": student, "id_grupo": group, "calificacion": f64::from(cents) / 100.0}),
                Some(("fecha_registro", day)),
            ),
            Said::Nonsense { entity } => (ENTITIES[entity], json!({"id_alumno": "x"}), None),
        };
        match day {
            Some((field, Some(day))) => body[field] = DAYS[day].into(),
            Some((field, None)) if loud => body[field] = Value::Null,
            _ => {}
        }
        (entity, body)
    }
}

impl Writing {
    pub(super) fn write(self, instant: &str) -> String {
        let instant: DateTime<Utc> = instant.parse().unwrap();
        let offset = |hours: i32| chrono::FixedOffset::east_opt(hours * 3600).unwrap();
        match self {
            Self::Utc => instant.to_rfc3339(),
            Self::East => instant.with_timezone(&offset(9)).to_rfc3339(),
            Self::West => instant.with_timezone(&offset(-6)).to_rfc3339(),
            Self::Fine => (instant + chrono::TimeDelta::nanoseconds(900)).to_rfc3339(),
        }
    }
}

/// Ids of every sort: with a day, without one, and texts that are no UUID.
pub(super) fn message_id(number: u16) -> String {
    let [high, low] = number.to_be_bytes();
    let bytes = [low, high, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, high, low];
    match number % 4 {
        0 => format!("mensaje {number}"),
        1 => uuid::Builder::from_random_bytes(bytes)
            .into_uuid()
            .to_string(),
        which => {
            let days = if which == 2 { 0 } else { u64::from(number) % 9 };
            let now = u64::try_from(Utc::now().timestamp_millis()).unwrap();
            // The same id all day long, so that a failure can be repeated.
            let day = now / 86_400_000 - days;
            let random = [0, 0, 0, 0, low, high, 0, 0, 0, 0];
            uuid::Builder::from_unix_timestamp_millis(day * 86_400_000, &random)
                .into_uuid()
                .to_string()
        }
    }
}
