//! The event stream: rows of `core.api_events` in order, and the state of the message streams when it has changed.
//! One task reads for all listeners, and only while there are any.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::time::MissedTickBehavior;
use tracing::warn;

use crate::app::App;
use crate::data::events::{self, Event};

/// Events that a slow listener may be behind before it is cut off; it resumes by Last-Event-ID.
const BEHIND: usize = 1_024;
/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Seconds that the first look goes back.
const LOOK_BACK_S: f64 = 5.0;
/// Polls between two states of the streams.
const STATE_EVERY: u32 = 4;
/// Polls between two deletions of old events.
const CLEAN_EVERY: u32 = 7_200;
/// Events of one look.
const AT_ONCE: i64 = 1_000;

/// The channel to listeners.
#[derive(Debug)]
pub struct Events {
    sender: broadcast::Sender<Event>,
    state: Mutex<Vec<Event>>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            sender: broadcast::channel(BEHIND).0,
            state: Mutex::default(),
        }
    }
}

impl Events {
    /// The events from now on.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.sender.subscribe()
    }

    /// The last state of each stream, if it was read.
    #[must_use]
    pub fn state(&self) -> Vec<Event> {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn tell(&self, event: Event) {
        // Sending fails when nobody listens; the event is then not needed.
        let _ = self.sender.send(event);
    }
}

/// Reads for the listeners until the application stops.
pub async fn run(app: App) {
    let mut clock = tokio::time::interval(LOOK_EVERY);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut after, mut looks) = (None, 0_u32);
    loop {
        tokio::select! {
            _ = clock.tick() => {}
            () = app.stop.cancelled() => return,
        }
        looks = looks.wrapping_add(1);
        if app.events.sender.receiver_count() == 0 {
            after = None;
            if looks % CLEAN_EVERY != 1 {
                continue;
            }
        }
        match look(&app, after, looks).await {
            Ok(position) => after = Some(position),
            Err(problem) => {
                warn!(
                    event = "events.unread",
                    code = problem.code.as_str(),
                    "cannot read events; listeners hear them later"
                );
            }
        }
    }
}

async fn look(app: &App, after: Option<i64>, looks: u32) -> crate::problem::Result<i64> {
    let mut database = app.database().await?;
    if looks % CLEAN_EVERY == 1 {
        events::clean(&mut database).await?;
    }
    let after = match after {
        Some(after) => after,
        // Begins a little earlier: a listener may have looked before this task did. It skips events that it has already.
        None => events::last_before(&mut database, LOOK_BACK_S).await?,
    };
    let mut position = after;
    for event in events::after(&mut database, after, &[], AT_ONCE).await? {
        position = event.event_id.unwrap_or(position);
        app.events.tell(event);
    }
    if looks.is_multiple_of(STATE_EVERY) {
        let state = events::state(&mut database).await?;
        let mut last = app
            .events
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let changed: Vec<_> = state
            .iter()
            .filter(|event| !last.iter().any(|before| before.data == event.data))
            .cloned()
            .collect();
        *last = state;
        drop(last);
        for event in changed {
            app.events.tell(event);
        }
    }
    database.done();
    Ok(position)
}
