//! The deliver loop: what the core has to tell, from `core.outbox` to the broker.
//!
//! A merge writes its messages in its own transaction, so there is one for each reason and none without.
//! This loop publishes them and marks them when the broker has confirmed. A crash between the two
//! publishes a message again, under the same id.

use acequia_contracts::Domain;
use anyhow::Context as _;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, Connection};
use sqlx::{Connection as _, FromRow, PgConnection};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::amqp::{ALERTS, answer, connect, declare_alerts};
use crate::failpoint;
use crate::run::Shared;
use crate::worker_loop::{Step, Work};

/// Most messages that are published in one transaction.
const MOST: i32 = 1000;

/// A message that waits.
#[derive(Debug, FromRow)]
struct Waiting {
    id: i64,
    message_id: Uuid,
    routing_key: String,
    body: String,
}

/// The deliver loop of one domain, with its connection to the broker, which is made when there is
/// something to tell.
#[derive(Default)]
pub struct Deliver {
    broker: Mutex<Option<(Connection, Channel)>>,
}

impl Deliver {
    /// Publishes messages in their order and waits until the broker has all of them.
    async fn publish(&self, waiting: &[Waiting], shared: &Shared) -> anyhow::Result<()> {
        let mut broker = self.broker.lock().await;
        let (connection, channel) = match broker.take() {
            Some(open) if open.1.status().connected() => open,
            _ => {
                let connection = connect(&shared.broker, "deliver").await?;
                declare_alerts(&connection).await?;
                let channel = answer(connection.create_channel()).await?;
                answer(channel.confirm_select(ConfirmSelectOptions::default())).await?;
                (connection, channel)
            }
        };
        let mut confirms = Vec::with_capacity(waiting.len());
        for message in waiting {
            let properties = BasicProperties::default()
                .with_message_id(message.message_id.to_string().into())
                .with_type(message.routing_key.as_str().into())
                .with_content_type("application/json".into())
                .with_delivery_mode(2);
            // Not mandatory: nobody needs to listen.
            let publish = channel.basic_publish(
                ALERTS.into(),
                message.routing_key.as_str().into(),
                BasicPublishOptions::default(),
                message.body.as_bytes(),
                properties,
            );
            confirms.push(answer(publish).await.context("publishing")?);
        }
        for confirm in confirms {
            let confirmed = answer(confirm).await.context("waiting for confirms")?;
            anyhow::ensure!(
                matches!(confirmed, Confirmation::Ack(_)),
                "the broker refused a message"
            );
        }
        // Kept only when all went well: what is left of a failed attempt belongs to nobody.
        *broker = Some((connection, channel));
        Ok(())
    }
}

impl Work for Deliver {
    const NAME: &'static str = "deliver";

    async fn step(
        &self,
        connection: &mut PgConnection,
        domain: &'static Domain,
        shared: &Shared,
    ) -> sqlx::Result<Step> {
        // Rows that another process is publishing are passed over, not waited for.
        let mut transaction = connection.begin().await?;
        let waiting: Vec<Waiting> = sqlx::query_as("select * from core.outbox_take($1, $2)")
            .bind(domain.name)
            .bind(MOST)
            .fetch_all(&mut *transaction)
            .await?;
        if waiting.is_empty() {
            transaction.rollback().await?;
            return Ok(Step::Idle(shared.settings.poll_every));
        }
        // For this loop the broker is a dependency as the database is: down, and waited for.
        self.publish(&waiting, shared).await.map_err(|error| {
            sqlx::Error::Io(std::io::Error::other(format!("broker: {error:#}")))
        })?;
        failpoint::after_confirms();
        let ids: Vec<i64> = waiting.iter().map(|message| message.id).collect();
        sqlx::query("select core.outbox_published($1)")
            .bind(&ids)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        shared.metrics.outbox.published(domain.name, ids.len());
        Ok(Step::Again)
    }
}
