//! Academic records: students, enrolments, marks, and the catalogues they refer to.

#[cfg(feature = "generate")]
mod generate;

use rust_decimal::Decimal;
use validator::ValidationError;

use crate::rules::{any_date, decimal, past_date, trimmed};
use crate::{Code, Date, Domain, ExactDecimal, Rule, closed_enum, message, violation};

/// The domain, its entities parents first.
#[must_use]
pub fn domain() -> Domain {
    let domain = Domain::new("academico")
        .legacy_queue("etl")
        .rules(RULES)
        .entity::<Maestro>()
        .entity::<Materia>()
        .entity::<Grupo>()
        .entity::<Alumno>()
        .entity::<Inscripcion>()
        .entity::<Calificacion>();
    #[cfg(feature = "generate")]
    let domain = domain.generator(&generate::Academico);
    domain
}

closed_enum! {
    /// Sex as recorded by the school.
    pub enum Genero {
        /// Masculino.
        M = "M",
        /// Femenino.
        F = "F",
    }
}

message! {
    entity "maestro", staging "stg.maestros_upsert", merge "academico.merge_maestros",
    core "academico.maestros", key ["id_maestro" as "id"], aliases [("id", "id_maestro")];

    /// A teacher.
    pub struct Maestro {
        /// Number of the teacher.
        #[validate(range(min = 1))]
        pub id_maestro: i32,
        /// Full name.
        #[serde(deserialize_with = "trimmed")]
        #[validate(length(min = 1, max = 200))]
        pub nombre: String,
        /// Field of teaching.
        #[validate(length(min = 1, max = 200))]
        pub especialidad: Option<String>,
    }
}

message! {
    entity "materia", staging "stg.materias_upsert", merge "academico.merge_materias",
    core "academico.materias", key ["id_materia" as "id"], aliases [("id", "id_materia")];

    /// A subject.
    pub struct Materia {
        /// Number of the subject.
        #[validate(range(min = 1))]
        pub id_materia: i32,
        /// Name.
        #[serde(deserialize_with = "trimmed")]
        #[validate(length(min = 1, max = 200))]
        pub nombre: String,
        /// Credits.
        #[validate(range(min = 1, max = 1000))]
        pub creditos: i32,
    }
}

message! {
    entity "grupo", staging "stg.grupos_upsert", merge "academico.merge_grupos",
    core "academico.grupos", key ["id_grupo" as "id"], aliases [("id", "id_grupo")],
    dated fecha_inicio,
    parents [(["id_materia"], "materia"), (["id_maestro"], "maestro")];

    /// A subject taught by a teacher in a period.
    pub struct Grupo {
        /// Number of the group.
        #[validate(range(min = 1))]
        pub id_grupo: i32,
        /// Subject taught.
        #[validate(range(min = 1))]
        pub id_materia: i32,
        /// Teacher.
        #[validate(range(min = 1))]
        pub id_maestro: i32,
        /// Half year, as `2024A`.
        #[validate(custom(function = "periodo"))]
        pub periodo: String,
        /// First day; a group may be announced ahead of it. The day of the event when absent.
        #[validate(custom(function = "any_date"))]
        pub fecha_inicio: Option<Date>,
    }
}

message! {
    entity "alumno", staging "stg.alumnos_upsert", merge "academico.merge_alumnos",
    core "academico.alumnos", key ["id_alumno" as "id"], aliases [("id", "id_alumno")];

    /// A student.
    pub struct Alumno {
        /// Number of the student.
        #[validate(range(min = 1))]
        pub id_alumno: i32,
        /// Full name.
        #[serde(deserialize_with = "trimmed")]
        #[validate(length(min = 1, max = 200))]
        pub nombre: String,
        /// Age in years.
        #[validate(range(min = 1, max = 120))]
        pub edad: i32,
        /// Sex.
        pub genero: Genero,
    }
}

message! {
    entity "inscripcion", staging "stg.inscripciones_event", merge "academico.merge_inscripciones",
    core partitioned "academico.inscripciones", key ["id_alumno", "id_grupo"], dated fecha_inscripcion,
    parents [(["id_alumno"], "alumno"), (["id_grupo"], "grupo")];

    /// A student's enrolment in a group.
    pub struct Inscripcion {
        /// Student.
        #[validate(range(min = 1))]
        pub id_alumno: i32,
        /// Group.
        #[validate(range(min = 1))]
        pub id_grupo: i32,
        /// Day of enrolment; the day of the event when absent.
        #[validate(custom(function = "past_date", use_context))]
        pub fecha_inscripcion: Option<Date>,
    }
}

message! {
    entity "calificacion", staging "stg.calificaciones_event", merge "academico.merge_calificaciones",
    core partitioned "academico.calificaciones", key ["id_alumno", "id_grupo"], dated fecha_registro,
    parents [(["id_alumno"], "alumno"), (["id_grupo"], "grupo")],
    hook [updated];

    /// A student's final mark in a group.
    pub struct Calificacion {
        /// Student.
        #[validate(range(min = 1))]
        pub id_alumno: i32,
        /// Group.
        #[validate(range(min = 1))]
        pub id_grupo: i32,
        /// Mark from 0 to 10, two decimals.
        #[validate(custom(function = "mark"))]
        pub calificacion: ExactDecimal,
        /// Day of the record; the day of the event when absent.
        #[validate(custom(function = "past_date", use_context))]
        pub fecha_registro: Option<Date>,
    }
}

const RULES: &[Rule] = &[
    Rule {
        function: "periodo",
        text: "a half year as 2024A or 2024B",
        schema: r#"{"pattern": "^[0-9]{4}[AB]$"}"#,
        codes: &[],
    },
    Rule {
        function: "mark",
        text: "0 to 10, at most two decimals",
        schema: r#"{"minimum": 0, "maximum": 10}"#,
        codes: &[Code::TooPrecise],
    },
];

/// A half year: four digits and `A` or `B`.
fn periodo(periodo: &str) -> Result<(), ValidationError> {
    match periodo.as_bytes() {
        [year @ .., b'A' | b'B'] if year.len() == 4 && year.iter().all(u8::is_ascii_digit) => {
            Ok(())
        }
        _ => Err(violation(
            Code::InvalidFormat,
            "must be a half year as 2024A or 2024B",
        )),
    }
}

fn mark(mark: &ExactDecimal) -> Result<(), ValidationError> {
    decimal(
        *mark,
        Decimal::ZERO,
        Decimal::TEN,
        2,
        "must be between 0 and 10",
        "must have at most two decimals",
    )
}
