//! Messages that are taken, staged and acknowledged together.

use std::collections::HashMap;

use acequia_net::guard::Note;
use lapin::message::Delivery;

use crate::Sizes;

/// Reasons why the collection of a batch ends.
pub const FLUSHED_BY: [&str; 4] = ["full", "bytes", "wait", "apart"];

/// The reason why the collection of a batch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The maximum number of messages.
    Full,
    /// The maximum number of bytes.
    Bytes,
    /// The first message has waited for long enough.
    Wait,
    /// A message that must not be in one batch with its neighbour.
    Apart,
}

impl Ended {
    /// A short name for metrics, one of [`FLUSHED_BY`].
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Bytes => "bytes",
            Self::Wait => "wait",
            Self::Apart => "apart",
        }
    }
}

/// Messages taken together.
pub struct Batch {
    /// The messages, in the order of the queue; never empty.
    pub deliveries: Vec<Delivery>,
    /// It consists of a poison-message candidate, or one comes next.
    pub poison_candidate: bool,
    /// They were delivered before, by a queue that does not count how often.
    pub again: bool,
    /// Reason why there are no more of them.
    pub ended: Ended,
    /// Notes about some of the messages, by position.
    pub(crate) notes: HashMap<usize, Note>,
}

impl Batch {
    /// Sizes of the messages.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        Sizes::of(self.each())
    }

    /// The sum of the sizes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.each().sum()
    }

    fn each(&self) -> impl Iterator<Item = usize> {
        let weight = |position| self.notes.get(&position).map_or(0, |note| note.weight);
        let messages = self.deliveries.iter().enumerate();
        messages.map(move |(position, delivery)| delivery.data.len() + weight(position))
    }

    /// Takes what cannot be read of the messages, by position. Its weight stays until the batch is done.
    pub fn take_unreadable(&mut self) -> HashMap<usize, Note> {
        let noted = self.notes.iter_mut();
        let unreadable = noted.filter(|(_, note)| !note.unreadable.is_empty());
        unreadable
            .map(|(position, note)| {
                let weight = note.weight;
                let left = Note {
                    weight,
                    ..Note::default()
                };
                (*position, std::mem::replace(note, left))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Ended, FLUSHED_BY};

    #[test]
    fn each_end_has_its_series() {
        let ends = [Ended::Full, Ended::Bytes, Ended::Wait, Ended::Apart];
        assert_eq!(ends.map(Ended::as_str), FLUSHED_BY);
    }
}
