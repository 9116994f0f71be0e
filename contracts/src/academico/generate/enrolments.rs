//! Enrolments and marks, made one by one: with a million of them only a number or two per
//! enrolment of the current period is kept.

use std::ops::Range;
use std::sync::Arc;

use super::calendar::PERIODS;
use super::message;
use super::purpose::Purpose;
use super::school::School;
use crate::generate::SeededRng;
use crate::generate::Synthetic;

/// The students of a period in random order. Each group takes the next ones, going round, so
/// that pairs are distinct and everyone attends about as many groups.
struct Roll {
    students: Vec<u32>,
    school: Arc<School>,
    period: usize,
}

/// A student in a group.
#[derive(Clone, Copy)]
struct Seat {
    group: usize,
    student: u32,
    /// Index among the enrolments of the period; none for a student who is not enrolled.
    enrolment: Option<u32>,
}

impl Roll {
    fn new(school: &Arc<School>, period: usize) -> Arc<Self> {
        let mut rng = SeededRng::new(school.seed, Purpose::Roll(period as u8));
        Arc::new(Self {
            students: rng.order(school.present(period)),
            school: Arc::clone(school),
            period,
        })
    }

    /// The seats of the period, group by group; with those of students who are not enrolled, if
    /// asked for.
    fn seats(self: Arc<Self>, with_strays: bool) -> impl Iterator<Item = Seat> + Send {
        let groups = self.school.groups_of(self.period);
        let sizes = groups.scan(0, {
            let roll = Arc::clone(&self);
            move |before, group| {
                let of_group = &roll.school.groups[group];
                let strays = if with_strays { of_group.strays } else { 0 };
                let seats = (group, *before, of_group.size, strays);
                *before += of_group.size;
                Some(seats)
            }
        });
        sizes.flat_map(move |(group, before, size, strays)| {
            let roll = Arc::clone(&self);
            (0..size + strays).map(move |place| Seat {
                group,
                student: roll.student(before, place),
                enrolment: (place < size).then(|| before + place),
            })
        })
    }

    /// The student whose turn it is. The places beyond a group's size fall to students who are
    /// not enrolled in it, since nobody has a second turn within as many places as students.
    fn student(&self, before: u32, place: u32) -> u32 {
        let turn = (u64::from(before) + u64::from(place)) % self.students.len() as u64;
        self.students[turn as usize]
    }
}

/// The enrolments, period by period.
pub(super) fn enrolments(school: &Arc<School>) -> impl Iterator<Item = Synthetic> + Send + use<> {
    let mut rng = SeededRng::new(school.seed, Purpose::Enrolments);
    let school = Arc::clone(school);
    let seats = (0..PERIODS.len()).flat_map(move |period| {
        let count = school.enrolments_of(period);
        let seats = Roll::new(&school, period).seats(false);
        (0_u64..)
            .zip(seats)
            .map(move |(place, seat)| (period, place, count, seat))
    });
    seats.map(move |(period, place, count, seat)| {
        let at = PERIODS[period]
            .enrolments()
            .instant(place, count.into(), &mut rng);
        let (student, group, day) = (seat.student + 1, seat.group + 1, at.date_naive());
        message(
            "inscripcion",
            at,
            format_args!(r#""id_alumno":{student},"id_grupo":{group},"fecha_inscripcion":"{day}""#),
        )
    })
}

/// The marks, period by period: first all of a period, then its corrections.
pub(super) fn marks(school: &Arc<School>) -> impl Iterator<Item = Synthetic> + Send + use<> {
    let school = Arc::clone(school);
    let mut before = 0;
    (0..PERIODS.len()).flat_map(move |period| {
        let first = before;
        before += u64::from(school.enrolments_of(period));
        marks_of_period(&school, period, first..before)
    })
}

/// The marks of a period, whose enrolments have these indexes over all periods.
fn marks_of_period(
    school: &Arc<School>,
    period: usize,
    enrolments: Range<u64>,
) -> impl Iterator<Item = Synthetic> + Send + use<> {
    let mut rng = SeededRng::new(school.seed, Purpose::Marks(period as u8));
    let school = Arc::clone(school);
    let roll = Roll::new(&school, period);

    // The most versions that a mark has, how many marks there are and how many are corrections.
    let versions = school.most_marks();
    let regular = school.marks_before(enrolments.end) - school.marks_before(enrolments.start);
    let corrections = regular.saturating_sub(enrolments.end - enrolments.start);
    let strays: u64 = school.groups[school.groups_of(period)]
        .iter()
        .map(|group| u64::from(group.strays))
        .sum();
    let firsts = regular - corrections + strays;

    let seats = (0..versions).flat_map({
        let (school, first) = (Arc::clone(&school), enrolments.start);
        move |version| {
            let school = Arc::clone(&school);
            let has_version = move |seat: &Seat| match seat.enrolment {
                Some(enrolment) => school.marks_of(first + u64::from(enrolment)) > version,
                None => true,
            };
            Arc::clone(&roll).seats(version == 0).filter(has_version)
        }
    });
    let mut latest = vec![0; (enrolments.end - enrolments.start) as usize];
    (0_u64..).zip(seats).map(move |(place, seat)| {
        let (at, mark) = if place < firsts {
            let at = PERIODS[period].marks().instant(place, firsts, &mut rng);
            (at, school.mark(seat.student, seat.group, &mut rng))
        } else {
            let span = PERIODS[period].corrections();
            let at = span.instant(place - firsts, corrections, &mut rng);
            let before = seat.enrolment.map_or(0, |enrolment| latest[enrolment as usize]);
            (at, corrected(before, &mut rng))
        };
        if let Some(enrolment) = seat.enrolment {
            latest[enrolment as usize] = mark;
        }
        let (student, group, day) = (seat.student + 1, seat.group + 1, at.date_naive());
        let (whole, cents) = (mark / 100, mark % 100);
        message("calificacion", at, format_args!(
            r#""id_alumno":{student},"id_grupo":{group},"calificacion":{whole}.{cents:02},"fecha_registro":"{day}""#
        ))
    })
}

/// A mark after its correction, mostly to the better, never the same.
fn corrected(mark: u16, rng: &mut SeededRng) -> u16 {
    let change = 10 + rng.below(90) as u16;
    if rng.percent(85) && mark + change <= 1000 {
        mark + change
    } else {
        mark.checked_sub(change).unwrap_or(mark + change)
    }
}
