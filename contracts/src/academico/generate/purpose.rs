//! Streams of the random generator, one per purpose.

/// The purposes of chance; each has a stream of its own.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Teachers,
    Subjects,
    Groups,
    Students,
    Abilities,
    Enrolments,
    /// Marks of the period of this number.
    Marks(u8),
    /// Order of the students in the period of this number.
    Roll(u8),
}

impl From<Purpose> for u64 {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Teachers => 1,
            Purpose::Subjects => 2,
            Purpose::Groups => 3,
            Purpose::Students => 4,
            Purpose::Abilities => 5,
            Purpose::Enrolments => 6,
            Purpose::Marks(period) => 200 + Self::from(period),
            Purpose::Roll(period) => 100 + Self::from(period),
        }
    }
}
