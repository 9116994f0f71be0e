//! Synthetic academic records.
//!
//! Students of four cohorts attend the groups of their periods. A mark comes from the student's
//! ability, the subject's difficulty, the teacher's severity and luck, so that the marts have
//! something to show. Two in a hundred marks are for students who are not enrolled, and marks
//! beyond the enrolments are corrections: later versions of earlier marks.

mod calendar;
mod enrolments;
mod names;
mod purpose;
mod school;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Command, value_parser};

use self::calendar::PERIODS;
use self::enrolments::{enrolments, marks};
use self::purpose::Purpose;
use self::school::{Counts, School, area_of_teacher};
use crate::generate::{Generator, SeededRng, Synthetic};

/// The domain's source of synthetic messages.
#[derive(Debug)]
pub struct Academico;

/// Option, default, most, and what it counts.
const OPTIONS: [(&str, &str, i64, &str); 6] = [
    ("alumnos", "1000", 100_000_000, "Students"),
    (
        "inscripciones",
        "3000",
        100_000_000,
        "Enrolments: distinct pairs of student and group",
    ),
    (
        "calificaciones",
        "5000",
        100_000_000,
        "Marks; those beyond the enrolments are corrections",
    ),
    ("maestros", "100", 1_000_000, "Teachers"),
    ("materias", "50", 1_000_000, "Subjects"),
    (
        "grupos",
        "500",
        1_000_000,
        "Groups, in the periods 2023A to 2024B",
    ),
];

impl Generator for Academico {
    fn options(&self, command: Command) -> Command {
        OPTIONS
            .iter()
            .fold(command, |command, &(name, default, most, what)| {
                command.arg(
                    Arg::new(name)
                        .long(name)
                        .value_name("N")
                        .default_value(default)
                        .value_parser(value_parser!(u32).range(0..=most))
                        .help(what),
                )
            })
    }

    fn generate(
        &self,
        options: &ArgMatches,
        seed: u64,
    ) -> Result<Box<dyn Iterator<Item = Synthetic> + Send>, clap::Error> {
        let count = |name: &str| options.get_one::<u32>(name).copied().unwrap_or_default();
        let counts = Counts {
            teachers: count("maestros"),
            subjects: count("materias"),
            groups: count("grupos"),
            students: count("alumnos"),
            enrolments: count("inscripciones"),
            marks: count("calificaciones"),
        };
        match School::new(counts, seed) {
            Ok(school) => Ok(Box::new(Counted::new(Arc::new(school)))),
            Err(why) => Err(clap::Error::raw(
                ErrorKind::ValueValidation,
                format!("{why}\n"),
            )),
        }
    }
}

/// All messages of a school, one after the other; it knows how many are left.
struct Counted {
    messages: Box<dyn Iterator<Item = Synthetic> + Send>,
    left: usize,
}

impl Counted {
    fn new(school: Arc<School>) -> Self {
        let Counts {
            teachers: t,
            subjects: s,
            groups: g,
            students: a,
            enrolments: e,
            marks: m,
        } = school.counts;
        let messages = teachers(&school)
            .chain(subjects(&school))
            .chain(groups(&school))
            .chain(students(&school))
            .chain(enrolments(&school))
            .chain(marks(&school));
        Self {
            messages: Box::new(messages),
            left: [t, s, g, a, e, m].iter().map(|&count| count as usize).sum(),
        }
    }
}

impl Iterator for Counted {
    type Item = Synthetic;

    fn next(&mut self) -> Option<Synthetic> {
        let next = self.messages.next();
        self.left = self.left.saturating_sub(usize::from(next.is_some()));
        next
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

fn teachers(school: &School) -> impl Iterator<Item = Synthetic> + Send + use<> {
    let mut rng = SeededRng::new(school.seed, Purpose::Teachers);
    let Counts {
        teachers, subjects, ..
    } = school.counts;
    (0..teachers).map(move |index| {
        let at = calendar::hiring().instant(index.into(), teachers.into(), &mut rng);
        let woman = rng.percent(45);
        let name = names::person(woman, &mut rng);
        let area = names::AREAS[area_of_teacher(index, subjects)];
        let id = index + 1;
        message(
            "maestro",
            at,
            format_args!(r#""id_maestro":{id},"nombre":"{name}","especialidad":"{area}""#),
        )
    })
}

fn subjects(school: &School) -> impl Iterator<Item = Synthetic> + Send + use<> {
    let mut rng = SeededRng::new(school.seed, Purpose::Subjects);
    let subjects = school.counts.subjects;
    (0..subjects).map(move |index| {
        let at = calendar::approval().instant(index.into(), subjects.into(), &mut rng);
        let name = names::subject(index as usize);
        let (id, credits) = (index + 1, rng.pick(&[4, 5, 6, 6, 8, 8, 8, 10, 10, 12]));
        message(
            "materia",
            at,
            format_args!(r#""id_materia":{id},"nombre":"{name}","creditos":{credits}"#),
        )
    })
}

fn groups(school: &Arc<School>) -> impl Iterator<Item = Synthetic> + Send + use<> {
    // Only instants are left to chance here.
    let mut rng = SeededRng::new(school.seed, Purpose::Groups);
    let school = Arc::clone(school);
    (0..school.groups.len()).map(move |index| {
        let group = &school.groups[index];
        let of_period = school.groups_of(group.period);
        let period = &PERIODS[group.period];
        let place = (index - of_period.start) as u64;
        let at = period.announcements().instant(place, of_period.len() as u64, &mut rng);
        let (id, subject, teacher) = (index + 1, group.subject + 1, group.teacher + 1);
        let (name, start) = (period.name, period.first_day());
        message("grupo", at, format_args!(
            r#""id_grupo":{id},"id_materia":{subject},"id_maestro":{teacher},"periodo":"{name}","fecha_inicio":"{start}""#
        ))
    })
}

fn students(school: &Arc<School>) -> impl Iterator<Item = Synthetic> + Send + use<> {
    let mut rng = SeededRng::new(school.seed, Purpose::Students);
    let school = Arc::clone(school);
    let cohorts = (0..PERIODS.len()).map({
        let school = Arc::clone(&school);
        move |period| (period, school.beginners(period))
    });
    let all = cohorts.flat_map(|(period, beginners)| {
        let first = beginners.start;
        let count = beginners.len() as u64;
        beginners.map(move |index| (period, index, u64::from(index - first), count))
    });
    all.map(move |(period, index, place, count)| {
        let at = PERIODS[period].admissions().instant(place, count, &mut rng);
        let woman = rng.percent(50);
        let name = names::person(woman, &mut rng);
        let age = 18 + rng.below(13).min(rng.below(13)).min(rng.below(13));
        let (id, sex) = (index + 1, if woman { 'F' } else { 'M' });
        message(
            "alumno",
            at,
            format_args!(r#""id_alumno":{id},"nombre":"{name}","edad":{age},"genero":"{sex}""#),
        )
    })
}

/// A message with the given fields of its body.
fn message(entity: &'static str, at: DateTime<Utc>, fields: std::fmt::Arguments<'_>) -> Synthetic {
    let ts = at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let body = format!(r#"{{"entity":"{entity}",{fields},"ts":"{ts}"}}"#);
    Synthetic {
        entity,
        at,
        body: body.into_bytes(),
    }
}
