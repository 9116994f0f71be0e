//! Publishes messages and returns the broker's answer to each.

use acequia_net::SecretUrl;
use acequia_net::confirms::{Answer, Confirming, Mandatory};
use lapin::types::ShortString;

use super::message::Quarantined;

/// The broker's answer to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A queue has it, on disk.
    Confirmed,
    /// It did not take it; why.
    Refused(String),
    /// The broker was lost before it answered.
    Unknown,
}

/// A connection that publishes.
pub struct Sender(Confirming);

impl Sender {
    /// Connects under a name that the broker shows.
    ///
    /// # Errors
    /// When the broker does not answer or refuses.
    pub async fn connect(url: &SecretUrl, name: &str) -> anyhow::Result<Self> {
        Confirming::open(url, name).await.map(Self)
    }

    /// Publishes messages and waits for what becomes of them, in their order. With an error the broker
    /// was lost on the way, and nothing more can be sent.
    pub async fn send(&self, messages: &[Quarantined]) -> (Vec<Outcome>, anyhow::Result<()>) {
        let (mut wave, mut outcomes) = (Vec::new(), Vec::with_capacity(messages.len()));
        let mut places = Vec::new();
        for message in messages {
            let route = message.route();
            outcomes.push(match (short(&route.exchange), short(&route.key)) {
                (Some(exchange), Some(key)) => {
                    places.push(outcomes.len());
                    wave.push(Mandatory {
                        exchange,
                        key,
                        properties: message.properties(),
                        body: message.body.clone(),
                    });
                    Outcome::Unknown
                }
                _ => Outcome::Refused("its routing key is longer than 255 bytes".to_owned()),
            });
        }
        let (answers, sent) = self.0.publish(&wave).await;
        for ((place, answer), message) in places.into_iter().zip(answers).zip(&wave) {
            outcomes[place] = match answer {
                Answer::Confirmed => Outcome::Confirmed,
                Answer::Returned => Outcome::Refused(format!(
                    "no queue takes it: exchange '{}', routing key '{}'",
                    message.exchange, message.key
                )),
                Answer::Refused => Outcome::Refused("the broker refused it".to_owned()),
                Answer::Unknown => Outcome::Unknown,
            };
        }
        (outcomes, sent)
    }

    /// Closes the connection.
    pub async fn close(self) {
        self.0.close().await;
    }
}

/// A name of AMQP, which has at most 255 bytes.
fn short(text: &str) -> Option<ShortString> {
    ShortString::try_new(text).ok()
}
