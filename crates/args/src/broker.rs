//! Addresses of RabbitMQ and its management.

use std::path::PathBuf;

use acequia_net::{AllowPlaintext, BrokerTls, SecretUrl, broker};
use anyhow::Context;
use clap::Args;

/// Where RabbitMQ is.
#[derive(Clone, Args)]
pub struct BrokerArgs {
    /// RabbitMQ: amqp://user:password@host:port/vhost, or amqps:// with TLS
    #[arg(long, env = "AMQP_URL", hide_env_values = true, value_name = "URL")]
    amqp_url: Option<String>,
    /// File that holds the URL, instead of AMQP_URL; read again for each connection
    #[arg(long, env = "AMQP_URL_FILE", value_name = "FILE")]
    amqp_url_file: Option<PathBuf>,
    #[command(flatten)]
    tls: BrokerTls,
    #[command(flatten)]
    plaintext: AllowPlaintext,
}

impl std::fmt::Debug for BrokerArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BrokerArgs").finish_non_exhaustive()
    }
}

impl BrokerArgs {
    /// The URL, if the option, the variable or the file is given.
    ///
    /// # Errors
    /// Same as [`BrokerArgs::url`].
    pub fn given(&self) -> anyhow::Result<Option<SecretUrl>> {
        let text = self.amqp_url.as_deref().filter(|text| !text.is_empty());
        if text.is_none() && self.amqp_url_file.is_none() {
            return Ok(None);
        }
        self.url().map(Some)
    }

    /// The URL from the option, the variable or the file.
    ///
    /// # Errors
    /// When none is given, a file cannot be read, it is no AMQP URL, or it leads to another
    /// machine without TLS.
    pub fn url(&self) -> anyhow::Result<SecretUrl> {
        const NAME: &str = "AMQP_URL";
        let url = SecretUrl::from_setting(
            self.amqp_url.as_deref(),
            self.amqp_url_file.as_deref(),
            NAME,
            "amqp://app:password@127.0.0.1:5672/%2f",
            broker::SCHEMES,
        )?;
        let url = url
            .with_tls(self.tls.clone().into())
            .with_plaintext(self.plaintext.0);
        broker::check(&url).context(NAME)?;
        Ok(url)
    }
}

/// Where the broker's management is.
#[derive(Clone, Default, Args)]
pub struct ManagementArgs {
    /// Management of RabbitMQ: http://user:password@host:15672, to look at the members of queues; without
    /// a user, that of AMQP_URL
    #[arg(
        long,
        env = "RABBITMQ_MANAGEMENT_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    management_url: Option<String>,
}

impl std::fmt::Debug for ManagementArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ManagementArgs").finish_non_exhaustive()
    }
}

impl ManagementArgs {
    /// The URL, if there is one.
    ///
    /// # Errors
    /// When it is no URL of HTTP.
    pub fn url(&self) -> anyhow::Result<Option<SecretUrl>> {
        let given = self.management_url.as_deref();
        given
            .filter(|url| !url.is_empty())
            .map(|url| SecretUrl::parse(url, &["http", "https"]))
            .transpose()
            .context("RABBITMQ_MANAGEMENT_URL, for example http://user:password@127.0.0.1:15672")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        broker: BrokerArgs,
        #[command(flatten)]
        management: ManagementArgs,
    }

    fn parse(options: &[&str]) -> Program {
        Program::try_parse_from(["x"].iter().chain(options)).unwrap()
    }

    #[test]
    fn a_broker_is_given_or_not_and_is_never_reached_in_plain_text_by_chance() {
        let none = parse(&["--amqp-url", ""]);
        assert!(none.broker.given().unwrap().is_none());
        assert!(none.broker.url().is_err());
        let here = parse(&["--amqp-url", "amqp://u:s3cret@127.0.0.1:5672/%2f"]);
        assert!(here.broker.given().unwrap().is_some());
        let away = parse(&["--amqp-url", "amqp://u:s3cret@mq:5672/%2f"]);
        let error = format!("{:#}", away.broker.given().unwrap_err());
        assert!(
            error.contains("AMQP_URL") && error.contains("ALLOW_PLAINTEXT"),
            "{error}"
        );
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[test]
    fn management_speaks_http() {
        assert!(parse(&[]).management.url().unwrap().is_none());
        let url = |url| parse(&["--management-url", url]).management.url();
        assert!(url("http://127.0.0.1:15672").unwrap().is_some());
        assert!(url("amqp://127.0.0.1").is_err());
    }
}
