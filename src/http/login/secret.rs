//! What callers prove themselves with: random secrets of sessions and tokens, and the password.

use argon2::{
    Argon2,
    password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};

/// SHA-256 of a secret.
pub(super) type Hash = [u8; 32];

/// How secrets of tokens begin, so that people and scanners of leaked secrets know them.
pub(super) const PREFIX: &str = "ast_";
/// Fewest characters of a password.
pub(super) const LEAST: usize = 12;
/// Most bytes of a password: hashing it must not take long.
const MOST: usize = 1024;

/// 256 random bits from the kernel, as text.
pub(super) fn random() -> Result<String> {
    let mut bytes = [0; 32];
    fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn fill(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|err| Error::internal(err.to_string()))
}

/// What is kept of a secret; enough, as nobody guesses 256 bits.
pub(super) fn hash(secret: &str) -> Hash {
    Sha256::digest(secret).into()
}

/// What a page has to send along with a session's cookie, and cannot know without having been served by this daemon.
pub(super) fn csrf(session: &str) -> String {
    let mut hash = Sha256::new();
    hash.update("csrf\n");
    hash.update(session);
    URL_SAFE_NO_PAD.encode(hash.finalize())
}

/// Hashes a new password with argon2id and the crate's recommended parameters (OWASP: 19 MiB, two passes).
///
/// # Errors
/// `validation` when it is too short or too long.
pub(super) fn hash_password(password: &str) -> Result<String> {
    let length = password.chars().count();
    if length < LEAST || password.len() > MOST {
        return Err(Error::validation(format!("a password has {LEAST} characters at least and {MOST} bytes at most"))
            .field("password")
            .hint("a few words that nobody would guess are easy to remember"));
    }
    hash_text(password)
}

fn hash_text(text: &str) -> Result<String> {
    let mut salt = [0; 16];
    fill(&mut salt)?;
    let salt = SaltString::encode_b64(&salt).map_err(|err| Error::internal(err.to_string()))?;
    let hash = Argon2::default().hash_password(text.as_bytes(), &salt);
    Ok(hash.map_err(|err| Error::internal(err.to_string()))?.to_string())
}

/// Whether a password is the one with this hash. Takes as long for a wrong one.
pub(super) fn is_password(password: &str, hash: &str) -> bool {
    password.len() <= MOST
        && PasswordHash::new(hash)
            .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

/// What lets a secret be known again, and nobody guess it: argon2id over its hash, which bounds its length.
///
/// # Errors
/// `internal` without randomness.
pub(super) fn seal(secret: &str) -> Result<String> {
    hash_text(&URL_SAFE_NO_PAD.encode(hash(secret)))
}

/// Whether a secret is the one of this seal.
pub(super) fn is_sealed(secret: &str, seal: &str) -> bool {
    is_password(&URL_SAFE_NO_PAD.encode(hash(secret)), seal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_secret_is_known_again_however_long_it_is() {
        let long = "x".repeat(60_000);
        for secret in ["", "short", &long] {
            let seal = seal(secret).unwrap();
            assert!(seal.starts_with("$argon2id$") && seal.len() < 200, "{seal}");
            assert!(is_sealed(secret, &seal) && !is_sealed(&format!("{secret}x"), &seal));
        }
    }

    #[test]
    fn a_password_is_known_again_and_no_other_is() {
        let hash = hash_password("correct horse battery").unwrap();
        assert!(hash.starts_with("$argon2id$"), "{hash}");
        assert_ne!(hash, hash_password("correct horse battery").unwrap(), "each has a salt of its own");
        assert!(is_password("correct horse battery", &hash));
        for wrong in ["", "correct horse batter", "Correct horse battery", "correct horse battery "] {
            assert!(!is_password(wrong, &hash), "{wrong:?}");
        }
        assert!(!is_password("correct horse battery", "no hash at all"));
        assert!(hash_password("elevenchars").is_err() && hash_password("zwölfzeichen").is_ok());
        assert!(hash_password(&"x".repeat(MOST + 1)).is_err());
    }

    #[test]
    fn secrets_are_long_and_never_the_same() {
        let (one, other) = (random().unwrap(), random().unwrap());
        assert_eq!(one.len(), 43);
        assert_ne!(one, other);
        assert_ne!(csrf(&one), csrf(&other));
        assert_ne!(URL_SAFE_NO_PAD.encode(hash(&one)), csrf(&one), "what is stored is not what a page gets");
    }
}
