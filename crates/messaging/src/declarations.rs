//! Exchanges and queues of a process: declared by the lane that connects first, for all of them.

use acequia_net::topology::{DomainQueues, Mismatch, declare};
use lapin::Connection;
use tokio::sync::Mutex;

/// The queues of a process, and whether they are declared.
#[derive(Debug)]
pub struct Declarations {
    queues: Vec<DomainQueues<'static>>,
    /// The queues that are there with other arguments, once all are declared.
    declared: Mutex<Option<Vec<Mismatch>>>,
}

impl Declarations {
    /// Nothing is declared yet.
    #[must_use]
    pub fn new(queues: Vec<DomainQueues<'static>>) -> Self {
        Self {
            queues,
            declared: Mutex::default(),
        }
    }

    /// Declares all queues unless another lane has done so, or is doing it: then this waits for its answer.
    ///
    /// # Errors
    /// Same as [`declare`]; the next lane tries again.
    pub(crate) async fn by(&self, connection: &Connection) -> anyhow::Result<Vec<Mismatch>> {
        let mut declared = self.declared.lock().await;
        if let Some(others) = declared.as_ref() {
            return Ok(others.clone());
        }
        let others = declare(connection, &self.queues).await?;
        Ok(declared.insert(others).clone())
    }

    /// Has the next lane declare everything again: one was lost, perhaps because the broker lost its queue.
    pub async fn forget(&self) {
        *self.declared.lock().await = None;
    }
}
