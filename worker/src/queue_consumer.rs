//! The queues that are consumed.

use acequia_contracts::Domain;
use acequia_net::topology::{DEAD_QUEUE, DomainQueues};

/// The queues of domains, as they are declared.
#[must_use]
pub fn queues_of(domains: &[&'static Domain]) -> Vec<DomainQueues<'static>> {
    let queues = domains.iter().map(|domain| DomainQueues {
        domain: domain.name,
        legacy: domain.legacy_queue,
    });
    queues.collect()
}

/// A queue and how its messages are read.
#[derive(Debug, Clone)]
pub struct QueueConsumer {
    /// Name of the queue.
    pub queue: String,
    /// Domain of its messages; `None` for the queue of messages that the broker gave up.
    pub domain: Option<&'static Domain>,
}

impl QueueConsumer {
    /// The lanes of some domains, and the one of dead letters.
    #[must_use]
    pub fn of(domains: &[&'static Domain]) -> Vec<Self> {
        let mut lanes = vec![Self {
            queue: DEAD_QUEUE.to_owned(),
            domain: None,
        }];
        for (domain, queues) in domains.iter().zip(queues_of(domains)) {
            lanes.extend(queues.names().map(|queue| Self {
                queue,
                domain: Some(domain),
            }));
        }
        lanes
    }

    /// The domain, if the queue is the one that a reference system's publishers use. Such queues
    /// do not count deliveries.
    #[must_use]
    pub fn legacy_of(&self) -> Option<&'static Domain> {
        self.domain
            .filter(|domain| domain.legacy_queue == Some(self.queue.as_str()))
    }
}
