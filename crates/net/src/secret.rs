//! URLs that hold passwords.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, bail};
use url::Url;

use crate::hosts;
use crate::tls::TlsFiles;

/// The URL of a server, which may hold a password, and how the connection is secured. It shows
/// itself without password and without options, in `Debug` too. Several URLs may stand for the members
/// of a cluster, with a comma between them; each has its scheme. One URL of PostgreSQL with several hosts,
/// `postgres://user:password@a:5432,b:5432/database`, is such a list, too.
#[derive(Clone)]
pub struct SecretUrl {
    source: Source,
    schemes: &'static [&'static str],
    /// As it may be shown.
    shown: String,
    tls: TlsFiles,
    plaintext: bool,
    /// Place of the URL that answered last.
    answered: Arc<AtomicUsize>,
}

#[derive(Clone)]
enum Source {
    Text(Vec<Url>),
    /// Read again for each connection: a new password needs no restart.
    File(PathBuf),
}

impl SecretUrl {
    /// A URL of one of the given schemes.
    ///
    /// # Errors
    /// When it is no URL or has another scheme. The error does not repeat the text.
    pub fn parse(text: &str, schemes: &'static [&'static str]) -> anyhow::Result<Self> {
        let urls = parse(text, schemes)?;
        let shown = shown(&urls);
        Ok(Self::new(Source::Text(urls), schemes, shown))
    }

    /// The URL in a file, which is read again for each connection.
    ///
    /// # Errors
    /// When it cannot be read now, or as [`SecretUrl::parse`].
    pub fn from_file(path: &Path, schemes: &'static [&'static str]) -> anyhow::Result<Self> {
        let shown = shown(&read(path, schemes)?);
        Ok(Self::new(Source::File(path.to_owned()), schemes, shown))
    }

    /// The URL that settings give: the text, or else the file. `name` is the setting's name.
    ///
    /// # Errors
    /// When none is given or it cannot be used; the text has the example.
    pub fn from_setting(
        text: Option<&str>,
        file: Option<&Path>,
        name: &str,
        example: &str,
        schemes: &'static [&'static str],
    ) -> anyhow::Result<Self> {
        match (text, file) {
            (Some(text), _) => {
                Self::parse(text, schemes).with_context(|| format!("{name}, for example {example}"))
            }
            (None, Some(file)) => Self::from_file(file, schemes)
                .with_context(|| format!("{name}_FILE, for example {example}")),
            (None, None) => bail!("{name} is not set. Set it, for example {name}={example}"),
        }
    }

    fn new(source: Source, schemes: &'static [&'static str], shown: String) -> Self {
        Self {
            source,
            schemes,
            shown,
            tls: TlsFiles::default(),
            plaintext: false,
            answered: Arc::default(),
        }
    }

    /// The same, secured with these files.
    #[must_use]
    pub fn with_tls(mut self, tls: TlsFiles) -> Self {
        self.tls = tls;
        self
    }

    /// The same; whether another machine may be reached in plain text.
    #[must_use]
    pub fn with_plaintext(mut self, allowed: bool) -> Self {
        self.plaintext = allowed;
        self
    }

    /// The URL with its password, for the client library only.
    ///
    /// # Errors
    /// When it stands in a file that cannot be read (any more) or holds no such URL, and when there
    /// are several.
    pub fn expose(&self) -> anyhow::Result<Url> {
        let mut urls = self.expose_all()?;
        match (urls.pop(), urls.len()) {
            (Some(url), 0) => Ok(url),
            _ => bail!("several URLs are given, and one is expected"),
        }
    }

    /// Every URL with its password, beginning with the one that answered last.
    ///
    /// # Errors
    /// When they stand in a file that cannot be read (any more), or one is no such URL.
    pub fn expose_all(&self) -> anyhow::Result<Vec<Url>> {
        let mut urls = match &self.source {
            Source::Text(urls) => urls.clone(),
            Source::File(path) => read(path, self.schemes)?,
        };
        let first = self.answered.load(Ordering::Relaxed) % urls.len().max(1);
        urls.rotate_left(first);
        Ok(urls)
    }

    /// The URL at this place of those exposed last is the one to try first from now on.
    pub(crate) fn prefer(&self, place: usize) {
        self.answered.fetch_add(place, Ordering::Relaxed);
    }

    /// The files that secure the connection.
    #[must_use]
    pub const fn tls(&self) -> &TlsFiles {
        &self.tls
    }

    /// Whether another machine may be reached in plain text.
    #[must_use]
    pub const fn may_be_plaintext(&self) -> bool {
        self.plaintext
    }
}

fn parse(text: &str, schemes: &[&str]) -> anyhow::Result<Vec<Url>> {
    let mut urls = Vec::new();
    for text in split(text, schemes) {
        urls.extend(hosts::expand(text)?);
    }
    urls.iter()
        .map(|text| {
            let url = Url::parse(text.trim()).context("is not a URL")?;
            // PostgreSQL's own name for it, and the only one that all tools know.
            let scheme = match url.scheme() {
                "postgresql" => "postgres",
                scheme => scheme,
            };
            if !schemes.contains(&scheme) {
                bail!("must begin with {}://", schemes.join(":// or "));
            }
            Ok(url)
        })
        .collect()
}

/// The URLs of a list. A comma stands between two when a scheme follows: passwords may have commas.
fn split<'a>(text: &'a str, schemes: &'a [&str]) -> impl Iterator<Item = &'a str> {
    let begins = |text: &str| {
        let text = text.trim_start();
        schemes.iter().any(|scheme| {
            let (begin, rest) = text.split_at_checked(scheme.len()).unwrap_or_default();
            begin.eq_ignore_ascii_case(scheme) && rest.starts_with("://")
        })
    };
    let mut left = Some(text);
    std::iter::from_fn(move || {
        let text = left?;
        let comma = text
            .match_indices(',')
            .find(|(at, _)| begins(&text[at + 1..]));
        left = comma.map(|(at, _)| &text[at + 1..]);
        Some(comma.map_or(text, |(at, _)| &text[..at]))
    })
}

fn read(path: &Path, schemes: &[&str]) -> anyhow::Result<Vec<Url>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text, schemes).with_context(|| path.display().to_string())
}

/// Options are left out: they may hold a password as well. So is a path that may be another URL.
fn shown(urls: &[Url]) -> String {
    let shown = urls.iter().map(|url| {
        let mut url = url.clone();
        url.set_query(None);
        url.set_fragment(None);
        if url.path().contains(['@', ',']) || url.path().contains("://") {
            url.set_path("/***");
        }
        if url.password().is_some() && url.set_password(Some("***")).is_err() {
            return "(url)".to_owned();
        }
        url.into()
    });
    hosts::join(&shown.collect::<Vec<String>>())
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::SecretUrl;

    #[test]
    fn passwords_are_not_shown() {
        let url = SecretUrl::parse("amqp://app:s3cret@host:5672/%2f", &["amqp"]).unwrap();
        assert_eq!(url.to_string(), "amqp://app:***@host:5672/%2f");
        assert!(!format!("{url:?}").contains("s3cret"));
        let text = "postgres://host/db?user=app&password=s3cret";
        let url = SecretUrl::parse(text, &["postgres"]).unwrap();
        assert_eq!(
            format!("{url} {url:?}"),
            "postgres://host/db postgres://host/db"
        );
        for wrong in [
            "http://app:s3cret@host",
            "amqp//app:s3cret@host",
            "s3cret",
            "",
        ] {
            let error = SecretUrl::parse(wrong, &["amqp"]).unwrap_err();
            assert!(
                !format!("{error:#} {error:?}").contains("s3cret"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn of_several_urls_no_password_is_shown_and_the_one_that_answered_comes_first() {
        let text = "amqp://u:s3cret@a/v,AMQP://u:s3,cret@b:1/v, amqp://u:s3cret@[::1]/v";
        let url = SecretUrl::parse(text, &["amqp"]).unwrap();
        let shown = "amqp://u:***@a,b:1,[::1]/v";
        assert_eq!(format!("{url} {url:?}"), format!("{shown} {shown}"));
        let hosts = |url: &SecretUrl| {
            let urls = url.expose_all().unwrap();
            let hosts = urls.iter().map(|url| url.host_str().unwrap().to_owned());
            hosts.collect::<Vec<_>>()
        };
        assert_eq!(hosts(&url), ["a", "b", "[::1]"]);
        url.prefer(2);
        assert_eq!(hosts(&url.clone()), ["[::1]", "a", "b"]);
        url.prefer(1);
        assert_eq!(hosts(&url), ["a", "b", "[::1]"]);
        let error = format!("{:#}", url.expose().unwrap_err());
        assert!(error.contains("several URLs"), "{error}");
        // A text that we do not read as a list does not look like a list either.
        for odd in [
            "amqp://u:p@a/v;amqp://u:s3cret@b/v",
            "amqp://u:p@a/v amqp://u:s3cret@b/v",
            "amqp://u:p@a/v,u:s3cret@b/v",
            "amqp://u:p@a/v,http://u:s3cret@b/v",
        ] {
            let text = match SecretUrl::parse(odd, &["amqp"]) {
                Ok(url) => format!("{url} {url:?}"),
                Err(error) => format!("{error:#} {error:?}"),
            };
            assert!(!text.contains("s3cret"), "{text}");
        }
    }

    #[test]
    fn of_several_hosts_no_password_is_shown() {
        let text = "postgres://app:s3cret@a:1,[::1]:2/db?password=s3cret";
        let url = SecretUrl::parse(text, &["postgres"]).unwrap();
        let shown = "postgres://app:***@a:1,[::1]:2/db";
        assert_eq!(format!("{url} {url:?}"), format!("{shown} {shown}"));
        let all = url.expose_all().unwrap();
        let hosts: Vec<_> = all.iter().map(|url| (url.host_str(), url.port())).collect();
        assert_eq!(hosts, [(Some("a"), Some(1)), (Some("[::1]"), Some(2))]);
        assert!(url.expose().is_err());
        let wrong = SecretUrl::parse("postgres://app:s3cret@a:1,b:x/db", &["postgres"]);
        let error = format!("{:#}", wrong.unwrap_err());
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[test]
    fn a_file_is_read_again_for_each_connection() {
        let file = std::env::temp_dir().join(format!("acequia-url-{}", std::process::id()));
        std::fs::write(&file, "amqp://app:one@host\n").unwrap();
        let url = SecretUrl::from_file(&file, &["amqp"]).unwrap();
        assert_eq!(url.expose().unwrap().password(), Some("one"));
        std::fs::write(&file, "amqp://app:two@host\n").unwrap();
        assert_eq!(url.expose().unwrap().password(), Some("two"));
        std::fs::write(&file, "http://app:three@host\n").unwrap();
        let error = format!("{:#}", url.expose().unwrap_err());
        assert!(error.contains("must begin with amqp://"), "{error}");
        assert!(!error.contains("three"), "{error}");
        std::fs::remove_file(&file).unwrap();
        let error = format!("{:#}", url.expose().unwrap_err());
        assert!(error.contains("cannot read"), "{error}");
    }
}
