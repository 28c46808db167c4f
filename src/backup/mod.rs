//! The daemon's part in backups: where they lie, which there are, and what a restored state needs before work goes on.
//!
//! Backups are made, checked and restored by `assistant-backup` (`src/backup/archive/`), a program of its own, because
//! the daemon needs neither compression nor encryption for anything else.

pub mod config;
mod folder;
pub mod restored;
mod store;
pub mod swap;

pub use self::folder::{Folder, Keep, Note, file_name, is_recent};

/// What `backup.recipients` may hold: X25519 recipients of age (<https://age-encryption.org/v1>).
pub(crate) fn recipients(list: &[String]) -> Result<(), String> {
    const LENGTH: usize = 62;
    let bech32 = |c: char| c.is_ascii_digit() || (c.is_ascii_lowercase() && !"bio".contains(c));
    let fits =
        |text: &str| text.len() == LENGTH && text.strip_prefix("age1").is_some_and(|data| data.chars().all(bech32));
    match list.iter().find(|text| !fits(text)) {
        Some(text) if text.starts_with("AGE-SECRET-KEY-") => {
            Err("this is a secret key; expected its recipient, which age-keygen -y tells".into())
        }
        Some(text) => {
            Err(format!("expected recipients of age such as \"age1...\" with {LENGTH} characters, found {text:?}"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
