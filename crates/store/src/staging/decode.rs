//! Decodes a batch of deliveries into the columns of each entity and a list of rejected ones.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::failpoint;
use acequia_contracts::envelope::{Identity, OP, Published, body_hash};
use acequia_contracts::{
    Code, Context, Domain, Entity, Envelope, MAX_BODY_BYTES, Op, Values, Violation, body_text,
    entity_of, nameless,
};
use acequia_net::guard::Note;
use acequia_net::headers;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use lapin::message::Delivery;
use uuid::Uuid;

use super::dead_letter;
use super::properties::{came_by, first_death_queue, named, sent};
use super::replayed as replay;

/// The good messages of one entity, in columns. All vectors have the same length.
pub struct EntityRows {
    /// The entity.
    pub entity: &'static Entity,
    /// Columns of its fields.
    pub fields: Vec<Values>,
    /// Ids.
    pub ids: Vec<Uuid>,
    /// Days of the ids.
    pub days: Vec<NaiveDate>,
    /// Event times.
    pub event_at: Vec<DateTime<Utc>>,
    /// Publish times.
    pub published_at: Vec<Option<DateTime<Utc>>>,
    /// Whether the key is gone.
    pub deleted: Vec<bool>,
    /// Hashes of the bodies; none for a body that was rebuilt, which no copy equals.
    pub hashes: Vec<Option<i64>>,
    /// Oldest publish time; the time of arrival for messages without one.
    pub oldest: Option<DateTime<Utc>>,
    /// The newest, never after the arrival: a clock that is ahead must not vouch for what has yet to come.
    pub newest: Option<DateTime<Utc>>,
    /// Positions in the batch of deliveries.
    pub deliveries: Vec<usize>,
    /// Fields that the contract does not know, over all messages.
    pub unknown_fields: u64,
}

impl EntityRows {
    fn new(entity: &'static Entity) -> Self {
        Self {
            entity,
            fields: entity.new_columns(),
            ids: Vec::new(),
            days: Vec::new(),
            event_at: Vec::new(),
            published_at: Vec::new(),
            deleted: Vec::new(),
            hashes: Vec::new(),
            oldest: None,
            newest: None,
            deliveries: Vec::new(),
            unknown_fields: 0,
        }
    }
}

impl EntityRows {
    /// Files a row of the entity at a position of the batch, for one reason.
    pub fn reject(
        &self,
        entity: usize,
        row: usize,
        violation: Violation,
        sqlstate: Option<String>,
    ) -> Rejected {
        Rejected {
            delivery: self.deliveries[row],
            entity: Some(entity),
            identity: Identity {
                id: self.ids[row],
                day: self.days[row],
            },
            violations: vec![violation],
            sqlstate,
        }
    }
}

/// A message that goes to quarantine.
pub struct Rejected {
    /// Position in the batch of deliveries.
    pub delivery: usize,
    /// Position of its entity in the domain, if the entity is known.
    pub entity: Option<usize>,
    /// Its identity.
    pub identity: Identity,
    /// Why; never empty.
    pub violations: Vec<Violation>,
    /// PostgreSQL's code when it was PostgreSQL that refused it.
    pub sqlstate: Option<String>,
}

/// Position of the entity with the envelope; or the violations.
type Decoded = Result<(usize, Envelope), (Option<usize>, Vec<Violation>)>;

/// A batch of deliveries of one domain, decoded.
pub struct DecodedBatch {
    /// The domain.
    pub domain: &'static Domain,
    /// Rows per entity, in the domain's order; empty for entities that do not occur.
    pub good: Vec<EntityRows>,
    /// Messages for quarantine.
    pub rejected: Vec<Rejected>,
    /// Unreadable parts of rejected messages, by position in the batch of deliveries.
    pub notes: HashMap<usize, Note>,
    /// Oldest publish time.
    pub oldest: Option<DateTime<Utc>>,
    /// Messages whose publish time cannot be true.
    pub implausible_times: u64,
    /// Span that stages it, as W3C traceparent.
    pub trace: Option<String>,
}

impl DecodedBatch {
    /// An empty batch.
    #[must_use]
    pub fn new(domain: &'static Domain) -> Self {
        Self {
            domain,
            good: domain.entities.iter().map(EntityRows::new).collect(),
            rejected: Vec::new(),
            notes: HashMap::new(),
            oldest: None,
            implausible_times: 0,
            trace: None,
        }
    }

    /// Whether nothing was filed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rejected.is_empty() && self.good.iter().all(|rows| rows.ids.is_empty())
    }

    /// Decodes the delivery at `position` and files it under good or rejected.
    pub fn add(&mut self, position: usize, delivery: &Delivery, queue: &str, context: &Context) {
        let Published {
            at: published,
            implausible,
        } = sent(&delivery.properties).published(context.now);
        self.implausible_times += u64::from(implausible);
        // How long a replay lay in quarantine says nothing about how far we are behind.
        if replay::attempt_of(&delivery.properties) == 0 {
            self.oldest = self.oldest.into_iter().chain(published).min();
        }

        let (entity, violations) = match self.decode_guarded(delivery, context) {
            Ok((entity, envelope)) => {
                let identity = identity(delivery, queue, || envelope.event_id);
                // Of two messages without any time the later arrival wins, inside a batch too.
                let place = i64::try_from(position).unwrap_or(0);
                let arrival = || context.now + TimeDelta::microseconds(place);
                let rows = &mut self.good[entity];
                rows.ids.push(identity.id);
                rows.days.push(identity.day);
                rows.event_at
                    .push(envelope.ts.or(published).unwrap_or_else(arrival));
                rows.published_at.push(published);
                rows.deleted.push(envelope.op == Op::Delete);
                rows.hashes.push(
                    replay::original_hash(&delivery.properties)
                        .unwrap_or_else(|| Some(body_hash(&delivery.data))),
                );
                let known = Some(published.map_or(context.now, |at| at.min(context.now)));
                rows.oldest = rows.oldest.map_or(known, |oldest| known.min(Some(oldest)));
                rows.newest = rows.newest.max(known);
                rows.deliveries.push(position);
                rows.unknown_fields += u64::from(envelope.unknown_fields);
                return;
            }
            Err(bad) => bad,
        };
        self.rejected.push(Rejected {
            delivery: position,
            entity,
            identity: identity(delivery, queue, || event_id_of(delivery)),
            violations,
            sqlstate: None,
        });
    }

    /// Files a delivery that the broker gave up.
    pub fn add_dead(&mut self, position: usize, delivery: &Delivery, queue: &str) {
        // It is who it was in the queue that gave it up.
        let origin = first_death_queue(&delivery.properties);
        let queue = origin.as_deref().unwrap_or(queue);
        self.rejected.push(Rejected {
            delivery: position,
            entity: named_outside(self.domain, delivery)
                .or_else(|| self.domain.position(&entity_of(readable(delivery)?)?)),
            identity: identity(delivery, queue, || event_id_of(delivery)),
            violations: vec![dead_letter::violation(&delivery.properties)],
            sqlstate: None,
        });
    }

    /// Decodes; a decoder that panics has met a message that it was not made for, and the others
    /// of the batch are no worse for it.
    fn decode_guarded(&mut self, delivery: &Delivery, context: &Context) -> Decoded {
        let decode = AssertUnwindSafe(|| {
            failpoint::decode(&delivery.data);
            self.decode(delivery, context)
        });
        catch_unwind(decode).unwrap_or_else(|_| {
            for rows in &mut self.good {
                for values in &mut rows.fields {
                    values.truncate(rows.ids.len());
                }
            }
            let message = "the decoder failed on it: a defect of the worker";
            Err((
                named_outside(self.domain, delivery),
                vec![Violation::body(Code::DecoderFailed, message)],
            ))
        })
    }

    fn decode(&mut self, delivery: &Delivery, context: &Context) -> Decoded {
        let outside = named_outside(self.domain, delivery);
        let body = body_text(&delivery.data).map_err(|violation| (outside, vec![violation]))?;
        let inside = || entity_of(body).and_then(|name| self.domain.position(&name));
        let Some(entity) = outside.or_else(inside) else {
            return Err((None, vec![nameless(body)]));
        };
        let rows = &mut self.good[entity];
        let (kind, fields) = (rows.entity, &mut rows.fields);
        let decoded = match headers::word(&delivery.properties, OP) {
            Some(op) => kind.decode_with_op(body, &op, context, fields),
            None => kind.decode(body, context, fields),
        };
        decoded
            .map(|envelope| (entity, envelope))
            .map_err(|violations| (Some(entity), violations))
    }
}

/// The identity of a message: its AMQP id, else the id in its body, else its content.
fn identity(
    delivery: &Delivery,
    queue: &str,
    event_id: impl FnOnce() -> Option<String>,
) -> Identity {
    named(&delivery.properties)
        .or_else(|| Identity::named(&event_id()?))
        .unwrap_or_else(|| {
            let queue = came_by(delivery, queue);
            let sent = sent(&delivery.properties);
            match headers::word(&delivery.properties, OP) {
                // The same body is another message with this header; `upsert` is as if there were none.
                Some(op) if !matches!(Op::read(&op, OP), Ok(Op::Upsert)) => {
                    let content = [delivery.data.as_slice(), b"\0", op.as_bytes()].concat();
                    Identity::of_content(&queue, sent, &content)
                }
                _ => Identity::of_content(&queue, sent, &delivery.data),
            }
        })
}

/// The id in the body of a message that is not accepted, as far as it can be read.
fn event_id_of(delivery: &Delivery) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Named {
        event_id: Option<String>,
    }
    serde_json::from_str::<Named>(readable(delivery)?)
        .ok()?
        .event_id
}

/// The body as text, unless it is too large to be looked into.
fn readable(delivery: &Delivery) -> Option<&str> {
    let body = &delivery.data;
    (body.len() <= MAX_BODY_BYTES)
        .then(|| std::str::from_utf8(body).ok())
        .flatten()
}

/// The entity named by AMQP type or routing key; the first of them that the domain knows.
pub(super) fn named_outside(domain: &Domain, delivery: &Delivery) -> Option<usize> {
    let kind = delivery.properties.kind().as_ref();
    kind.and_then(|kind| domain.position(kind.as_str()))
        .or_else(|| {
            let key = delivery.routing_key.as_str();
            let entity = key.strip_prefix(domain.name)?.strip_prefix('.')?;
            domain.position(entity)
        })
}
