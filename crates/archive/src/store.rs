//! The object store: a folder, or a bucket with the S3 protocol.

use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, bail};
use bytes::Bytes;
use futures_util::StreamExt as _;
use object_store::buffered::BufWriter;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use sha2::{Digest, Sha256};
use url::Url;

use super::row_group::hex;

/// An object store and the place in it that archives lie below.
#[derive(Debug, Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
    /// The folder, when it is one.
    folder: Option<std::path::PathBuf>,
}

impl Store {
    /// Opens a store by its URL, `file:///folder` or `s3://bucket/prefix`; the keys of S3 and its
    /// address come from the usual variables, `AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT` and so on.
    ///
    /// # Errors
    /// If the URL has neither form, or the folder cannot be made.
    pub fn open(url: &str) -> anyhow::Result<Self> {
        let parsed = Url::parse(url).context(
            "ARCHIVE_URL must be a URL, as file:///var/lib/acequia/archive or s3://bucket/prefix",
        )?;
        // Neither has a meaning in either scheme; what follows would be cut off without a word.
        if parsed.query().is_some() || parsed.fragment().is_some() {
            bail!(
                "ARCHIVE_URL: ? and # end the path of a URL; write %3F and %23 where they belong to a name"
            );
        }
        match parsed.scheme() {
            "file" => {
                let Ok(folder) = parsed.to_file_path() else {
                    bail!(
                        "ARCHIVE_URL: a folder has three slashes and a whole path, as file:///var/lib/acequia/archive"
                    );
                };
                std::fs::create_dir_all(&folder)
                    .with_context(|| format!("ARCHIVE_URL: folder {}", folder.display()))?;
                // A partition is dropped because the file holds its rows.
                let objects = LocalFileSystem::new_with_prefix(&folder)?.with_fsync(true);
                Ok(Self {
                    objects: Arc::new(objects),
                    prefix: Path::default(),
                    folder: Some(folder),
                })
            }
            "s3" | "s3a" => {
                // One of several may be there: rustls does not choose by itself. Set already is as good.
                let _ = rustls::crypto::ring::default_provider().install_default();
                let variables = std::env::vars()
                    .filter(|(name, value)| name.starts_with("AWS_") && !value.is_empty())
                    .map(|(name, value)| (name.to_lowercase(), value));
                let (objects, prefix) =
                    object_store::parse_url_opts(&parsed, variables).context("ARCHIVE_URL")?;
                Ok(Self {
                    objects: objects.into(),
                    prefix,
                    folder: None,
                })
            }
            other => bail!(
                "ARCHIVE_URL: {other}: is not known; there is file:///folder and s3://bucket/prefix"
            ),
        }
    }

    fn path(&self, path: &str) -> anyhow::Result<Path> {
        let mut whole = self.prefix.to_string();
        if !whole.is_empty() {
            whole.push('/');
        }
        whole.push_str(path);
        Path::parse(&whole).with_context(|| format!("object {path}"))
    }

    /// Begins to write an object, which is there when the writer is shut down.
    ///
    /// # Errors
    /// When the path is none.
    pub fn writer(&self, path: &str) -> anyhow::Result<BufWriter> {
        Ok(BufWriter::new(self.objects.clone(), self.path(path)?))
    }

    /// Writes a small object.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn put(&self, path: &str, bytes: Vec<u8>) -> anyhow::Result<()> {
        let target = self.path(path)?;
        let put = self.objects.put(&target, bytes.into()).await;
        put.map(drop).with_context(|| format!("writing {path}"))
    }

    /// Reads a small object; `None` when it is not there.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn get(&self, path: &str) -> anyhow::Result<Option<Bytes>> {
        let answer = match self.objects.get(&self.path(path)?).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            answer => answer.with_context(|| format!("reading {path}"))?,
        };
        let bytes = answer.bytes().await;
        bytes.map(Some).with_context(|| format!("reading {path}"))
    }

    /// Which of some objects are not there, without reading them: names in the order given.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn missing(&self, paths: &[String]) -> anyhow::Result<Vec<String>> {
        const AT_ONCE: usize = 16;
        let looks = paths.iter().map(|path| async move {
            match self.objects.head(&self.path(path)?).await {
                Ok(_) => Ok(None),
                Err(object_store::Error::NotFound { .. }) => Ok(Some(path.clone())),
                Err(error) => Err(error).with_context(|| format!("looking for {path}")),
            }
        });
        let looks = futures_util::stream::iter(looks).buffered(AT_ONCE);
        let found: Vec<anyhow::Result<Option<String>>> = looks.collect().await;
        found.into_iter().filter_map(Result::transpose).collect()
    }

    /// Reads a part of an object.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn range(&self, path: &str, range: Range<u64>) -> anyhow::Result<Bytes> {
        let part = self.objects.get_range(&self.path(path)?, range).await;
        part.with_context(|| format!("reading {path}"))
    }

    /// Length and SHA-256 of an object, read whole; `None` when it is not there.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn fingerprint(&self, path: &str) -> anyhow::Result<Option<(u64, String)>> {
        let answer = match self.objects.get(&self.path(path)?).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            answer => answer.with_context(|| format!("reading {path}"))?,
        };
        let (mut length, mut hash) = (0, Sha256::new());
        let mut pieces = answer.into_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.with_context(|| format!("reading {path}"))?;
            length += piece.len() as u64;
            hash.update(&piece);
        }
        Ok(Some((length, hex(&hash.finalize()))))
    }

    /// Deletes an object and what an interrupted attempt to write it may have left; it need not be
    /// there.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn delete(&self, path: &str) -> anyhow::Result<()> {
        match self.objects.delete(&self.path(path)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error).with_context(|| format!("deleting {path}")),
        }
        // Until it is whole, a file has the name of the object, # and a number.
        if let Some((folder, name)) = self.folder.as_ref().and_then(|folder| {
            let file = folder.join(path);
            Some((file.parent()?.to_owned(), file.file_name()?.to_owned()))
        }) {
            let begin = format!("{}#", name.to_string_lossy());
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().starts_with(&begin) {
                    std::fs::remove_file(entry.path())?;
                }
            }
        }
        Ok(())
    }
}

impl std::fmt::Display for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.folder {
            Some(folder) => write!(f, "{}", folder.display()),
            None => write!(f, "{}/{}", self.objects, self.prefix),
        }
    }
}
