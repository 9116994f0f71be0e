//! Turns a quarantine row back into a message: exchange, routing key, identity, and
//! properties.

use acequia_contracts::Code;
use acequia_contracts::envelope::{
    ATTEMPT, Identity, ORIGIN, PUBLISHED_AT, RAW, REBUILT, Sent, body_digest,
};
use acequia_net::headers;
use acequia_net::properties as list;
use acequia_net::topology::{DEAD_QUEUE, EXCHANGE, queue_of};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldArray, FieldTable, LongString, ShortString};
use serde_json::{Map, Value};
use uuid::Uuid;

/// Headers that belong to one delivery and not to the message, and those that would send copies
/// elsewhere.
const STRIPPED: [&str; 4] = ["x-delivery-count", "x-acquired-count", "CC", "BCC"];
const STRIPPED_PREFIXES: [&str; 4] = ["x-death", "x-first-death-", "x-last-death-", "x-acequia-"];

/// The columns of a row of `raw.quarantine` that a replay needs.
#[derive(Debug, Clone, sqlx_macros::FromRow)]
pub struct Quarantined {
    /// Number of the row.
    pub quarantine_id: i64,
    /// Identity of the row.
    pub message_id: Uuid,
    /// Identity of the message, when it is not that of the row.
    pub identity: Option<Uuid>,
    /// Code of the reason.
    pub code: String,
    /// Domain.
    pub domain: String,
    /// Entity, if it is known.
    pub entity: Option<String>,
    /// Queue it came from.
    pub queue: String,
    /// Properties as they were kept.
    pub properties: Value,
    /// First arrival.
    pub received_at: DateTime<Utc>,
    /// Replays so far.
    pub replays: i32,
    /// The newest version of the body.
    pub body: Vec<u8>,
}

/// Destination of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Exchange; empty for straight into a queue.
    pub exchange: String,
    /// Routing key, or the queue.
    pub key: String,
}

impl Quarantined {
    /// Where it came in: through the exchange under its routing key, or straight into its queue.
    #[must_use]
    pub fn route(&self) -> Route {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let headers = &self.properties["headers"];
        // The broker notes the newest death first; the last one tells how it was published.
        let death = headers["x-death"].as_array().and_then(|all| all.last());
        let (exchange, key) = match death {
            Some(death) => (text(&death["exchange"]), text(&death["routing-keys"][0])),
            None => (
                text(&self.properties["exchange"]),
                text(&self.properties["routing_key"]),
            ),
        };
        // A key that could not be read whole leads nowhere: then straight into the queue.
        if exchange == EXCHANGE && !key.is_empty() && !key.contains(char::REPLACEMENT_CHARACTER) {
            return Route { exchange, key };
        }
        // A body that was rebuilt has no way it came by.
        if let (None, Some(entity)) = (self.properties.get("exchange"), &self.entity) {
            return Route {
                exchange: EXCHANGE.to_owned(),
                key: format!("{}.{entity}", self.domain),
            };
        }
        let queue = if self.queue == DEAD_QUEUE {
            match headers["x-first-death-queue"].as_str() {
                Some(queue) if queue != DEAD_QUEUE => queue.to_owned(),
                _ => queue_of(&self.domain),
            }
        } else {
            self.queue.clone()
        };
        Route {
            exchange: String::new(),
            key: queue,
        }
    }

    /// Its properties again: same identity, same publish time, nothing of its former deliveries. What
    /// cannot be read of them cannot be sent either: see [`Quarantined::left_out`].
    ///
    /// The user id is left out: the broker would insist that it is ours.
    #[must_use]
    pub fn properties(&self) -> BasicProperties {
        let kept = match self.list() {
            Some(list) => list::read(&list).0,
            None => self.retold(),
        };
        let mut headers = FieldTable::default();
        for (name, value) in kept.headers().iter().flat_map(FieldTable::inner) {
            if !is_stripped(name.as_str()) {
                headers.insert(name.clone(), value.clone());
            }
        }
        let mut properties = with_texts(|name| match name {
            "content_type" => kept.content_type().clone(),
            "content_encoding" => kept.content_encoding().clone(),
            "correlation_id" => kept.correlation_id().clone(),
            "reply_to" => kept.reply_to().clone(),
            "expiration" => kept.expiration().clone(),
            "type" => kept.kind().clone(),
            "app_id" => kept.app_id().clone(),
            _ => None,
        });
        if let Some(seconds) = *kept.timestamp() {
            properties = properties.with_timestamp(seconds);
        }
        if let Some(priority) = *kept.priority() {
            properties = properties.with_priority(priority);
        }
        // Without any time of its own a message happened when it arrived: then, not now.
        let timed = properties.clone().with_headers(headers.clone());
        let sent = Sent {
            header: headers::integer(&timed, PUBLISHED_AT),
            timestamp: *timed.timestamp(),
        };
        if sent.published(self.received_at).at.is_none() {
            let micros = AMQPValue::LongLongInt(self.received_at.timestamp_micros());
            headers.insert(PUBLISHED_AT.into(), micros);
        }
        headers.insert(ATTEMPT.into(), AMQPValue::LongInt(self.replays + 1));
        headers.insert(ORIGIN.into(), AMQPValue::LongLongInt(self.quarantine_id));
        if self.properties["rebuilt"] == true {
            let hash = self.properties["body_hash"].as_i64();
            let hash = hash.map_or(AMQPValue::Void, AMQPValue::LongLongInt);
            headers.insert(REBUILT.into(), hash);
        }
        properties
            .with_delivery_mode(2)
            .with_message_id(self.id())
            .with_headers(headers)
    }

    /// Names of the properties that cannot be read, and so cannot be sent again.
    #[must_use]
    pub fn left_out(&self) -> Vec<String> {
        let unreadable = self.properties["unreadable"].as_array();
        unreadable
            .into_iter()
            .flatten()
            .filter_map(|one| Some(one["path"].as_str()?.to_owned()))
            .collect()
    }

    /// The property list as it came; rows of earlier versions, and rebuilt ones, do not have it.
    fn list(&self) -> Option<Vec<u8>> {
        STANDARD.decode(self.properties[RAW].as_str()?).ok()
    }

    /// The properties rebuilt from JSON: headers keep their values, numbers and texts perhaps
    /// in another width.
    fn retold(&self) -> BasicProperties {
        let text = |name: &str| ShortString::try_new(self.properties[name].as_str()?).ok();
        let mut properties = with_texts(text);
        if let Some(seconds) = self.properties["timestamp"].as_u64() {
            properties = properties.with_timestamp(seconds);
        }
        match self.properties["headers"].as_object() {
            Some(headers) => properties.with_headers(table(headers)),
            None => properties,
        }
    }

    /// The id it had, if that still leads to its identity; else the identity itself, which was
    /// made of what may be edited. A message whose id another one has is sent under an id of its
    /// own: under the old one it would be refused again.
    fn id(&self) -> ShortString {
        if self.code == Code::IdReused.as_str() {
            let shared = Identity::of_text(&self.message_id.to_string());
            let own = || {
                let digest = body_digest(&self.body);
                Identity::of_row(&self.domain, self.entity.as_deref(), shared, digest).id
            };
            let id = self.identity.map_or_else(own, |_| self.message_id);
            return id.to_string().into();
        }
        let identity = self.identity.unwrap_or(self.message_id);
        let given = self.properties["message_id"].as_str();
        given
            .filter(|id| Identity::of_text(id).id == identity)
            .and_then(|id| ShortString::try_new(id).ok())
            .unwrap_or_else(|| identity.to_string().into())
    }
}

/// Properties with those texts that there are.
fn with_texts(text: impl Fn(&str) -> Option<ShortString>) -> BasicProperties {
    type Set = fn(BasicProperties, ShortString) -> BasicProperties;
    let all: [(&str, Set); 7] = [
        ("content_type", BasicProperties::with_content_type),
        ("content_encoding", BasicProperties::with_content_encoding),
        ("correlation_id", BasicProperties::with_correlation_id),
        ("reply_to", BasicProperties::with_reply_to),
        ("expiration", BasicProperties::with_expiration),
        ("type", BasicProperties::with_type),
        ("app_id", BasicProperties::with_app_id),
    ];
    let texts = all
        .into_iter()
        .filter_map(|(name, set)| Some((text(name)?, set)));
    texts.fold(BasicProperties::default(), |properties, (text, set)| {
        set(properties, text)
    })
}

fn table(fields: &Map<String, Value>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, field) in fields {
        // A name that grew too long when it was kept (U+0000) is not worth the message.
        if let Ok(name) = ShortString::try_new(name.as_str()) {
            table.insert(name, value(field));
        }
    }
    table
}

fn is_stripped(header: &str) -> bool {
    STRIPPED.contains(&header)
        || STRIPPED_PREFIXES
            .iter()
            .any(|start| header.starts_with(start))
}

fn value(json: &Value) -> AMQPValue {
    match json {
        Value::Null => AMQPValue::Void,
        Value::Bool(flag) => AMQPValue::Boolean(*flag),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), _, _) => AMQPValue::LongLongInt(number),
            (_, Some(number), _) => AMQPValue::Timestamp(number),
            (_, _, number) => AMQPValue::Double(number.unwrap_or_default()),
        },
        Value::String(text) => AMQPValue::LongString(LongString::from(text.as_str())),
        Value::Array(items) => AMQPValue::FieldArray(FieldArray::from(
            items.iter().map(value).collect::<Vec<_>>(),
        )),
        Value::Object(fields) => AMQPValue::FieldTable(table(fields)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn row(queue: &str, properties: Value) -> Quarantined {
        Quarantined {
            quarantine_id: 17,
            message_id: Identity::of_text("order-17").id,
            identity: None,
            code: "orphan".to_owned(),
            domain: "shop".to_owned(),
            entity: Some("order".to_owned()),
            queue: queue.to_owned(),
            properties,
            received_at: DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
            replays: 1,
            body: Vec::new(),
        }
    }

    fn route(queue: &str, properties: Value) -> (String, String) {
        let route = row(queue, properties).route();
        (route.exchange, route.key)
    }

    #[test]
    fn a_message_goes_where_it_came_in() {
        let to = |exchange: &str, key: &str| (exchange.to_owned(), key.to_owned());
        let through = json!({"exchange": EXCHANGE, "routing_key": "shop.order"});
        assert_eq!(route("acequia.shop", through), to(EXCHANGE, "shop.order"));
        let straight = json!({"exchange": "", "routing_key": "legacy"});
        assert_eq!(route("legacy", straight), to("", "legacy"));
        let foreign = json!({"exchange": "theirs", "routing_key": "anything"});
        assert_eq!(route("acequia.shop", foreign), to("", "acequia.shop"));
        let rebuilt = json!({"message_id": "1", "rebuilt": true});
        assert_eq!(route("acequia.shop", rebuilt), to(EXCHANGE, "shop.order"));
    }

    #[test]
    fn a_dead_letter_goes_where_it_came_in_before_it_died() {
        let dead = |deaths: Value| {
            let headers = json!({"x-death": deaths, "x-first-death-queue": "acequia.shop"});
            json!({"exchange": "", "routing_key": DEAD_QUEUE, "headers": headers})
        };
        let through = dead(json!([{"exchange": EXCHANGE, "routing-keys": ["shop.order"]}]));
        assert_eq!(
            route(DEAD_QUEUE, through),
            (EXCHANGE.to_owned(), "shop.order".to_owned())
        );
        let straight = dead(json!([{"exchange": "", "routing-keys": ["acequia.shop"]}]));
        let queue = (String::new(), "acequia.shop".to_owned());
        assert_eq!(route(DEAD_QUEUE, straight), queue);
        let of_nobody = json!({"exchange": "", "routing_key": DEAD_QUEUE});
        assert_eq!(route(DEAD_QUEUE, of_nobody), queue);
    }

    #[test]
    fn identity_and_time_stay_and_deliveries_are_forgotten() {
        let row = row(
            "acequia.shop",
            json!({"message_id": "order-17", "type": "order", "user_id": "somebody", "headers": {
                "x-death": [], "x-first-death-reason": "expired", "x-delivery-count": 3, "CC": ["a"],
                "x-acequia-replay": 1, "x-published-at": 1_600_000_000_000_000_i64, "mine": {"deep": [1.5, null, true]}}}),
        );
        let properties = row.properties();
        assert_eq!(
            properties.message_id().as_ref().unwrap().as_str(),
            "order-17"
        );
        assert_eq!(properties.user_id(), &None);
        assert_eq!(headers::integer(&properties, ATTEMPT), Some(Some(2)));
        let headers = properties.headers().as_ref().unwrap().inner();
        let names: Vec<_> = headers.keys().map(ShortString::as_str).collect();
        assert_eq!(names, ["mine", ORIGIN, ATTEMPT, PUBLISHED_AT]);
        let time = AMQPValue::LongLongInt(1_600_000_000_000_000);
        assert_eq!(headers.get(PUBLISHED_AT), Some(&time));
    }

    #[test]
    fn without_an_id_the_identity_is_the_id_and_without_a_time_the_arrival_is_the_time() {
        for id in [json!({}), json!({"message_id": "another"})] {
            let row = row("acequia.shop", id);
            let properties = row.properties();
            assert_eq!(
                Identity::named(properties.message_id().as_ref().unwrap().as_str()),
                Some(Identity::of_text(&row.message_id.to_string()))
            );
            let micros = row.received_at.timestamp_micros();
            assert_eq!(
                headers::integer(&properties, PUBLISHED_AT),
                Some(Some(micros))
            );
        }
    }
}
