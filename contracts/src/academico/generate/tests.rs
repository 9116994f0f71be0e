//! Properties of the synthetic records.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use clap::Command;
use serde_json::Value;

use super::Academico;
use crate::generate::{Generator, Synthetic};
use crate::{Context, domain};

type Messages = Box<dyn Iterator<Item = Synthetic> + Send>;

fn try_generate(options: &str, seed: u64) -> Result<Messages, clap::Error> {
    let command = Academico.options(Command::new("test").no_binary_name(true));
    Academico.generate(
        &command.try_get_matches_from(options.split_whitespace())?,
        seed,
    )
}

fn generate(options: &str, seed: u64) -> Messages {
    try_generate(options, seed).unwrap()
}

fn json(message: &Synthetic) -> Value {
    serde_json::from_slice(&message.body).unwrap()
}

fn of(entity: &str, options: &str) -> Vec<(DateTime<Utc>, Value)> {
    generate(options, 1)
        .filter(|message| message.entity == entity)
        .map(|message| (message.at, json(&message)))
        .collect()
}

/// Student and group.
fn pair(body: &Value) -> (u64, u64) {
    (
        body["id_alumno"].as_u64().unwrap(),
        body["id_grupo"].as_u64().unwrap(),
    )
}

const SMALL: &str =
    "--alumnos 40 --inscripciones 120 --calificaciones 200 --maestros 5 --materias 7 --grupos 20";

#[test]
fn counts_are_exact() {
    for (options, expected) in [
        ("", [100, 50, 500, 1000, 3000, 5000]),
        (SMALL, [5, 7, 20, 40, 120, 200]),
        (
            "--maestros 1 --materias 1 --grupos 1 --alumnos 1 --inscripciones 1 --calificaciones 7",
            [1, 1, 1, 1, 1, 7],
        ),
        (
            "--alumnos 0 --inscripciones 0 --calificaciones 0",
            [100, 50, 500, 0, 0, 0],
        ),
        (
            "--inscripciones 0 --calificaciones 300",
            [100, 50, 500, 1000, 0, 300],
        ),
        (
            "--inscripciones 5000 --calificaciones 100",
            [100, 50, 500, 1000, 5000, 100],
        ),
        (
            "--maestros 700 --materias 123 --grupos 3 --inscripciones 900 --calificaciones 2000",
            [700, 123, 3, 1000, 900, 2000],
        ),
        (
            "--alumnos 10 --grupos 8 --inscripciones 56 --calificaciones 56",
            [100, 50, 8, 10, 56, 56],
        ),
    ] {
        let mut messages = generate(options, 1);
        let total: usize = expected.iter().sum();
        assert_eq!(messages.size_hint(), (total, Some(total)), "{options}");
        let mut counts = BTreeMap::new();
        for message in &mut messages {
            *counts.entry(message.entity).or_insert(0) += 1;
        }
        let names = [
            "maestro",
            "materia",
            "grupo",
            "alumno",
            "inscripcion",
            "calificacion",
        ];
        let found = names.map(|name| counts.get(name).copied().unwrap_or(0));
        assert_eq!(found, expected, "{options}");
        assert_eq!(messages.size_hint(), (0, Some(0)));
    }
}

#[test]
fn every_message_keeps_its_contract() {
    let academico = domain("academico").unwrap();
    let context = Context {
        now: "2025-01-01T00:00:00Z".parse().unwrap(),
    };
    for message in generate("", 3) {
        let entity = academico.find(message.entity).unwrap();
        let body = std::str::from_utf8(&message.body).unwrap();
        let mut columns = entity.new_columns();
        let envelope = entity.decode(body, &context, &mut columns).expect(body);
        assert_eq!(envelope.ts, Some(message.at), "{body}");
        assert_eq!(envelope.unknown_fields, 0, "{body}");
        assert_eq!(crate::entity_of(body).as_deref(), Some(message.entity));
    }
}

#[test]
fn a_seed_decides_everything() {
    let all = |seed| generate(SMALL, seed).collect::<Vec<_>>();
    assert_eq!(all(7), all(7));
    assert_ne!(all(7), all(8));
    // The bytes are part of the promise: another machine or release makes the same ones.
    let mut fnv = 0xcbf2_9ce4_8422_2325_u64;
    for message in generate("", 1) {
        for byte in message.body {
            fnv = (fnv ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    insta::assert_snapshot!(format!("{fnv:016x}"), @"3c5a507f50c5af1a");
}

#[test]
fn each_kind_of_message_is_in_order_of_time() {
    let mut last: HashMap<&str, DateTime<Utc>> = HashMap::new();
    for message in generate("--calificaciones 20000", 1) {
        if let Some(before) = last.insert(message.entity, message.at) {
            assert!(before < message.at, "{}", message.entity);
        }
    }
    let end = "2025-01-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap();
    assert!(last.values().all(|at| *at < end));
}

#[test]
fn parents_come_first_and_students_attend_their_own_periods() {
    let mut seen = BTreeSet::new();
    let mut admitted = HashMap::new();
    let mut starts = HashMap::new();
    for message in generate("", 1) {
        let body = json(&message);
        let entity = message.entity;
        let own = format!("id_{entity}");
        for parent in ["maestro", "materia", "grupo", "alumno"] {
            let field = format!("id_{parent}");
            if let Some(id) = body[&field].as_u64().filter(|_| field != own) {
                assert!(seen.contains(&(parent, id)), "{entity} before its {parent}");
            }
        }
        if let Some(id) = body[&own].as_u64() {
            assert!(seen.insert((entity, id)), "{entity} {id} twice");
        }
        match entity {
            "alumno" => drop(admitted.insert(body["id_alumno"].as_u64().unwrap(), message.at)),
            "grupo" => drop(starts.insert(
                body["id_grupo"].as_u64().unwrap(),
                body["fecha_inicio"].as_str().unwrap().to_owned(),
            )),
            "inscripcion" => {
                let (student, group) = pair(&body);
                assert!(admitted[&student] < message.at);
                assert!(message.at.date_naive().to_string() < starts[&group]);
                assert_eq!(
                    body["fecha_inscripcion"],
                    message.at.date_naive().to_string()
                );
            }
            _ => {}
        }
    }
}

#[test]
fn enrolments_are_distinct_even_when_everyone_attends_everything() {
    for options in [
        "",
        "--alumnos 10 --grupos 8 --inscripciones 56",
        "--alumnos 10 --grupos 8 --inscripciones 55",
        "--alumnos 3 --grupos 1 --inscripciones 2 --calificaciones 0",
    ] {
        let enrolments = of("inscripcion", options);
        let pairs: BTreeSet<_> = enrolments.iter().map(|(_, body)| pair(body)).collect();
        assert_eq!(pairs.len(), enrolments.len(), "{options}");
    }
}

#[test]
fn some_marks_are_strays_and_those_beyond_the_enrolments_are_corrections() {
    let enrolled: BTreeSet<_> = of("inscripcion", "")
        .iter()
        .map(|(_, body)| pair(body))
        .collect();
    let mut versions: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (at, body) in of("calificacion", "") {
        let mark = body["calificacion"].to_string();
        versions.entry(pair(&body)).or_default().push((at, mark));
    }
    let strays = versions
        .keys()
        .filter(|pair| !enrolled.contains(pair))
        .count();
    assert_eq!(strays, 100);
    assert_eq!(versions.len(), 3100);
    for marks in versions.values() {
        assert!(marks.len() <= 2);
        assert!(
            marks
                .windows(2)
                .all(|two| two[0].0 < two[1].0 && two[0].1 != two[1].1)
        );
    }
    // Fewer marks than enrolments: no corrections.
    let marks = of("calificacion", "--inscripciones 5000 --calificaciones 4000");
    let pairs: BTreeSet<_> = marks.iter().map(|(_, body)| pair(body)).collect();
    assert_eq!(pairs.len(), 4000);
}

#[test]
fn marks_have_something_to_show() {
    let mut latest: HashMap<(u64, u64), f64> = HashMap::new();
    for (_, body) in of("calificacion", "") {
        latest.insert(pair(&body), body["calificacion"].as_f64().unwrap());
    }
    let averages = |by: &dyn Fn((u64, u64)) -> u64| {
        let mut sums: HashMap<u64, (f64, usize)> = HashMap::new();
        for (pair, mark) in &latest {
            let sum = sums.entry(by(*pair)).or_default();
            *sum = (sum.0 + mark, sum.1 + 1);
        }
        sums
    };
    let students = averages(&|(student, _)| student);
    let at_risk = students
        .values()
        .filter(|(sum, count)| sum / (*count as f64) < 6.0)
        .count();
    let share = at_risk as f64 / students.len() as f64;
    assert!(
        (0.10..=0.15).contains(&share),
        "{share} of the students are at risk"
    );

    let groups = averages(&|(_, group)| group);
    let means: Vec<f64> = groups
        .values()
        .map(|(sum, count)| sum / (*count as f64))
        .collect();
    let low = means.iter().filter(|mean| **mean < 7.0).count();
    let high = means.iter().filter(|mean| **mean > 8.3).count();
    assert!(
        low > 25 && high > 25,
        "{low} severe and {high} mild groups of 500"
    );

    // Enough marks of nearly every teacher for a ranking that asks for thirty.
    let teacher_of: HashMap<u64, u64> = of("grupo", "")
        .iter()
        .map(|(_, body)| {
            (
                body["id_grupo"].as_u64().unwrap(),
                body["id_maestro"].as_u64().unwrap(),
            )
        })
        .collect();
    let teachers = averages(&|(_, group)| teacher_of[&group]);
    let ranked = teachers.values().filter(|(_, count)| *count >= 30).count();
    assert!(ranked >= 95, "{ranked} of 100 teachers have thirty marks");
}

#[test]
fn impossible_wishes_are_refused() {
    for (options, why) in [
        (
            "--alumnos 10 --grupos 8 --inscripciones 57",
            "57 inscripciones are more than the 56 pairs",
        ),
        ("--grupos 0", "need at least one of alumnos and of grupos"),
        ("--maestros 0", "grupos need at least one of maestros"),
        (
            "--alumnos 2 --grupos 4 --inscripciones 0 --calificaciones 9",
            "9 calificaciones without inscripciones",
        ),
        ("--alumnos=-1", "invalid value '-1'"),
        ("--maestros 1000001", "not in 0..=1000000"),
    ] {
        let error = try_generate(options, 1).err().expect(options).to_string();
        assert!(error.contains(why), "{options}: {error}");
    }
}
