//! Means and shares of marks.

use rust_decimal::{Decimal, RoundingStrategy};

pub(super) const PASS_MARK: Decimal = Decimal::from_parts(6, 0, 0, false, 0);
pub(super) const ENOUGH_MARKS: i64 = 30;
/// Digits that `tasa_aprob` is compared with.
pub(super) const SHARE_DIGITS: u32 = 4;

/// Some marks.
#[derive(Debug, Default, Clone)]
pub(super) struct Marks(pub(super) Vec<Decimal>);

impl Marks {
    pub(super) fn count(&self) -> i64 {
        i64::try_from(self.0.len()).unwrap()
    }

    /// The exact mean as numerator and denominator; none of no marks.
    fn mean(&self) -> Option<(Decimal, Decimal)> {
        let sum = self.0.iter().sum();
        (!self.0.is_empty()).then(|| (sum, Decimal::from(self.count())))
    }

    pub(super) fn rounded_mean(&self) -> Option<Decimal> {
        self.mean().map(|(sum, count)| rounded(sum / count, 2))
    }

    pub(super) fn pass_rate(&self) -> Option<Decimal> {
        let passed = self.0.iter().filter(|&&mark| mark >= PASS_MARK).count();
        let passed = Decimal::from(passed);
        self.mean()
            .map(|(_, count)| rounded(passed / count, SHARE_DIGITS))
    }

    pub(super) fn fails(&self) -> bool {
        self.mean()
            .is_some_and(|(sum, count)| sum < PASS_MARK * count)
    }
}

/// Half away from zero, as PostgreSQL rounds `numeric`.
pub(super) fn rounded(number: Decimal, digits: u32) -> Decimal {
    number.round_dp_with_strategy(digits, RoundingStrategy::MidpointAwayFromZero)
}
