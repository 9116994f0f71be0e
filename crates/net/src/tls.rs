//! TLS: files with certificates, and errors in words that say what to do.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use lapin::tcp::{RustlsConnector, RustlsConnectorConfig};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{AlertDescription, CertificateError};

/// The files that secure a connection, in PEM. They are read for each connection: renewed
/// certificates need no restart.
#[derive(Debug, Clone, Default)]
pub struct TlsFiles {
    /// The authorities that may have signed the server's certificate, instead of the system's.
    pub ca: Option<PathBuf>,
    /// Our certificate.
    pub cert: Option<PathBuf>,
    /// The key of our certificate.
    pub key: Option<PathBuf>,
}

impl TlsFiles {
    /// Whether none is given.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ca.is_none() && self.cert.is_none() && self.key.is_none()
    }
}

/// The files for the broker as options of a command.
#[derive(Debug, Clone, Args)]
pub struct BrokerTls {
    /// CA that signed the broker's certificate (PEM); without it the system's CAs are trusted
    #[arg(long, env = "AMQP_CA_FILE", value_name = "FILE")]
    amqp_ca_file: Option<PathBuf>,
    /// Certificate to show to a broker that demands one (PEM)
    #[arg(long, env = "AMQP_CERT_FILE", value_name = "FILE")]
    amqp_cert_file: Option<PathBuf>,
    /// Key of that certificate (PEM)
    #[arg(long, env = "AMQP_KEY_FILE", value_name = "FILE")]
    amqp_key_file: Option<PathBuf>,
}

impl From<BrokerTls> for TlsFiles {
    fn from(files: BrokerTls) -> Self {
        Self {
            ca: files.amqp_ca_file,
            cert: files.amqp_cert_file,
            key: files.amqp_key_file,
        }
    }
}

/// The connector for TLS streams to the broker. It always checks server certificates, name included.
pub(crate) fn connector(files: &TlsFiles) -> anyhow::Result<RustlsConnector> {
    let authorities = match &files.ca {
        // Nobody else's: a public authority has no business with a private broker.
        Some(file) => RustlsConnectorConfig::default()
            .with_parsable_certificates(certificates(file).context("AMQP_CA_FILE")?),
        None => RustlsConnectorConfig::new_with_native_certs()
            .context("the system has no CA certificates: set AMQP_CA_FILE")?,
    };
    let connector = match (&files.cert, &files.key) {
        (None, None) => authorities.connector_with_no_client_auth(),
        (Some(cert), Some(key)) => {
            let cert = certificates(cert).context("AMQP_CERT_FILE")?;
            let key = PrivateKeyDer::from_pem_file(key)
                .with_context(|| format!("AMQP_KEY_FILE: no private key in {}", key.display()))?;
            authorities.connector_with_single_cert(cert, key)
        }
        _ => bail!("AMQP_CERT_FILE and AMQP_KEY_FILE must be given together"),
    };
    connector.context("certificates for the broker")
}

fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let all: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .with_context(|| format!("cannot read {}", file.display()))?;
    if all.is_empty() {
        bail!("there is no certificate in {}", file.display());
    }
    Ok(all)
}

/// The remedy for an error of TLS; `None` when `error` is of another kind. `ca` names the
/// setting for a certificate authority, `cert` that for a certificate of our own.
#[must_use]
pub fn remedy(error: &io::Error, ca: &str, cert: &str) -> Option<String> {
    let mut cause: Option<&(dyn Error + 'static)> =
        error.get_ref().map(|inner| inner as &(dyn Error + 'static));
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return Some(advice(error, ca, cert));
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return remedy(io, ca, cert);
        }
        cause = error.source();
    }
    None
}

fn advice(error: &rustls::Error, ca: &str, cert: &str) -> String {
    use rustls::Error as Tls;
    let certificate = match error {
        Tls::InvalidCertificate(reason) => reason,
        Tls::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::HandshakeFailure
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA,
        ) => {
            return format!("the server wants to see a certificate that it accepts: set {cert}");
        }
        Tls::InvalidMessage(_) => {
            return "the server does not speak TLS on this port: check the port".to_owned();
        }
        _ => return "check the server's TLS settings".to_owned(),
    };
    match certificate {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "no trusted authority signed the server's certificate: set {ca} to the one that did"
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired: renew it".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet: check the clocks".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the server's certificate is for another host: use the name that stands in it, or have \
             one made for this name"
                .to_owned()
        }
        _ => "have a new certificate made for the server".to_owned(),
    }
}
