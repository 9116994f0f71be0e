//! The file of an archive while it is written.

use anyhow::Context;
use object_store::buffered::BufWriter;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt as _;

use super::file::Writer;
use super::row_group::{RowGroup, hex};

/// A file that goes to the object store while it is written.
pub struct Sink {
    writer: Option<Writer>,
    upload: BufWriter,
    bytes: u64,
    hash: Sha256,
}

impl Sink {
    /// Begins a file.
    #[must_use]
    pub fn new(writer: Writer, upload: BufWriter) -> Self {
        Self {
            writer: Some(writer),
            upload,
            bytes: 0,
            hash: Sha256::new(),
        }
    }

    /// Writes a row group.
    ///
    /// # Errors
    /// Errors of the format and of the store.
    pub async fn write(&mut self, row_group: RowGroup) -> anyhow::Result<()> {
        let mut writer = self.writer.take().context("the file has failed before")?;
        // Compressing takes a while: other tasks go on.
        let (writer, bytes) = tokio::task::spawn_blocking(move || {
            let bytes = writer.write(&row_group);
            (writer, bytes)
        })
        .await?;
        self.writer = Some(writer);
        self.send(bytes?).await
    }

    async fn send(&mut self, bytes: Vec<u8>) -> anyhow::Result<()> {
        self.bytes += bytes.len() as u64;
        self.hash.update(&bytes);
        self.upload
            .write_all(&bytes)
            .await
            .context("writing to the object store")
    }

    /// Ends the file, which is in the store then; returns its length and SHA-256.
    ///
    /// # Errors
    /// Errors of the format and of the store.
    pub async fn finish(mut self) -> anyhow::Result<(u64, String)> {
        let writer = self.writer.take().context("the file has failed before")?;
        self.send(writer.finish()?).await?;
        self.upload
            .shutdown()
            .await
            .context("writing to the object store")?;
        Ok((self.bytes, hex(&self.hash.finalize())))
    }
}
