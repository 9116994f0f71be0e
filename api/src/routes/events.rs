//! The event stream.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event as Told, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt as _};
use prometheus::IntGauge;
use tokio::sync::broadcast::error::RecvError;

use crate::app::App;
use crate::auth::Caller;
use crate::auth::guard::{As, Look};
use crate::data::events::{self, Event};
use crate::docs::Refusals;
use crate::params::Params;
use crate::problem::{Problem, Result};

/// Topics of events.
const TOPICS: [&str; 3] = ["operations", "gates", "streams"];
/// Maximum number of missed events that a stream sends first.
const RESUMED: i64 = 10_000;
/// Time between two signs of life.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a stream lasts. The client then reconnects with Last-Event-ID and is authenticated again: a revoked token or a
/// session that has ended gets no events after that.
const LASTS: Duration = Duration::from_secs(60);
/// Time that a browser waits before it reconnects.
const RETRY: Duration = Duration::from_secs(2);

/// Events as they happen (Server-Sent Events)
///
/// `operations`: progress of bulk actions. `gates`: what was opened or closed. `streams`: the state of a stream whenever it has
/// changed, looked at every two seconds; only the newest counts, so it has no id. A stream ends after a minute. Then, and after a
/// lost connection, the browser connects again and says in Last-Event-ID where to go on; events are kept for a day. A reader that is too slow gets the event `slow` and is cut off.
#[utoipa::path(get, path = "/v1/events", tag = "state", extensions(("x-acequia-right" = json!("look"))),
    params(
        ("topics" = Option<Vec<String>>, Query, description = "`operations`, `gates`, `streams`; all when not given"),
        ("Last-Event-ID" = Option<String>, Header, description = "Id of the last event that was seen"),
    ), responses((status = 200, description = "The stream", body = Event, content_type = "text/event-stream"), Refusals))]
pub async fn stream(
    State(app): State<App>,
    caller: As<Look>,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response> {
    let topics = params.list("topics");
    params.end()?;
    if topics.iter().any(|topic| !TOPICS.contains(&topic.as_str())) {
        return Err(Problem::parameter(
            "topics",
            format!("must be some of {}", TOPICS.join(", ")),
        ));
    }
    let last = match headers.get("last-event-id") {
        None => None,
        Some(text) => Some(
            text.to_str()
                .ok()
                .and_then(|text| text.parse::<i64>().ok())
                .ok_or_else(|| Problem::parameter("Last-Event-ID", "must be the id of an event"))?,
        ),
    };
    // Subscribes before it reads the missed events, so that no event is lost in between. An event in both is sent once.
    let live = app.events.listen();
    let mut missed = app.events.state();
    let told;
    if let Some(last) = last {
        let mut database = app.database().await?;
        let rows = events::after(&mut database, last, &topics, RESUMED).await?;
        database.done();
        told = rows.last().and_then(|event| event.event_id).unwrap_or(last);
        missed.extend(rows);
    } else {
        let mut database = app.database().await?;
        told = events::last(&mut database).await?;
        database.done();
    }
    let listener = Listener {
        caller: Caller::clone(&caller),
        topics,
        told,
    };
    let events = listener.events(app.clone(), missed, live);
    let alive = KeepAlive::new().interval(HEARTBEAT).text("alive");
    Ok(Sse::new(events).keep_alive(alive).into_response())
}

/// A client of an event stream, and its topics.
struct Listener {
    caller: Caller,
    topics: Vec<String>,
    /// Number of the last event that was sent.
    told: i64,
}

/// Counts a listener for as long as it is there.
struct Counted(IntGauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Listener {
    fn wants(&self, event: &Event) -> bool {
        let topic = self.topics.is_empty() || self.topics.contains(&event.topic);
        let domain = match &event.domain {
            Some(domain) => self.caller.sees(domain),
            None => self.caller.domains.is_none(),
        };
        topic && domain
    }

    /// The missed events, then new ones, until the application stops or the reader is too slow.
    fn events(
        self,
        app: App,
        missed: Vec<Event>,
        live: tokio::sync::broadcast::Receiver<Event>,
    ) -> impl Stream<Item = std::result::Result<Told, Infallible>> + Send {
        app.metrics.listeners.inc();
        let counted = Counted(app.metrics.listeners.clone());
        let begin = Told::default().retry(RETRY).comment("begin");
        let missed: Vec<_> = missed
            .into_iter()
            .filter(|event| self.wants(event))
            .map(|event| write(&event))
            .collect();
        let expires = self.caller.expires_at;
        let until = tokio::time::Instant::now() + LASTS;
        let state = (self, app, live, counted, false);
        let coming = stream::unfold(
            state,
            move |(mut listener, app, mut live, counted, over)| async move {
                if over {
                    return None;
                }
                loop {
                    let event = tokio::select! {
                        event = live.recv() => event,
                        () = app.stop.cancelled() => return None,
                        () = tokio::time::sleep_until(until) => return None,
                    };
                    if expires <= app.clock.now() {
                        return None;
                    }
                    match event {
                        Ok(event) => {
                            if event.event_id.is_some_and(|id| id <= listener.told)
                                || !listener.wants(&event)
                            {
                                continue;
                            }
                            listener.told = event.event_id.unwrap_or(listener.told);
                            return Some((write(&event), (listener, app, live, counted, false)));
                        }
                        Err(RecvError::Lagged(missed)) => {
                            app.metrics.slow_listeners.inc();
                            let text = format!(
                                "{missed} events were missed: connect again with Last-Event-ID"
                            );
                            let told = Told::default().event("slow").data(text);
                            return Some((told, (listener, app, live, counted, true)));
                        }
                        Err(RecvError::Closed) => return None,
                    }
                }
            },
        );
        stream::iter(std::iter::once(begin).chain(missed))
            .chain(coming)
            .map(Ok)
    }
}

fn write(event: &Event) -> Told {
    let text = serde_json::to_string(event).unwrap_or_default();
    let told = Told::default().event(&event.topic).data(text);
    match event.event_id {
        Some(id) => told.id(id.to_string()),
        None => told,
    }
}
