//! Passwords: Argon2id, a few at a time, since each takes 19 MiB.

use std::sync::LazyLock;

use anyhow::Context as _;
use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use tokio::sync::Semaphore;

/// The shortest password.
pub const SHORTEST: usize = 12;
/// The longest one: hashing must not become work.
pub const LONGEST: usize = 256;

static AT_A_TIME: Semaphore = Semaphore::const_new(2);
/// Hash to compare with when the person does not exist, so that the answer takes as long.
static NOBODY: LazyLock<String> = LazyLock::new(|| make("nobody").unwrap_or_default());

/// Checks a new password.
///
/// # Errors
/// When it is too short or too long.
pub fn check(password: &str) -> Result<(), String> {
    if (SHORTEST..=LONGEST).contains(&password.len()) {
        return Ok(());
    }
    Err(format!("must have {SHORTEST} to {LONGEST} bytes"))
}

/// The hash that is kept.
///
/// # Errors
/// When the system has no random numbers.
pub async fn hash(password: String) -> anyhow::Result<String> {
    let _one = AT_A_TIME.acquire().await?;
    tokio::task::spawn_blocking(move || make(&password)).await?
}

/// Whether it is the password of a hash; false for `None`.
///
/// # Errors
/// When the hash is none.
pub async fn is_of(password: String, hash: Option<String>) -> anyhow::Result<bool> {
    let _one = AT_A_TIME.acquire().await?;
    tokio::task::spawn_blocking(move || {
        let nobody = hash.is_none();
        let text = hash.unwrap_or_else(|| NOBODY.clone());
        let parsed = PasswordHash::new(&text)
            .map_err(|_| anyhow::anyhow!("a stored password hash is none"))?;
        let same = Argon2::default()
            .verify_password(password.as_bytes(), &parsed)
            .is_ok();
        Ok(same && !nobody)
    })
    .await?
}

fn make(password: &str) -> anyhow::Result<String> {
    let hash = Argon2::default()
        .hash_password(password.as_bytes())
        .map_err(|error| anyhow::anyhow!("{error}"))
        .context("hashing a password")?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_password_differs_from_others_and_nobody_has_one() {
        let hash = hash("correct horse".to_owned()).await.unwrap();
        assert!(hash.starts_with("$argon2id$"));
        let is =
            async |word: &str, hash: Option<String>| is_of(word.to_owned(), hash).await.unwrap();
        assert!(is("correct horse", Some(hash.clone())).await);
        assert!(!is("battery staple", Some(hash)).await);
        assert!(!is("nobody", None).await);
    }
}
