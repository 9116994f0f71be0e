//! The school behind the messages: who teaches what when, who may attend, how able each
//! student and how severe each group is. Small enough to keep; the messages are not.

use std::ops::Range;

use super::calendar::PERIODS;
use super::names::{AREAS, area};
use super::purpose::Purpose;
use crate::generate::SeededRng;

/// Numbers of teachers, subjects and so on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    pub(super) teachers: u32,
    pub(super) subjects: u32,
    pub(super) groups: u32,
    pub(super) students: u32,
    pub(super) enrolments: u32,
    pub(super) marks: u32,
}

/// A subject taught by a teacher in a period. Indexes start at 0, numbers in messages at 1.
pub(super) struct Group {
    pub(super) period: usize,
    pub(super) subject: u32,
    pub(super) teacher: u32,
    /// Difference between its marks and the students' abilities, in hundredths.
    level: i32,
    /// Enrolled students.
    pub(super) size: u32,
    /// Students who have a mark although they are not enrolled.
    pub(super) strays: u32,
}

pub(super) struct School {
    pub(super) counts: Counts,
    pub(super) seed: u64,
    pub(super) groups: Vec<Group>,
    /// The mark that a student deserves, in hundredths.
    abilities: Vec<i16>,
    /// Marks for enrolled students, their corrections included.
    pub(super) regular_marks: u32,
}

/// Percentage of the students admitted by each period.
const ADMITTED: [u64; PERIODS.len()] = [40, 60, 80, 100];

/// One mark in this many is for a student who is not enrolled: the checks must find it.
const STRAY_SHARE: u32 = 50;

impl School {
    pub(super) fn new(counts: Counts, seed: u64) -> Result<Self, String> {
        counts.check_parents()?;
        let mut school = Self {
            counts,
            seed,
            groups: plan_groups(&counts, seed),
            abilities: abilities(counts.students, seed),
            regular_marks: 0,
        };
        school.fill_groups()?;
        Ok(school)
    }

    /// Deals enrolments and stray marks out to the groups.
    fn fill_groups(&mut self) -> Result<(), String> {
        let Counts {
            teachers,
            enrolments,
            marks,
            ..
        } = self.counts;
        let present: Vec<u32> = self
            .groups
            .iter()
            .map(|group| self.present(group.period))
            .collect();
        let possible: u64 = present.iter().map(|&present| u64::from(present)).sum();
        if u64::from(enrolments) > possible {
            return Err(format!(
                "{enrolments} inscripciones are more than the {possible} pairs of a student and a \
                 group of the student's periods that there can be"
            ));
        }
        let mut order: Vec<usize> = (0..self.groups.len()).collect();
        order.sort_by_key(|&group| (self.groups[group].teacher, group));
        let weights = weights(&self.groups, teachers);
        let sizes = deal(enrolments, &weights, &present, &order);

        let free: Vec<u32> = present.iter().zip(&sizes).map(|(p, s)| p - s).collect();
        let unmarked = possible - u64::from(enrolments);
        let strays = if enrolments == 0 {
            marks
        } else {
            let strays = u64::from(marks / STRAY_SHARE).min(unmarked);
            u32::try_from(strays).unwrap_or(marks)
        };
        if u64::from(strays) > unmarked {
            return Err(format!(
                "{marks} calificaciones without inscripciones are more than the {possible} pairs of \
                 a student and a group of the student's periods that there can be"
            ));
        }
        let strays_of = deal(strays, &vec![1; free.len()], &free, &order);
        for ((group, size), strays) in self.groups.iter_mut().zip(sizes).zip(strays_of) {
            group.size = size;
            group.strays = strays;
        }
        self.regular_marks = marks - strays;
        Ok(())
    }

    /// Number of students admitted by a period; they are the first ones.
    pub(super) fn present(&self, period: usize) -> u32 {
        let students = u64::from(self.counts.students) * ADMITTED[period];
        students.div_ceil(100) as u32
    }

    /// The students who are admitted for a period.
    pub(super) fn beginners(&self, period: usize) -> Range<u32> {
        let before = period
            .checked_sub(1)
            .map_or(0, |before| self.present(before));
        before..self.present(period)
    }

    /// The groups of a period.
    pub(super) fn groups_of(&self, period: usize) -> Range<usize> {
        let first = self.groups.partition_point(|group| group.period < period);
        let end = self.groups.partition_point(|group| group.period <= period);
        first..end
    }

    /// Number of enrolments of a period.
    pub(super) fn enrolments_of(&self, period: usize) -> u32 {
        let groups = &self.groups[self.groups_of(period)];
        groups.iter().map(|group| group.size).sum()
    }

    /// The marks, corrections included, of the enrolment with this index over all periods.
    pub(super) fn marks_of(&self, enrolment: u64) -> u64 {
        self.marks_before(enrolment + 1) - self.marks_before(enrolment)
    }

    /// The marks of all enrolments before this one.
    pub(super) fn marks_before(&self, enrolment: u64) -> u64 {
        let enrolments = u64::from(self.counts.enrolments).max(1);
        u64::from(self.regular_marks) * enrolment / enrolments
    }

    /// The most marks, corrections included, that any enrolment has; at least one, for the
    /// students who are not enrolled.
    pub(super) fn most_marks(&self) -> u64 {
        let enrolments = self.counts.enrolments.max(1);
        u64::from(self.regular_marks.div_ceil(enrolments).max(1))
    }

    /// The final mark of a student in a group, in hundredths.
    pub(super) fn mark(&self, student: u32, group: usize, rng: &mut SeededRng) -> u16 {
        let ability = i32::from(self.abilities[student as usize]);
        let mark = ability + self.groups[group].level + rng.bell(80);
        mark.clamp(0, 1000) as u16
    }
}

impl Counts {
    fn check_parents(&self) -> Result<(), String> {
        if self.groups > 0 && (self.teachers == 0 || self.subjects == 0) {
            return Err("grupos need at least one of maestros and of materias".to_owned());
        }
        if self.enrolments + self.marks > 0 && (self.groups == 0 || self.students == 0) {
            return Err(
                "inscripciones and calificaciones need at least one of alumnos and of grupos"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

/// The area in which a teacher works.
pub(super) fn area_of_teacher(teacher: u32, subjects: u32) -> usize {
    teacher as usize % AREAS.len().min(subjects.max(1) as usize)
}

fn plan_groups(counts: &Counts, seed: u64) -> Vec<Group> {
    let mut rng = SeededRng::new(seed, Purpose::Groups);
    let severity: Vec<i32> = (0..counts.teachers).map(|_| rng.bell(40)).collect();
    let difficulty: Vec<i32> = (0..counts.subjects).map(|_| rng.bell(45)).collect();
    let mut taught = [0_usize; AREAS.len()];
    let mut teachers = Vec::new();
    let mut groups = Vec::new();
    for group in 0..counts.groups {
        // Everyone teaches once before anyone teaches again.
        let teacher = match teachers.pop() {
            Some(teacher) => teacher,
            None => {
                teachers = rng.order(counts.teachers);
                teachers.pop().unwrap_or_default()
            }
        };
        let area = area_of_teacher(teacher, counts.subjects);
        let subject = nth_subject(area, taught[area], counts.subjects);
        taught[area] += 1;
        let period = u64::from(group) * PERIODS.len() as u64 / u64::from(counts.groups);
        groups.push(Group {
            period: period as usize,
            subject,
            teacher,
            level: difficulty[subject as usize] + severity[teacher as usize] + rng.bell(20),
            size: 0,
            strays: 0,
        });
    }
    groups
}

/// The subject of an area whose turn it is.
fn nth_subject(of: usize, turn: usize, subjects: u32) -> u32 {
    let last = (subjects as usize).saturating_sub(1);
    let in_area = (last.saturating_sub(of)) / AREAS.len() + 1;
    let subject = of + turn % in_area * AREAS.len();
    debug_assert_eq!(area(subject), of);
    subject as u32
}

fn abilities(students: u32, seed: u64) -> Vec<i16> {
    let mut rng = SeededRng::new(seed, Purpose::Abilities);
    let ability = |_| (760 + rng.bell(120)) as i16;
    (0..students).map(ability).collect()
}

/// How much larger or smaller than others a group is. A teacher's groups differ, but every
/// teacher has about as many students in all: a ranking needs enough marks of each.
fn weights(groups: &[Group], teachers: u32) -> Vec<u32> {
    let rounds = (groups.len() as u32).div_ceil(teachers.max(1));
    let mut round = vec![0_u32; teachers as usize];
    let weight = |group: &Group| {
        let seen = &mut round[group.teacher as usize];
        *seen += 1;
        rounds + 1 + 2 * ((*seen + group.teacher) % rounds)
    };
    groups.iter().map(weight).collect()
}

/// Deals a total out in proportion to weights, none getting more than its limit. Going along
/// `order`, the sum dealt so far is never off by more than one, limits aside. The limits must
/// have room for the total.
fn deal(total: u32, weights: &[u32], limits: &[u32], order: &[usize]) -> Vec<u32> {
    let sum: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
    let mut dealt = vec![0_u32; weights.len()];
    let (mut passed, mut given) = (0_u128, 0_u128);
    for &place in order {
        passed += u128::from(weights[place]);
        let due = u128::from(total) * passed / sum;
        dealt[place] = u32::try_from(due - given)
            .unwrap_or(u32::MAX)
            .min(limits[place]);
        given = due;
    }
    // The part beyond the limits goes to places that have room.
    let mut left = total - dealt.iter().sum::<u32>();
    while left > 0 {
        let roomy = order.iter().filter(|&&place| dealt[place] < limits[place]);
        let each = left / (roomy.count() as u32).max(1);
        for &place in order {
            let more = each.max(1).min(left).min(limits[place] - dealt[place]);
            dealt[place] += more;
            left -= more;
        }
    }
    dealt
}

#[cfg(test)]
mod tests {
    use super::deal;

    #[test]
    fn a_deal_is_fair_and_exact() {
        let order = [0, 1, 2, 3];
        assert_eq!(deal(10, &[1, 1, 1, 1], &[9; 4], &order), [2, 3, 2, 3]);
        assert_eq!(deal(10, &[1, 2, 3, 4], &[9; 4], &order), [1, 2, 3, 4]);
        assert_eq!(deal(10, &[1, 1, 1, 1], &[0, 1, 5, 4], &order), [0, 1, 5, 4]);
        assert_eq!(deal(7, &[1, 1, 1, 1], &[0, 9, 0, 1], &order), [0, 6, 0, 1]);
        assert_eq!(deal(0, &[1, 1], &[0, 0], &[0, 1]), [0, 0]);
        assert_eq!(deal(0, &[], &[], &[]), [0; 0]);
    }
}
