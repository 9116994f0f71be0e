//! Chooses the next publish: new messages within the window and the rate, and earlier ones
//! again.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, channel, error::TryRecvError};
use tokio::time::Instant;

use crate::confirm_tracker::InFlight;
use crate::outgoing::Outgoing;
use crate::publisher::Settings;

/// Pause before the second attempt of a message; twice as long before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Runs an iterator on a thread of its own: it may read from a terminal or compute for long.
pub(crate) fn feed<I>(messages: I, ahead: usize) -> Receiver<Outgoing>
where
    I: Iterator<Item = Outgoing> + Send + 'static,
{
    let (sender, receiver) = channel(ahead.max(1));
    // Not one of the runtime's threads: a read that never ends must not keep the runtime alive.
    std::thread::spawn(move || {
        for message in messages {
            if sender.blocking_send(message).is_err() {
                break;
            }
        }
    });
    receiver
}

/// The next message to publish.
pub(crate) enum Next {
    New(Outgoing),
    Again(InFlight),
}

pub(crate) struct Backlog {
    source: Receiver<Outgoing>,
    /// No more messages come from the source.
    exhausted: bool,
    window: usize,
    /// The window has been filled and is not half empty yet.
    full: bool,
    /// Time between two new messages, with a limited rate, and when the next one is due.
    gap: Option<Duration>,
    due: Instant,
    /// To be published again at once: the connection broke before their result was known.
    again: VecDeque<InFlight>,
    /// Number of them that are published one by one.
    one_by_one: usize,
    /// To be published again at their time: the broker refused them or had no queue for them.
    later: BTreeMap<(Instant, u64), InFlight>,
    /// How many there have been, to tell apart those of the same instant.
    retries: u64,
}

impl Backlog {
    pub(crate) fn new(source: Receiver<Outgoing>, settings: &Settings) -> Self {
        Self {
            source,
            exhausted: false,
            window: settings.window.max(1),
            full: false,
            gap: settings
                .rate
                .map(|rate| Duration::from_secs_f64(1.0 / rate)),
            due: Instant::now(),
            again: VecDeque::new(),
            one_by_one: 0,
            later: BTreeMap::new(),
            retries: 0,
        }
    }

    /// The message to publish now, with `open` publishes open; none if nothing may be published or
    /// nothing is there.
    pub(crate) fn next(&mut self, open: usize) -> Option<Next> {
        if open >= self.window() {
            return None;
        }
        if let Some(in_flight) = self.again.pop_front() {
            self.one_by_one = self.one_by_one.saturating_sub(1);
            return Some(Next::Again(in_flight));
        }
        if let Some(entry) = self.later.first_entry()
            && entry.key().0 <= Instant::now()
        {
            return Some(Next::Again(entry.remove()));
        }
        if !self.may_take(open) {
            return None;
        }
        match self.source.try_recv() {
            Ok(message) => Some(Next::New(self.taken(message))),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.exhausted = true;
                None
            }
        }
    }

    /// Waits for a new message. Ask [`Backlog::may_take`] before.
    pub(crate) async fn wait(&mut self) -> Option<Outgoing> {
        let message = self.source.recv().await;
        self.exhausted |= message.is_none();
        message.map(|message| self.taken(message))
    }

    /// Whether there is room and time for a new message. A full window is refilled when it is
    /// half empty: many messages in one go are cheaper for both sides than one at a time.
    pub(crate) fn may_take(&mut self, open: usize) -> bool {
        let window = self.window();
        let used = open + self.waiting();
        self.full = used
            >= if self.full {
                window.div_ceil(2)
            } else {
                window
            };
        !self.exhausted && !self.full && (self.gap.is_none() || self.due <= Instant::now())
    }

    /// When something may be published although nothing happens until then.
    pub(crate) fn next_time(&self) -> Option<Instant> {
        let retry = self.later.keys().next().map(|(due, _)| *due);
        let limited = self.gap.is_some() && !self.exhausted;
        let new = limited.then_some(self.due);
        // A message that is due already waits for room, not for time.
        let now = Instant::now();
        let times = [retry, new].into_iter().flatten();
        times.filter(|time| *time > now).min()
    }

    /// Messages that were published and wait to be published again.
    pub(crate) fn waiting(&self) -> usize {
        self.again.len() + self.later.len()
    }

    pub(crate) const fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    /// Takes no more messages from the source.
    pub(crate) fn stop(&mut self) {
        self.source.close();
        self.exhausted = true;
    }

    /// Publishes it again as soon as there is room.
    pub(crate) fn at_once(&mut self, in_flight: InFlight) {
        self.again.push_back(in_flight);
    }

    /// Publishes it again after a pause that grows with its attempts.
    pub(crate) fn after_pause(&mut self, in_flight: InFlight) {
        let doublings = in_flight.attempts.saturating_sub(1).min(10);
        let time = Instant::now() + FIRST_PAUSE * 2_u32.pow(doublings);
        self.retries += 1;
        self.later.insert((time, self.retries), in_flight);
    }

    /// One of the messages that are to be published at once made the broker close the channel.
    /// When it can only be one, it is given back; else all are published one by one to find it.
    pub(crate) fn convict(&mut self, alone: bool) -> Option<InFlight> {
        if alone {
            return self.again.pop_back();
        }
        self.one_by_one = self.again.len();
        None
    }

    /// Everything that was published without a certain result yet.
    pub(crate) fn give_up(&mut self) -> impl Iterator<Item = InFlight> + use<> {
        let again = std::mem::take(&mut self.again);
        let later = std::mem::take(&mut self.later);
        again.into_iter().chain(later.into_values())
    }

    fn window(&self) -> usize {
        if self.one_by_one > 0 { 1 } else { self.window }
    }

    fn taken(&mut self, message: Outgoing) -> Outgoing {
        if let Some(gap) = self.gap {
            // After a pause it goes on at the same rate; only a little is caught up.
            let late = Instant::now() - Duration::from_millis(100);
            self.due = self.due.max(late) + gap;
        }
        message
    }
}
