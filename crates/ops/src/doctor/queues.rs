//! Checks the arguments of the queues.

use acequia_net::topology::{self, DEAD_QUEUE, Mismatch, NO_LIMIT};
use lapin::Connection;
use serde::Deserialize;
use serde_json::Value;

use super::failover::{Management, of_vhost};
use super::finding::{Findings, Verdict, said};

/// A queue, as the broker's management shows it.
#[derive(Debug, Deserialize)]
struct Queue {
    /// An object, or an empty list where no policy holds.
    #[serde(default)]
    effective_policy_definition: Value,
}

/// Declaring a queue that is there changes nothing, and tells whether its arguments are those it
/// should have.
pub(super) async fn arguments_of(
    connection: &Connection,
    management: Option<Management<'_>>,
    queue: &str,
    findings: &mut Findings,
) {
    let check = format!("arguments of {queue}");
    match topology::declare_queue(connection, queue).await {
        Ok(None) => findings.add(&check, Verdict::Ok, "as they should be", ""),
        Ok(Some(other)) => {
            if lifted_by_policy(management, &other).await {
                let found = "without x-delivery-limit, but a policy raises it";
                findings.add(&check, Verdict::Ok, found, "");
                return;
            }
            // Dead letters are taken all the same; another queue is not consumed from.
            let verdict = if queue == DEAD_QUEUE {
                Verdict::Warn
            } else {
                Verdict::Fail
            };
            let remedy = other.remedy();
            findings.add(&check, verdict, other.difference, &remedy);
        }
        Err(error) => findings.add(
            &check,
            Verdict::Warn,
            said(&error),
            "Give the worker's user the right to configure its queues: it declares them at each start.",
        ),
    }
}

/// Whether all that the queue of dead letters lacks is a limit, and a policy gives it one.
async fn lifted_by_policy(management: Option<Management<'_>>, other: &Mismatch) -> bool {
    let Some(management) = management else {
        return false;
    };
    if other.queue != DEAD_QUEUE || !other.difference.contains("'x-delivery-limit'") {
        return false;
    }
    let queue: anyhow::Result<Queue> = of_vhost(management, &["queues"], &[&other.queue]).await;
    queue.is_ok_and(|queue| {
        let limit = queue.effective_policy_definition["delivery-limit"].as_i64();
        limit.is_some_and(|limit| limit >= NO_LIMIT)
    })
}
