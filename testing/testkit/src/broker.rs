//! A virtual host for one test, through RabbitMQ's management interface.

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use url::Url;

use crate::Services;

/// A virtual host and a user of its own: tests do not see each other's queues and connections.
#[derive(Debug, Clone)]
pub struct VirtualHost {
    /// Its name, and the name of its user.
    pub name: String,
    /// AMQP address.
    pub url: String,
    management: Url,
    authorization: String,
}

impl VirtualHost {
    /// A new virtual host.
    ///
    /// # Errors
    /// When the broker refuses.
    pub async fn create(services: &Services) -> anyhow::Result<Self> {
        let name = format!("test-{}", uuid::Uuid::now_v7().simple());
        let password = services.var("RABBITMQ_PASSWORD")?;
        let administrator = format!("{}:{password}", services.var("RABBITMQ_USER")?);
        let mut url: Url = services.var("AMQP_URL")?.parse()?;
        url.set_path(&name);
        url.set_username(&name)
            .map_err(|()| anyhow::anyhow!("address of the broker"))?;
        let host = Self {
            authorization: format!("Basic {}", STANDARD.encode(administrator)),
            name,
            url: url.into(),
            management: services.var("RABBITMQ_MANAGEMENT_URL")?.parse()?,
        };
        let name = host.name.as_str();
        let user = json!({"password": password, "tags": ""});
        let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
        host.call("PUT", &["vhosts", name], Some(json!({}))).await?;
        host.call("PUT", &["users", name], Some(user)).await?;
        host.call("PUT", &["permissions", name, name], Some(all))
            .await?;
        Ok(host)
    }

    /// Closes every connection to this virtual host; returns how many there were.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn close_connections(&self) -> anyhow::Result<usize> {
        // Connections of a user are known at once, those of a virtual host seconds later.
        let path = ["connections", "username", &self.name];
        let connections = self.call("GET", &path, None).await?;
        self.call("DELETE", &path, None).await?;
        Ok(connections.as_array().map_or(0, Vec::len))
    }

    /// Deletes a queue with its messages.
    ///
    /// # Errors
    /// When there is no such queue.
    pub async fn delete_queue(&self, queue: &str) -> anyhow::Result<()> {
        self.call("DELETE", &["queues", &self.name, queue], None)
            .await?;
        Ok(())
    }

    /// A call of the management interface: `/api/` and the given segments.
    ///
    /// # Errors
    /// When the broker does not answer or answers with an error.
    pub async fn call(
        &self,
        method: &'static str,
        path: &[&str],
        body: Option<Value>,
    ) -> anyhow::Result<Value> {
        let mut url = self.management.clone();
        url.path_segments_mut()
            .map_err(|()| anyhow::anyhow!("management address"))?
            .pop_if_empty()
            .push("api")
            .extend(path);
        let authorization = self.authorization.clone();
        tokio::task::spawn_blocking(move || request(method, &url, &authorization, body.as_ref()))
            .await?
            .with_context(|| format!("{method} {}", path.join("/")))
    }
}

fn request(
    method: &str,
    url: &Url,
    authorization: &str,
    body: Option<&Value>,
) -> anyhow::Result<Value> {
    let url = url.as_str();
    let mut response = match (method, body) {
        ("PUT", Some(body)) => ureq::put(url)
            .header("authorization", authorization)
            .send_json(body)?,
        ("POST", Some(body)) => ureq::post(url)
            .header("authorization", authorization)
            .send_json(body)?,
        ("DELETE", _) => ureq::delete(url)
            .header("authorization", authorization)
            .call()?,
        _ => ureq::get(url)
            .header("authorization", authorization)
            .call()?,
    };
    let text = response.body_mut().read_to_string()?;
    Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
}
