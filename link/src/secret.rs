//! URLs that hold passwords.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use url::Url;

use crate::tls::TlsFiles;

/// The URL of a server, which may hold a password, and how the connection is secured. It shows
/// itself without password and without options, in `Debug` too.
#[derive(Clone)]
pub struct SecretUrl {
    source: Source,
    schemes: &'static [&'static str],
    /// As it may be shown.
    shown: String,
    tls: TlsFiles,
    plaintext: bool,
}

#[derive(Clone)]
enum Source {
    Text(Url),
    /// Read again for each connection: a new password needs no restart.
    File(PathBuf),
}

impl SecretUrl {
    /// A URL of one of the given schemes.
    ///
    /// # Errors
    /// When it is no URL or has another scheme. The error does not repeat the text.
    pub fn parse(text: &str, schemes: &'static [&'static str]) -> anyhow::Result<Self> {
        let url = parse(text, schemes)?;
        let shown = shown(&url);
        Ok(Self::new(Source::Text(url), schemes, shown))
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
    /// When it stands in a file that cannot be read (any more) or holds no such URL.
    pub fn expose(&self) -> anyhow::Result<Url> {
        match &self.source {
            Source::Text(url) => Ok(url.clone()),
            Source::File(path) => read(path, self.schemes),
        }
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

fn parse(text: &str, schemes: &[&str]) -> anyhow::Result<Url> {
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
}

fn read(path: &Path, schemes: &[&str]) -> anyhow::Result<Url> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text, schemes).with_context(|| path.display().to_string())
}

/// Options are left out: they may hold a password as well.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    if url.password().is_some() && url.set_password(Some("***")).is_err() {
        return "(url)".to_owned();
    }
    url.into()
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
