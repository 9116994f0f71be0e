//! Tokens and cookies: random, shown once, kept as hashes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngExt as _;
use sha2::{Digest as _, Sha256};

/// Prefix of every token, by which secret scanners find it in repositories.
const TOKEN: &str = "acq_";
/// Characters of a token that are kept in clear, to recognise it by.
const HINT: usize = 8;

/// A new token and what is kept of it.
#[derive(Debug)]
pub struct Secret {
    /// The text, which is not kept.
    pub text: String,
    /// Its hash.
    pub hash: [u8; 32],
}

impl Secret {
    /// A token of a program.
    #[must_use]
    pub fn token() -> Self {
        Self::of(format!("{TOKEN}{}", random()))
    }

    /// The cookie of a session.
    #[must_use]
    pub fn session() -> Self {
        Self::of(random())
    }

    fn of(text: String) -> Self {
        let hash = hash(&text);
        Self { text, hash }
    }

    /// Its first characters.
    #[must_use]
    pub fn hint(&self) -> &str {
        self.text.get(..HINT).unwrap_or_default()
    }
}

/// 256 random bits as text.
fn random() -> String {
    let bytes: [u8; 32] = rand::rng().random();
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A password that somebody has to type once.
#[must_use]
pub fn password() -> String {
    let bytes: [u8; 15] = rand::rng().random();
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The hash that is kept: the secret has 256 random bits, so a fast one will do.
#[must_use]
pub fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_recognisable_and_different() {
        let (one, other) = (Secret::token(), Secret::token());
        assert!(one.text.starts_with(TOKEN) && one.text.len() == 47);
        assert_ne!(one.hash, other.hash);
        assert_eq!(hash(&one.text), one.hash);
        assert_eq!(one.hint().len(), HINT);
    }
}
