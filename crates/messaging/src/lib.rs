//! The AMQP side of the loops: takes messages of a queue in batches and settles them, and publishes messages in the
//! order of their keys. The caller knows what the messages mean and where they are written.

mod ack_handle;
mod batch;
mod broker_probe;
mod collect;
mod declarations;
mod disconnect;
mod in_flight;
pub mod look;
mod permit;
pub mod relay;
mod republish;
mod source;
mod window;

use std::time::Duration;

pub use ack_handle::AckHandle;
pub use batch::{Batch, Ended, FLUSHED_BY};
pub use declarations::Declarations;
pub use disconnect::{DisconnectReason, INTERRUPTED_BY, Refused, is_of_the_queue};
pub use in_flight::Flow;
pub use permit::WritePermit;
pub use source::{ConsumerSettings, Instruments, Source};
pub use window::{Sizes, Window};

/// A consumer that ran for at least this long resets the backoff. A lane whose queue is empty has no
/// other success to show.
pub const STEADY: Duration = Duration::from_secs(1);
