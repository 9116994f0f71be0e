//! A publisher that writes AMQP frames by itself: it sends what no library would.

use std::collections::BTreeSet;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use url::Url;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const END: u8 = 206;
/// Longest frame, as RabbitMQ has it by default.
const FRAME: usize = 131_072;

/// Messages that may be without a confirm.
const WINDOW: usize = 500;

/// A message in bytes.
#[derive(Debug, Clone, Default)]
pub struct RawMessage {
    /// Name of the exchange.
    pub exchange: Vec<u8>,
    /// Routing key.
    pub key: Vec<u8>,
    /// Property list: flags, then the properties.
    pub list: Vec<u8>,
    /// Body.
    pub body: Vec<u8>,
}

/// A connection with one channel in confirm mode.
#[derive(Debug)]
pub struct RawPublisher {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    /// Messages sent.
    sent: u64,
    /// Messages without a confirm.
    open: BTreeSet<u64>,
}

/// A short string.
///
/// # Panics
/// When it has more than 255 bytes.
#[must_use]
pub fn short(text: &[u8]) -> Vec<u8> {
    assert!(text.len() < 256, "a short string of {} bytes", text.len());
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    [&[length], text].concat()
}

/// Bytes behind a length of four octets.
#[must_use]
pub fn long(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], bytes].concat()
}

/// An entry of a table: the name, then the value with its kind before it.
#[must_use]
pub fn entry(name: &[u8], value: &[u8]) -> Vec<u8> {
    [short(name), value.to_owned()].concat()
}

/// A table as a value.
#[must_use]
pub fn table(entries: &[u8]) -> Vec<u8> {
    [b"F".to_vec(), long(entries)].concat()
}

/// Tables nested to the given depth.
#[must_use]
pub fn nested(depth: usize) -> Vec<u8> {
    // From the inside, in one piece: each table costs seven octets before its contents.
    let mut value = Vec::with_capacity(7 * depth + 1);
    for inside in (0..depth).rev() {
        value.push(b'F');
        value.extend(
            u32::try_from(7 * inside + 3)
                .unwrap_or(u32::MAX)
                .to_be_bytes(),
        );
        value.extend(b"\x01a");
    }
    value.push(b'V');
    value
}

/// A property list: the place of each property (0 is the content type) and its bytes, in order.
#[must_use]
pub fn list(properties: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let flags = properties
        .iter()
        .fold(0_u16, |flags, (place, _)| flags | 1 << (15 - place));
    let mut list = flags.to_be_bytes().to_vec();
    list.extend(properties.iter().flat_map(|(_, bytes)| bytes));
    list
}

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let channel = channel.to_be_bytes();
    [&[kind][..], &channel, &long(payload), &[END]].concat()
}

impl RawPublisher {
    /// Connects by the URL of a virtual host.
    ///
    /// # Errors
    /// When the broker does not let us in.
    pub async fn connect(url: &str) -> anyhow::Result<Self> {
        let url: Url = url.parse()?;
        let address = (
            url.host_str().unwrap_or("127.0.0.1"),
            url.port().unwrap_or(5672),
        );
        let line = TcpStream::connect(address).await?;
        line.set_nodelay(true)?;
        let (reader, writer) = line.into_split();
        let mut new = Self {
            reader: BufReader::new(reader),
            writer,
            sent: 0,
            open: BTreeSet::new(),
        };
        new.writer.write_all(b"AMQP\0\0\x09\x01").await?;
        new.expect((10, 10)).await?;
        let secret = format!(
            "\0{}\0{}",
            url.username(),
            url.password().unwrap_or_default()
        );
        let start_ok = [
            &[0, 0, 0, 0][..],
            &short(b"PLAIN"),
            &long(secret.as_bytes()),
            &short(b"en_US"),
        ];
        new.method(0, (10, 11), &start_ok.concat()).await?;
        new.expect((10, 30)).await?;
        let frame = u32::try_from(FRAME)?.to_be_bytes();
        new.method(0, (10, 31), &[&[0, 10][..], &frame, &[0, 0]].concat())
            .await?;
        let vhost = url.path().trim_start_matches('/').replace("%2f", "/");
        new.method(0, (10, 40), &[short(vhost.as_bytes()), vec![0, 0]].concat())
            .await?;
        new.expect((10, 41)).await?;
        new.method(1, (20, 10), &[0]).await?;
        new.expect((20, 11)).await?;
        new.method(1, (85, 10), &[0]).await?;
        new.expect((85, 11)).await?;
        Ok(new)
    }

    /// Sends messages and waits until the broker has confirmed all of them.
    ///
    /// # Errors
    /// When the broker refuses one or closes the connection; its words are in the error.
    pub async fn publish(&mut self, messages: &[RawMessage]) -> anyhow::Result<()> {
        for message in messages {
            self.send(message).await?;
        }
        while !self.open.is_empty() {
            self.take().await?;
        }
        Ok(())
    }

    /// Sends one message.
    async fn send(&mut self, message: &RawMessage) -> anyhow::Result<()> {
        let route = [
            &[0, 0][..],
            &short(&message.exchange),
            &short(&message.key),
            &[0],
        ]
        .concat();
        let size = u64::try_from(message.body.len())?.to_be_bytes();
        let header = [&[0, 60, 0, 0][..], &size, &message.list].concat();
        let mut bytes = method((60, 40), 1, &route);
        bytes.extend(frame(HEADER, 1, &header));
        for part in message.body.chunks(FRAME - 8) {
            bytes.extend(frame(BODY, 1, part));
            self.writer.write_all(&std::mem::take(&mut bytes)).await?;
        }
        self.writer.write_all(&bytes).await?;
        self.sent += 1;
        self.open.insert(self.sent);
        while self.open.len() > WINDOW {
            self.take().await?;
        }
        Ok(())
    }

    /// Takes a confirm.
    async fn take(&mut self) -> anyhow::Result<()> {
        let (class, number, arguments) = self.next().await?;
        match (class, number) {
            (60, 80) => {
                let tag = arguments.get(..8).context("an ack without a tag")?;
                let tag = u64::from_be_bytes(tag.try_into()?);
                if arguments.get(8) == Some(&1) {
                    self.open = self.open.split_off(&(tag + 1));
                } else {
                    self.open.remove(&tag);
                }
                Ok(())
            }
            (60, 120) => bail!("the broker refused a message"),
            other => bail!("the broker sent {other:?} in place of a confirm"),
        }
    }

    async fn expect(&mut self, method: (u16, u16)) -> anyhow::Result<()> {
        let (class, number, _) = self.next().await?;
        ensure!(
            (class, number) == method,
            "{class}.{number} in place of {method:?}"
        );
        Ok(())
    }

    /// The next method; closing is an error that says why.
    async fn next(&mut self) -> anyhow::Result<(u16, u16, Vec<u8>)> {
        loop {
            let mut head = [0; 7];
            self.reader
                .read_exact(&mut head)
                .await
                .context("the broker hung up")?;
            let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
            let mut payload = vec![0; usize::try_from(length)? + 1];
            self.reader.read_exact(&mut payload).await?;
            if head[0] != METHOD {
                continue;
            }
            ensure!(payload.len() > 4, "a method without a name");
            let class = u16::from_be_bytes([payload[0], payload[1]]);
            let number = u16::from_be_bytes([payload[2], payload[3]]);
            let arguments = payload[4..].to_vec();
            if matches!((class, number), (10, 50) | (20, 40)) {
                bail!("closed: {}", String::from_utf8_lossy(&arguments));
            }
            return Ok((class, number, arguments));
        }
    }

    async fn method(
        &mut self,
        channel: u16,
        name: (u16, u16),
        arguments: &[u8],
    ) -> anyhow::Result<()> {
        let bytes = method(name, channel, arguments);
        Ok(self.writer.write_all(&bytes).await?)
    }
}

fn method((class, number): (u16, u16), channel: u16, arguments: &[u8]) -> Vec<u8> {
    let payload = [&class.to_be_bytes()[..], &number.to_be_bytes(), arguments].concat();
    frame(METHOD, channel, &payload)
}
