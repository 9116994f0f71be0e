//! Matches the broker's confirms and returns with the messages in flight.
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
pub(crate) struct InFlight {
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

/// Result of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PublishResult {
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
    in_flight: InFlight,
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
pub(crate) struct ConfirmTracker {
    next: u64,
    open: VecDeque<Entry>,
    held: VecDeque<Held>,
}

impl ConfirmTracker {
    /// Publishes without an answer.
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    /// Notes a publish.
    pub(crate) fn push(&mut self, in_flight: InFlight) {
        self.open.push_back(Entry {
            number: self.next,
            in_flight,
            returned: false,
        });
        self.next += 1;
    }

    /// Takes the answer to the oldest open publish, and reports every result that is now certain.
    pub(crate) fn settle(
        &mut self,
        verdict: Verdict,
        mut tell: impl FnMut(InFlight, PublishResult),
    ) {
        let carried = verdict.returned.is_some();
        if let Some(returned) = &verdict.returned {
            self.mark(returned);
        }
        if let Some(entry) = self.open.pop_front() {
            self.answered(entry, verdict.acked, carried, &mut tell);
        }
        let settled = self.open.front().map_or(self.next, |entry| entry.number);
        while let Some(held) = self.held.pop_front_if(|held| held.until <= settled) {
            let result = if held.entry.returned {
                PublishResult::Returned
            } else {
                PublishResult::Confirmed
            };
            tell(held.entry.in_flight, result);
        }
    }

    /// The connection is lost. Takes what answers had come to the open publishes, in their
    /// order, and reports the result of all of them; the tracker is empty afterwards.
    pub(crate) fn interrupt(
        &mut self,
        answers: Vec<Option<Verdict>>,
        mut tell: impl FnMut(InFlight, PublishResult),
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
                None if entry.returned => tell(entry.in_flight, PublishResult::Returned),
                None => tell(entry.in_flight, PublishResult::Unknown),
            }
        }
        for held in std::mem::take(&mut self.held) {
            let result = if held.entry.returned {
                PublishResult::Returned
            } else if held.carried {
                PublishResult::Unknown
            } else {
                PublishResult::Confirmed
            };
            tell(held.entry.in_flight, result);
        }
    }

    fn answered(
        &mut self,
        entry: Entry,
        acked: bool,
        carried: bool,
        tell: &mut impl FnMut(InFlight, PublishResult),
    ) {
        if entry.returned {
            tell(entry.in_flight, PublishResult::Returned);
        } else if acked {
            self.held.push_back(Held {
                entry,
                until: self.next,
                carried,
            });
        } else {
            tell(entry.in_flight, PublishResult::Nacked);
        }
    }

    /// Marks the publish that a return is about. Copies share an id and need not be distinguished:
    /// each return marks one of them.
    fn mark(&mut self, returned: &Returned) {
        let held = self.held.iter_mut().map(|held| &mut held.entry);
        let owner = held
            .chain(&mut self.open)
            .find(|entry| !entry.returned && returned.is(&entry.in_flight.message));
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

    fn in_flight(name: u8) -> InFlight {
        let route = Arc::new(Route::topic("farm", Some("cow")).unwrap());
        let message = Outgoing {
            line: None,
            route,
            id: Some(Uuid::from_u128(name.into())),
            body: vec![name],
        };
        InFlight {
            message: Arc::new(message),
            published_at: 0,
            attempts: 0,
        }
    }

    fn tracker(names: &[u8]) -> ConfirmTracker {
        let mut tracker = ConfirmTracker::default();
        names.iter().for_each(|name| tracker.push(in_flight(*name)));
        tracker
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

    fn settle(tracker: &mut ConfirmTracker, verdicts: Vec<Verdict>) -> Vec<(u8, PublishResult)> {
        let mut results = Vec::new();
        for verdict in verdicts {
            tracker.settle(verdict, |in_flight, result| {
                results.push((in_flight.message.body[0], result));
            });
        }
        results.sort_by_key(|(name, _)| *name);
        results
    }

    fn interrupt(
        tracker: &mut ConfirmTracker,
        answers: Vec<Option<Verdict>>,
    ) -> Vec<(u8, PublishResult)> {
        let mut results = Vec::new();
        tracker.interrupt(answers, |in_flight, result| {
            results.push((in_flight.message.body[0], result));
        });
        results.sort_by_key(|(name, _)| *name);
        results
    }

    #[test]
    fn a_confirm_counts_when_everything_before_it_is_settled() {
        let mut tracker = tracker(&[1, 2]);
        assert_eq!(settle(&mut tracker, vec![ack(None)]), []);
        tracker.push(in_flight(3));
        let results = settle(&mut tracker, vec![ack(None)]);
        assert_eq!(results, [(1, PublishResult::Confirmed)]);
        let results = settle(&mut tracker, vec![ack(None)]);
        assert_eq!(
            results,
            [(2, PublishResult::Confirmed), (3, PublishResult::Confirmed)]
        );
    }

    #[test]
    fn a_return_finds_its_message_before_at_and_after_its_own_confirm() {
        use PublishResult::{Confirmed, Returned};
        for (verdicts, returned) in [
            (vec![ack(Some(2)), ack(None), ack(None)], 2),
            (vec![ack(None), ack(Some(2)), ack(None)], 2),
            (vec![ack(None), ack(None), ack(Some(2))], 2),
            (vec![ack(None), ack(None), ack(Some(1))], 1),
        ] {
            let results = settle(&mut tracker(&[1, 2, 3]), verdicts);
            let expected = [1, 2, 3].map(|name| {
                let result = if name == returned {
                    Returned
                } else {
                    Confirmed
                };
                (name, result)
            });
            assert_eq!(results, expected);
        }
    }

    #[test]
    fn copies_are_returned_one_by_one() {
        let mut two = tracker(&[1, 1]);
        let results = settle(&mut two, vec![ack(Some(1)), ack(Some(1))]);
        assert_eq!(
            results,
            [(1, PublishResult::Returned), (1, PublishResult::Returned)]
        );
        let mut two = tracker(&[1, 1]);
        let mut results = settle(&mut two, vec![ack(None), ack(Some(1))]);
        results.sort_by_key(|(_, result)| *result == PublishResult::Returned);
        assert_eq!(
            results,
            [(1, PublishResult::Confirmed), (1, PublishResult::Returned)]
        );
    }

    #[test]
    fn messages_without_id_are_matched_by_their_bytes() {
        let mut tracker = ConfirmTracker::default();
        for name in [1, 2] {
            let mut in_flight = in_flight(name);
            Arc::get_mut(&mut in_flight.message).unwrap().id = None;
            tracker.push(in_flight);
        }
        let mut verdict = ack(Some(2));
        verdict.returned.as_mut().unwrap().id = None;
        let results = settle(&mut tracker, vec![verdict, ack(None)]);
        assert_eq!(
            results,
            [(1, PublishResult::Confirmed), (2, PublishResult::Returned)]
        );
    }

    #[test]
    fn a_nack_is_no_confirm() {
        let nack = Verdict {
            acked: false,
            returned: None,
        };
        let results = settle(&mut tracker(&[1, 2]), vec![nack, ack(None)]);
        assert_eq!(
            results,
            [(1, PublishResult::Nacked), (2, PublishResult::Confirmed)]
        );
    }

    #[test]
    fn a_lost_connection_leaves_nothing_undecided() {
        // 1 is held, 2 carries the return of 4, which has no answer, 3 is lost, 5 is confirmed.
        let mut five = tracker(&[1, 2, 3, 4, 5]);
        assert_eq!(settle(&mut five, vec![ack(None)]), []);
        let answers = vec![Some(ack(Some(4))), None, None, Some(ack(None))];
        let results = interrupt(&mut five, answers);
        let expected = [
            (1, PublishResult::Confirmed),
            // Its own return may have been queued behind that of 4.
            (2, PublishResult::Unknown),
            (3, PublishResult::Unknown),
            (4, PublishResult::Returned),
            (5, PublishResult::Confirmed),
        ];
        assert_eq!(results, expected);
        assert_eq!(five.open(), 0);
        assert_eq!(interrupt(&mut five, vec![]), []);
    }
}
