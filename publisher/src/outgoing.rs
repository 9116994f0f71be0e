//! A message on its way to the broker.

use std::sync::Arc;

use acequia_contracts::Domain;
use lapin::types::ShortString;
use uuid::Uuid;

pub use acequia_net::topology::EXCHANGE;

/// Destination and name of an entity's messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// `<domain>.<entity>`, for counts and reports.
    pub label: String,
    pub(crate) exchange: ShortString,
    pub(crate) routing_key: ShortString,
    /// AMQP `type`; without it the message carries nothing that a reference publisher's lacks.
    pub(crate) kind: Option<ShortString>,
}

impl Route {
    /// Through the platform's exchange, under the name `<domain>.<entity>`.
    ///
    /// An entity that the catalog does not know is sent all the same, and so is a message that
    /// names none (under the domain's name alone): quarantine is where they can be seen.
    /// `None` when the name is longer than AMQP allows.
    #[must_use]
    pub fn topic(domain: &str, entity: Option<&str>) -> Option<Self> {
        let label = match entity {
            Some(entity) => format!("{domain}.{entity}"),
            None => domain.to_owned(),
        };
        let name = ShortString::try_new(label.as_str()).ok()?;
        Some(Self {
            label,
            exchange: EXCHANGE.into(),
            routing_key: name.clone(),
            kind: entity.map(|_| name),
        })
    }

    /// Straight into the queue that the domain keeps for a reference system's publishers, whose
    /// messages name their entity in the body only. `None` when the domain has no such queue.
    #[must_use]
    pub fn legacy(domain: &Domain, entity: &str) -> Option<Self> {
        Some(Self {
            label: format!("{}.{entity}", domain.name),
            exchange: ShortString::default(),
            routing_key: ShortString::try_new(domain.legacy_queue?).ok()?,
            kind: None,
        })
    }

    /// Whether it is a route of [`Route::legacy`].
    #[must_use]
    pub fn is_legacy(&self) -> bool {
        self.kind.is_none() && self.exchange.as_str().is_empty()
    }

    /// The AMQP routing key.
    #[must_use]
    pub fn routing_key(&self) -> &str {
        self.routing_key.as_str()
    }
}

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Its destination.
    pub route: Arc<Route>,
    /// AMQP `message_id`: the same for every attempt and every copy. A legacy message has none, nor has
    /// one whose body names an id of another form: the worker reads that one.
    pub id: Option<Uuid>,
    /// Line that it was read from, from 1; none for a message that was made.
    pub line: Option<u64>,
    /// The bytes.
    pub body: Vec<u8>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_route_is_named_after_domain_and_entity() {
        let route = Route::topic("farm", Some("cow")).unwrap();
        assert_eq!(route.routing_key(), "farm.cow");
        assert_eq!(route.kind.as_ref().unwrap().as_str(), "farm.cow");
        assert_eq!(route.exchange.as_str(), EXCHANGE);

        let nameless = Route::topic("farm", None).unwrap();
        assert_eq!(nameless.routing_key(), "farm");
        assert_eq!(nameless.kind, None);
        assert_eq!(Route::topic("farm", Some(&"x".repeat(251))), None);
    }

    #[test]
    fn a_legacy_route_needs_a_legacy_queue() {
        let farm = Domain::new("farm");
        assert_eq!(Route::legacy(&farm, "cow"), None);
        let route = Route::legacy(&farm.legacy_queue("old_farm"), "cow").unwrap();
        assert!(route.is_legacy());
        assert_eq!(route.routing_key(), "old_farm");
    }
}
