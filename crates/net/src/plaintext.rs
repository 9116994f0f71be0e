//! Plain text over a network: refused unless the operator allows it.

use anyhow::bail;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::{SecretUrl, is_loopback};

const ID: &str = "allow_plaintext";

/// The option `--allow-plaintext`, or `ALLOW_PLAINTEXT=true`. Several groups of options of a
/// command may have it: it is one and the same for all its servers.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllowPlaintext(pub bool);

impl FromArgMatches for AllowPlaintext {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(matches.get_flag(ID)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0 = matches.get_flag(ID);
        Ok(())
    }
}

impl Args for AllowPlaintext {
    fn augment_args(command: Command) -> Command {
        if command
            .get_arguments()
            .any(|argument| argument.get_id() == ID)
        {
            return command;
        }
        command.arg(
            Arg::new(ID)
                .long("allow-plaintext")
                .env("ALLOW_PLAINTEXT")
                .action(ArgAction::SetTrue)
                .help("Allow connections without TLS to other machines, as in a private network"),
        )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// Refuses plain text to another machine unless the operator allows it.
///
/// # Errors
/// When it is not allowed; the text says what to do: `instead` names the way with TLS.
pub fn refuse_plaintext(url: &SecretUrl, host: &str, instead: &str) -> anyhow::Result<()> {
    if url.may_be_plaintext() || is_loopback(host) {
        return Ok(());
    }
    bail!(
        "refused: passwords and data would reach {host} in plain text, or without a check who \
         answers. {instead}; or, in a private network, set ALLOW_PLAINTEXT=true"
    )
}

/// Checks the URL of an HTTP server; `plaintext` says whether the operator allows connections without
/// TLS to other machines.
///
/// # Errors
/// When it is no HTTP URL, or plain text to another machine that is not allowed.
pub fn allow_http(url: &str, plaintext: bool) -> anyhow::Result<()> {
    let secure = url.starts_with("https");
    let url = SecretUrl::parse(url, &["http", "https"])?.with_plaintext(plaintext);
    if secure {
        return Ok(());
    }
    let host = url.expose()?.host_str().unwrap_or_default().to_owned();
    refuse_plaintext(&url, &host, "Use https://")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn http_is_for_this_machine_unless_allowed() {
        assert!(allow_http("http://127.0.0.1:4318", false).is_ok());
        assert!(allow_http("https://collector:4318", false).is_ok());
        assert!(allow_http("http://collector:4318", true).is_ok());
        let error = allow_http("http://u:s3cret@collector:4318", false).unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.contains("Use https://") && !text.contains("s3cret"),
            "{text}"
        );
        assert!(allow_http("ftp://collector", false).is_err());
    }

    #[derive(clap::Args)]
    struct One {
        #[command(flatten)]
        plaintext: AllowPlaintext,
    }

    #[derive(clap::Args)]
    struct Other {
        #[command(flatten)]
        plaintext: AllowPlaintext,
    }

    #[derive(clap::Parser)]
    struct Both {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        other: Other,
    }

    #[test]
    fn the_option_holds_for_every_group_that_has_it() {
        use clap::Parser as _;
        let allowed = Both::try_parse_from(["x", "--allow-plaintext"]).unwrap();
        assert!(allowed.one.plaintext.0 && allowed.other.plaintext.0);
        let refused = Both::try_parse_from(["x"]).unwrap();
        assert!(!refused.one.plaintext.0 && !refused.other.plaintext.0);
    }

    #[test]
    fn it_is_refused_unless_allowed_or_at_home() {
        let url = |host| SecretUrl::parse(&format!("amqp://u:s3cret@{host}"), &["amqp"]).unwrap();
        assert!(refuse_plaintext(&url("127.0.0.1"), "127.0.0.1", "").is_ok());
        let error = refuse_plaintext(&url("mq"), "mq", "Use amqps://").unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("Use amqps://") && text.contains("ALLOW_PLAINTEXT=true"));
        assert!(!text.contains("s3cret"));
        assert!(refuse_plaintext(&url("mq").with_plaintext(true), "mq", "").is_ok());
    }
}
