//! The message kinds that the runner sends, written down by hand and not taken from the
//! catalog or the SQL: it is one half of a comparison.

use chrono::{DateTime, Utc};
use serde_json::Value;

/// The domain whose queue the scenarios break.
pub const DOMAIN: &str = "academico";
/// Another domain, whose messages flow beside them.
pub const OTHER: &str = "consumo";

/// An entity of a domain.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// Its domain.
    pub domain: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Staging table.
    pub staging: &'static str,
    /// Core table.
    pub core: &'static str,
    /// Natural key: field of the message and column of the core.
    pub key: &'static [(&'static str, &'static str)],
    /// Fields that refer to another entity, and that entity.
    pub parents: &'static [(&'static str, &'static str)],
    /// Other fields and their columns.
    pub values: &'static [(&'static str, &'static str)],
}

/// All of them, parents first.
pub const KINDS: [Kind; 8] = [
    Kind {
        domain: DOMAIN,
        name: "maestro",
        staging: "stg.maestros_upsert",
        core: "academico.maestros",
        key: &[("id_maestro", "id")],
        parents: &[],
        values: &[("nombre", "nombre"), ("especialidad", "especialidad")],
    },
    Kind {
        domain: DOMAIN,
        name: "materia",
        staging: "stg.materias_upsert",
        core: "academico.materias",
        key: &[("id_materia", "id")],
        parents: &[],
        values: &[("nombre", "nombre"), ("creditos", "creditos")],
    },
    Kind {
        domain: DOMAIN,
        name: "grupo",
        staging: "stg.grupos_upsert",
        core: "academico.grupos",
        key: &[("id_grupo", "id")],
        parents: &[("id_materia", "materia"), ("id_maestro", "maestro")],
        values: &[
            ("id_materia", "id_materia"),
            ("id_maestro", "id_maestro"),
            ("periodo", "periodo"),
        ],
    },
    Kind {
        domain: DOMAIN,
        name: "alumno",
        staging: "stg.alumnos_upsert",
        core: "academico.alumnos",
        key: &[("id_alumno", "id")],
        parents: &[],
        values: &[("nombre", "nombre"), ("edad", "edad"), ("genero", "genero")],
    },
    Kind {
        domain: DOMAIN,
        name: "inscripcion",
        staging: "stg.inscripciones_event",
        core: "academico.inscripciones",
        key: &[("id_alumno", "id_alumno"), ("id_grupo", "id_grupo")],
        parents: &[("id_alumno", "alumno"), ("id_grupo", "grupo")],
        values: &[],
    },
    Kind {
        domain: DOMAIN,
        name: "calificacion",
        staging: "stg.calificaciones_event",
        core: "academico.calificaciones",
        key: &[("id_alumno", "id_alumno"), ("id_grupo", "id_grupo")],
        parents: &[("id_alumno", "alumno"), ("id_grupo", "grupo")],
        values: &[("calificacion", "calificacion")],
    },
    Kind {
        domain: OTHER,
        name: "cliente",
        staging: "stg.consumo_cliente",
        core: "consumo.clientes",
        key: &[("propietario_id", "propietario_id")],
        parents: &[],
        values: &[
            ("nombre", "nombre"),
            ("tarifa", "tarifa"),
            ("distrito", "distrito"),
            ("zona", "zona"),
        ],
    },
    Kind {
        domain: OTHER,
        name: "lectura",
        staging: "stg.consumo_lectura",
        core: "consumo.lecturas",
        key: &[
            ("propietario_id", "propietario_id"),
            ("timestamp", "instante"),
        ],
        parents: &[],
        values: &[
            ("hora", "hora"),
            ("consumo_kwh", "consumo_kwh"),
            ("es_sospechoso", "es_sospechoso"),
            ("anomalia_esperada", "anomalia_esperada"),
            ("tipo_anomalia", "tipo_anomalia"),
        ],
    },
];

/// The kind of a name.
#[must_use]
pub fn kind(name: &str) -> Option<&'static Kind> {
    static ALL: [Kind; 8] = KINDS;
    ALL.iter().find(|kind| kind.name == name)
}

/// A message as a version of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its entity.
    pub kind: &'static Kind,
    /// Natural key.
    pub key: Vec<String>,
    /// Entities and keys it refers to.
    pub parents: Vec<(&'static str, Vec<String>)>,
    /// The other values, as text.
    pub values: Vec<String>,
    /// Event time.
    pub event_at: DateTime<Utc>,
}

impl Row {
    /// Reads a row from the fields of a message (or of a staged row, which has the same names).
    #[must_use]
    pub fn of(kind: &'static Kind, fields: &Value, event_at: DateTime<Utc>) -> Self {
        let text = |field: &str| text(field, &fields[field]);
        Self {
            kind,
            key: kind.key.iter().map(|(field, _)| text(field)).collect(),
            parents: kind
                .parents
                .iter()
                .map(|(field, parent)| (*parent, vec![text(field)]))
                .collect(),
            values: kind.values.iter().map(|(field, _)| text(field)).collect(),
            event_at,
        }
    }

    /// Reads a row from a body that carries its event time in `ts`.
    #[must_use]
    pub fn of_body(kind: &'static Kind, body: &[u8]) -> Option<Self> {
        let fields: Value = serde_json::from_slice(body).ok()?;
        let event_at = fields["ts"].as_str()?.parse().ok()?;
        Some(Self::of(kind, &fields, event_at))
    }
}

/// A value as the comparison sees it: marks have two decimals, consumption three, hours are instants of UTC, absent is empty.
#[must_use]
pub fn text(field: &str, value: &Value) -> String {
    let plain = match value {
        Value::Null => return String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let rounded = |decimals: usize| {
        let number = plain.parse::<f64>().ok();
        number.map(|number| format!("{number:.decimals$}"))
    };
    let seen = match field {
        "calificacion" => rounded(2),
        "consumo_kwh" => rounded(3),
        "timestamp" => ["%+", "%F %T%#z"]
            .into_iter()
            .find_map(|form| DateTime::parse_from_str(&plain, form).ok())
            .map(|instant| instant.to_utc().to_rfc3339()),
        _ => None,
    };
    seen.unwrap_or(plain)
}
