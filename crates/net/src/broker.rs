//! Connections to RabbitMQ.

use std::fmt;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{anyhow, bail};
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::tcp::{AMQPUriTcpExt, AsyncTcpStream, RustlsConnector};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties, ErrorKind};
use url::{Host, Url};

use crate::guard::{Guarded, Notes};
use crate::tls::{self, connector};
use crate::{SecretUrl, line, read_coalescing, refuse_plaintext};

/// The schemes of a broker's URL.
pub const SCHEMES: &[&str] = &["amqp", "amqps"];
/// Time limit for the broker to accept a login.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Seconds between heartbeats; a dead peer is noticed after two of them.
const HEARTBEAT: u16 = 10;
/// Longest frame, bytes: RabbitMQ's own default, as headers of that size must fit one. lapin keeps
/// room for 64 of them per connection. If it knows the length beforehand, it takes this memory as needed;
/// if it gets the length from the broker, all 8 MB at once.
const FRAME: u32 = 128 << 10;

/// A connection with its guard.
#[derive(Debug)]
pub struct Connected {
    /// The connection.
    pub connection: Connection,
    /// The version of TLS; none for plain text.
    pub tls: Option<String>,
    /// Host and port that answered; the host of an IPv6 address without brackets.
    pub address: (String, u16),
    /// Notes on deliveries, beside the data that the library gives.
    pub notes: Notes,
    line: Option<TcpStream>,
}

impl Connected {
    /// Cuts the line, without a good-bye: nothing more comes in, whatever is on its way.
    pub fn cut(&self) {
        if let Some(line) = &self.line {
            // One that is cut already is as good.
            let _ = line.shutdown(Shutdown::Both);
        }
    }
}

/// Why there is no connection, where another attempt would end alike: a wrong password, a virtual host
/// that is not there, a certificate that is not trusted, something else that answers.
#[derive(Debug)]
struct Lasting(String);

impl fmt::Display for Lasting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Lasting {}

/// Whether an error of [`connect`] needs a person: it does not pass by itself.
#[must_use]
pub fn is_lasting(error: &anyhow::Error) -> bool {
    error.is::<Lasting>()
}

/// Checks whether the URLs and their certificate files can be used, without connecting.
///
/// # Errors
/// When one cannot, or plain text to another machine is refused. Passwords are not repeated.
pub fn check(url: &SecretUrl) -> anyhow::Result<()> {
    for one in url.expose_all()? {
        prepare(&one, url)?;
    }
    Ok(())
}

/// Connects within ten seconds, with a heartbeat of ten unless the URL has another. Of several URLs
/// each is tried, beginning with the one that answered last.
///
/// # Errors
/// Like [`check`], and when the broker does not answer, refuses, or shows a wrong certificate; the
/// text says what to do.
pub async fn connect(url: &SecretUrl, name: &str) -> anyhow::Result<Connected> {
    check(url).map_err(|error| Lasting(format!("{error:#}")))?;
    let urls = url.expose_all()?;
    let (mut refusals, mut lasting) = (Vec::new(), true);
    for (place, one) in urls.iter().enumerate() {
        let (uri, connector) = prepare(one, url)?;
        let (host, port) = (uri.authority.host.clone(), uri.authority.port);
        match connect_one(uri, connector, name).await {
            Ok(connected) => {
                url.prefer(place);
                return Ok(connected);
            }
            Err(why) if urls.len() == 1 => return Err(why),
            Err(why) => {
                lasting &= is_lasting(&why);
                refusals.push(format!("{host} port {port}: {why:#}"));
            }
        }
    }
    let why = format!("no broker of the list lets us in: {}", refusals.join("; "));
    Err(if lasting {
        Lasting(why).into()
    } else {
        anyhow!(why)
    })
}

async fn connect_one(
    uri: AMQPUri,
    connector: Option<RustlsConnector>,
    name: &str,
) -> anyhow::Result<Connected> {
    let seen = Arc::new(Seen::default());
    let address = (uri.authority.host.clone(), uri.authority.port);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let connecting = open(uri, connector, seen.clone(), properties);
    let connection = tokio::time::timeout(CONNECT_WITHIN, connecting)
        .await
        .map_err(|_| anyhow!("no answer within {} s", CONNECT_WITHIN.as_secs()))?
        .map_err(|error| {
            let why = refusal(&error, seen.tls.get().is_some());
            if lasts(&error) {
                return Lasting(why).into();
            }
            anyhow!(why)
        })?;
    Ok(Connected {
        connection,
        tls: seen.tls.get().cloned(),
        address,
        notes: seen.notes.clone(),
        line: seen.line.get().and_then(|line| line.try_clone().ok()),
    })
}

/// Whether the broker would refuse us again.
fn lasts(error: &lapin::Error) -> bool {
    match error.kind() {
        ErrorKind::ProtocolError(refusal) => matches!(
            refusal.kind(),
            AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)
                | AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)
        ),
        ErrorKind::IOError(io) => tls::remedy(io, "", "").is_some(),
        ErrorKind::ParsingError(_) | ErrorKind::InvalidProtocolVersion(_) => true,
        _ => false,
    }
}

/// Why the broker refused us. A broker that misses our certificate reports it after the TLS
/// handshake and hangs up; often only the hang-up is visible.
fn refusal(error: &lapin::Error, after_handshake: bool) -> String {
    const CERTIFICATE: &str = "set AMQP_CERT_FILE and AMQP_KEY_FILE";
    let why = explain(error);
    let hung_up = after_handshake && matches!(error.kind(), ErrorKind::IOError(_));
    if hung_up && !why.contains(CERTIFICATE) {
        return format!("{why}; if the broker wants to see a certificate, {CERTIFICATE}");
    }
    why
}

/// The address, and what makes TLS streams if it wants them.
fn prepare(one: &Url, url: &SecretUrl) -> anyhow::Result<(AMQPUri, Option<RustlsConnector>)> {
    // The parser's own errors may repeat the URL, password and all.
    let mut uri: AMQPUri = one.as_str().parse().map_err(|_| {
        anyhow!("is not an AMQP URL: amqp://user:password@host:port/vhost, the vhost / written %2f")
    })?;
    // The parser takes localhost for whatever is no name.
    match one.host() {
        Some(Host::Ipv6(address)) => uri.authority.host = address.to_string(),
        Some(Host::Ipv4(address)) => uri.authority.host = address.to_string(),
        Some(Host::Domain(_)) => {}
        None => bail!("the AMQP URL has no host: amqp://user:password@host:port/vhost"),
    }
    if uri.authority.host.contains([',', ';', ' ', '@']) || uri.vhost.contains("://") {
        bail!(
            "several brokers are written one whole URL after another, a comma between them: \
             amqp://user:password@host/vhost,amqp://user:password@other/vhost"
        );
    }
    uri.query.heartbeat.get_or_insert(HEARTBEAT);
    uri.query.frame_max.get_or_insert(FRAME);
    if uri.scheme == AMQPScheme::AMQPS {
        return Ok((uri, Some(connector(url.tls())?)));
    }
    if !url.tls().is_empty() {
        bail!("files for TLS are given (AMQP_CA_FILE), but amqp:// is plain text: write amqps://");
    }
    refuse_plaintext(
        url,
        &uri.authority.host,
        "Use amqps://, with AMQP_CA_FILE if the broker's CA is your own",
    )?;
    Ok((uri, None))
}

/// Facts learned while connecting.
#[derive(Default)]
struct Seen {
    tls: OnceLock<String>,
    line: OnceLock<TcpStream>,
    notes: Notes,
}

/// lapin's own way to TLS always trusts the system's authorities, and does not tell the version.
async fn open(
    uri: AMQPUri,
    connector: Option<RustlsConnector>,
    seen: Arc<Seen>,
    properties: ConnectionProperties,
) -> lapin::Result<Connection> {
    let lines = read_coalescing::runtime();
    Connection::connector(
        uri,
        line::runtime(),
        async move |mut uri: AMQPUri, _| {
            uri.scheme = AMQPScheme::AMQP;
            let mut stream = uri.connect_async(&lines).await?;
            if let AsyncTcpStream::Plain(plain) = &stream {
                let line = plain.as_fd()?.try_clone_to_owned()?;
                let _ = seen.line.set(line.into());
            }
            if let Some(connector) = &connector {
                stream = stream.into_rustls(connector, &uri.authority.host).await?;
            }
            if let AsyncTcpStream::Rustls(tls) = &stream
                && let Some(spoken) = tls.get_ref().1.protocol_version()
            {
                let spoken = spoken.as_str().unwrap_or("TLS");
                let _ = seen.tls.set(spoken.replace('_', "."));
            }
            let guarded = Guarded::new(stream, seen.notes.clone());
            Ok(AsyncTcpStream::Plain(guarded))
        },
        properties,
    )
    .await
}

/// An error of the broker with its remedy.
#[must_use]
pub fn explain(error: &lapin::Error) -> String {
    let refusal = match error.kind() {
        ErrorKind::ProtocolError(refusal) => refusal,
        ErrorKind::IOError(io) => {
            return match tls::remedy(io, "AMQP_CA_FILE", "AMQP_CERT_FILE and AMQP_KEY_FILE") {
                Some(remedy) => format!("{io}; {remedy}"),
                None => error.to_string(),
            };
        }
        ErrorKind::ParsingError(_) => {
            return "what answers does not speak AMQP: check host and port, and whether the port \
                    wants TLS (amqps://)"
                .to_owned();
        }
        _ => return error.to_string(),
    };
    let hint = match refusal.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => {
            " (check user, password and permissions)"
        }
        AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => " (check the vhost)",
        _ => "",
    };
    format!("{}{hint}", refusal.get_message())
}
