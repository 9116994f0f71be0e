//! Certificates for a test: an authority, a server, a client, in files.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};

/// A folder with `ca.pem`, `server.pem`, `server.key`, `client.pem`, `client.key`, as
/// `services.sh --tls` wants it. It goes with the value.
#[derive(Debug)]
pub struct Certificates {
    dir: PathBuf,
}

impl Certificates {
    /// Certificates of a new authority; that of the server is for `host` only, a name or an
    /// address.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn new(host: &str) -> anyhow::Result<Self> {
        Self::with(host, false)
    }

    /// Like [`Certificates::new`], but the server's expired years ago.
    ///
    /// # Errors
    /// Same as [`Certificates::new`].
    pub fn expired(host: &str) -> anyhow::Result<Self> {
        Self::with(host, true)
    }

    fn with(host: &str, expired: bool) -> anyhow::Result<Self> {
        let name = format!("acequia-certs-{}", uuid::Uuid::now_v7().simple());
        let dir = std::env::temp_dir().join(&name);
        std::fs::create_dir(&dir)?;
        let certificates = Self { dir };
        let mut authority = CertificateParams::default();
        authority
            .distinguished_name
            .push(DnType::CommonName, format!("{name} authority"));
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        certificates.write("ca.pem", &authority.pem())?;

        let mut server = CertificateParams::new([host.to_owned()])?;
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        if expired {
            server.not_before = date_time_ymd(2020, 1, 1);
            server.not_after = date_time_ymd(2021, 1, 1);
        }
        let mut client = CertificateParams::default();
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        for (who, mut params) in [("server", server), ("client", client)] {
            params
                .distinguished_name
                .push(DnType::CommonName, format!("acequia {who}"));
            params.use_authority_key_identifier_extension = true;
            let key = KeyPair::generate()?;
            let certificate = params.signed_by(&key, &authority)?;
            certificates.write(&format!("{who}.pem"), &certificate.pem())?;
            certificates.write(&format!("{who}.key"), &key.serialize_pem())?;
        }
        Ok(certificates)
    }

    fn write(&self, file: &str, text: &str) -> std::io::Result<()> {
        std::fs::write(self.dir.join(file), text)
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The path of one of the files.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
