//! The oracle against examples by hand.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::marks::Marks;
use super::{Alumno, AlumnoEnRiesgo, Calificacion, Core, Oracle, Outcome, Pending};

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
    let mark =
        |id: i32, mark: &str| format!(r#"{{"id_alumno":{id},"id_grupo":7,"calificacion":{mark}}}"#);
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
