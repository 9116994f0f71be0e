//! The permit to write, which also decides how long a batch is collected.

use tokio::sync::{Semaphore, SemaphorePermit};

/// The permit to write: one batch at a time.
#[derive(Debug)]
pub struct WritePermit {
    free: Semaphore,
}

impl WritePermit {
    /// Free, and nothing was written yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            free: Semaphore::const_new(1),
        }
    }

    /// Waits until the batch before is written.
    ///
    /// # Errors
    /// Never: it is not closed.
    pub async fn take(&self) -> anyhow::Result<SemaphorePermit<'_>> {
        Ok(self.free.acquire().await?)
    }

    /// Whether no batch is being written.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.free.available_permits() > 0
    }
}

impl Default for WritePermit {
    fn default() -> Self {
        Self::new()
    }
}
