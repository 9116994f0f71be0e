//! What became of the messages in flight: which broker answer is about which message.
//!
//! A confirm says that the broker has a message, unless it came back as unroutable before. Two
//! things make that harder than it sounds. lapin hands a returned message to whichever confirm
//! it completes next, so a return is matched by message id. And the confirms that one answer
//! covers are completed in no order, so a return may turn up with a later message than its own:
//! a confirmed message is held back until everything sent before its confirm is settled.

use std::collections::VecDeque;
use std::sync::Arc;

use uuid::Uuid;

use crate::outgoing::Outgoing;

/// A message that was published at least once.
#[derive(Debug, Clone)]
pub(crate) struct Flight {
    pub(crate) message: Arc<Outgoing>,
    /// Microseconds since 1970 at the first attempt.
    pub(crate) published_at: i64,
    /// Attempts that the broker answered.
    pub(crate) attempts: u32,
}

/// The broker's answer to one publish.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) acked: bool,
    /// A returned message that came along, of this publish or of another.
    pub(crate) returned: Option<Returned>,
}

/// Data of a returned message.
#[derive(Debug)]
pub(crate) struct Returned {
    pub(crate) id: Option<Uuid>,
    pub(crate) body: Vec<u8>,
}

/// What became of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The broker has the message.
    Confirmed,
    /// No queue takes the message.
    Returned,
    /// The broker refused the message.
    Nacked,
    /// The connection broke before it was known.
    Unknown,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    flight: Flight,
    returned: bool,
}

/// A confirmed message whose return, if any, may still turn up.
#[derive(Debug)]
struct Held {
    entry: Entry,
    /// Certain once all publishes before this number are settled.
    until: u64,
    /// Its confirm brought another message's return, so its own may be queued behind.
    carried: bool,
}

/// The publishes that are not certain yet.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    next: u64,
    open: VecDeque<Entry>,
    held: VecDeque<Held>,
}

impl Ledger {
    /// Publishes without an answer.
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    /// Notes a publish.
    pub(crate) fn push(&mut self, flight: Flight) {
        self.open.push_back(Entry {
            number: self.next,
            flight,
            returned: false,
        });
        self.next += 1;
    }

    /// Takes the answer to the oldest open publish, and tells every fate that is certain now.
    pub(crate) fn settle(&mut self, verdict: Verdict, mut tell: impl FnMut(Flight, Fate)) {
        let carried = verdict.returned.is_some();
        if let Some(returned) = &verdict.returned {
            self.mark(returned);
        }
        if let Some(entry) = self.open.pop_front() {
            self.answered(entry, verdict.acked, carried, &mut tell);
        }
        let settled = self.open.front().map_or(self.next, |entry| entry.number);
        while let Some(held) = self.held.pop_front_if(|held| held.until <= settled) {
            let fate = if held.entry.returned {
                Fate::Returned
            } else {
                Fate::Confirmed
            };
            tell(held.entry.flight, fate);
        }
    }

    /// The connection is lost. Takes what answers had come to the open publishes, in their
    /// order, and tells the fate of all of them; the ledger is empty afterwards.
    pub(crate) fn interrupt(
        &mut self,
        answers: Vec<Option<Verdict>>,
        mut tell: impl FnMut(Flight, Fate),
    ) {
        for returned in answers.iter().flatten().filter_map(|v| v.returned.as_ref()) {
            self.mark(returned);
        }
        let mut answers = answers.into_iter();
        for entry in std::mem::take(&mut self.open) {
            match answers.next().flatten() {
                Some(verdict) => {
                    let carried = verdict.returned.is_some();
                    self.answered(entry, verdict.acked, carried, &mut tell);
                }
                None if entry.returned => tell(entry.flight, Fate::Returned),
                None => tell(entry.flight, Fate::Unknown),
            }
        }
        for held in std::mem::take(&mut self.held) {
            let fate = if held.entry.returned {
                Fate::Returned
            } else if held.carried {
                Fate::Unknown
            } else {
                Fate::Confirmed
            };
            tell(held.entry.flight, fate);
        }
    }

    fn answered(
        &mut self,
        entry: Entry,
        acked: bool,
        carried: bool,
        tell: &mut impl FnMut(Flight, Fate),
    ) {
        if entry.returned {
            tell(entry.flight, Fate::Returned);
        } else if acked {
            self.held.push_back(Held {
                entry,
                until: self.next,
                carried,
            });
        } else {
            tell(entry.flight, Fate::Nacked);
        }
    }

    /// Marks the publish that a return is about. Copies share an id and need not be told apart:
    /// each return marks one of them.
    fn mark(&mut self, returned: &Returned) {
        let held = self.held.iter_mut().map(|held| &mut held.entry);
        let owner = held
            .chain(&mut self.open)
            .find(|entry| !entry.returned && returned.is(&entry.flight.message));
        if let Some(entry) = owner {
            entry.returned = true;
        }
    }
}

impl Returned {
    fn is(&self, message: &Outgoing) -> bool {
        if self.id.is_some() || message.id.is_some() {
            self.id == message.id
        } else {
            self.body == message.body
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::outgoing::Route;

    fn flight(name: u8) -> Flight {
        let route = Arc::new(Route::topic("farm", Some("cow")).unwrap());
        let message = Outgoing {
            line: None,
            route,
            id: Some(Uuid::from_u128(name.into())),
            body: vec![name],
        };
        Flight {
            message: Arc::new(message),
            published_at: 0,
            attempts: 0,
        }
    }

    fn ledger(names: &[u8]) -> Ledger {
        let mut ledger = Ledger::default();
        names.iter().for_each(|name| ledger.push(flight(*name)));
        ledger
    }

    fn ack(returned: Option<u8>) -> Verdict {
        Verdict {
            acked: true,
            returned: returned.map(|name| Returned {
                id: Some(Uuid::from_u128(name.into())),
                body: vec![name],
            }),
        }
    }

    fn settle(ledger: &mut Ledger, verdicts: Vec<Verdict>) -> Vec<(u8, Fate)> {
        let mut fates = Vec::new();
        for verdict in verdicts {
            ledger.settle(verdict, |flight, fate| {
                fates.push((flight.message.body[0], fate));
            });
        }
        fates.sort_by_key(|(name, _)| *name);
        fates
    }

    fn interrupt(ledger: &mut Ledger, answers: Vec<Option<Verdict>>) -> Vec<(u8, Fate)> {
        let mut fates = Vec::new();
        ledger.interrupt(answers, |flight, fate| {
            fates.push((flight.message.body[0], fate));
        });
        fates.sort_by_key(|(name, _)| *name);
        fates
    }

    #[test]
    fn a_confirm_counts_when_everything_before_it_is_settled() {
        let mut ledger = ledger(&[1, 2]);
        assert_eq!(settle(&mut ledger, vec![ack(None)]), []);
        ledger.push(flight(3));
        let fates = settle(&mut ledger, vec![ack(None)]);
        assert_eq!(fates, [(1, Fate::Confirmed)]);
        let fates = settle(&mut ledger, vec![ack(None)]);
        assert_eq!(fates, [(2, Fate::Confirmed), (3, Fate::Confirmed)]);
    }

    #[test]
    fn a_return_finds_its_message_before_at_and_after_its_own_confirm() {
        use Fate::{Confirmed, Returned};
        for (verdicts, returned) in [
            (vec![ack(Some(2)), ack(None), ack(None)], 2),
            (vec![ack(None), ack(Some(2)), ack(None)], 2),
            (vec![ack(None), ack(None), ack(Some(2))], 2),
            (vec![ack(None), ack(None), ack(Some(1))], 1),
        ] {
            let fates = settle(&mut ledger(&[1, 2, 3]), verdicts);
            let expected = [1, 2, 3].map(|name| {
                let fate = if name == returned {
                    Returned
                } else {
                    Confirmed
                };
                (name, fate)
            });
            assert_eq!(fates, expected);
        }
    }

    #[test]
    fn copies_are_returned_one_by_one() {
        let mut two = ledger(&[1, 1]);
        let fates = settle(&mut two, vec![ack(Some(1)), ack(Some(1))]);
        assert_eq!(fates, [(1, Fate::Returned), (1, Fate::Returned)]);
        let mut two = ledger(&[1, 1]);
        let mut fates = settle(&mut two, vec![ack(None), ack(Some(1))]);
        fates.sort_by_key(|(_, fate)| *fate == Fate::Returned);
        assert_eq!(fates, [(1, Fate::Confirmed), (1, Fate::Returned)]);
    }

    #[test]
    fn messages_without_id_are_matched_by_their_bytes() {
        let mut ledger = Ledger::default();
        for name in [1, 2] {
            let mut flight = flight(name);
            Arc::get_mut(&mut flight.message).unwrap().id = None;
            ledger.push(flight);
        }
        let mut verdict = ack(Some(2));
        verdict.returned.as_mut().unwrap().id = None;
        let fates = settle(&mut ledger, vec![verdict, ack(None)]);
        assert_eq!(fates, [(1, Fate::Confirmed), (2, Fate::Returned)]);
    }

    #[test]
    fn a_nack_is_no_confirm() {
        let nack = Verdict {
            acked: false,
            returned: None,
        };
        let fates = settle(&mut ledger(&[1, 2]), vec![nack, ack(None)]);
        assert_eq!(fates, [(1, Fate::Nacked), (2, Fate::Confirmed)]);
    }

    #[test]
    fn a_lost_connection_leaves_nothing_undecided() {
        // 1 is held, 2 carries the return of 4, which has no answer, 3 is lost, 5 is confirmed.
        let mut five = ledger(&[1, 2, 3, 4, 5]);
        assert_eq!(settle(&mut five, vec![ack(None)]), []);
        let answers = vec![Some(ack(Some(4))), None, None, Some(ack(None))];
        let fates = interrupt(&mut five, answers);
        let expected = [
            (1, Fate::Confirmed),
            // Its own return may have been queued behind that of 4.
            (2, Fate::Unknown),
            (3, Fate::Unknown),
            (4, Fate::Returned),
            (5, Fate::Confirmed),
        ];
        assert_eq!(fates, expected);
        assert_eq!(five.open(), 0);
        assert_eq!(interrupt(&mut five, vec![]), []);
    }
}
