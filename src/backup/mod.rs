//! The daemon's part in backups: where they lie, which there are, and what a restored state needs before work goes on.
//!
//! Backups are made, checked and restored by `assistant-backup` (`src/backup/archive/`), a program of its own, because
//! the daemon needs neither compression nor encryption for anything else.

mod api;
pub mod config;
mod folder;
pub mod restored;
mod store;
pub mod swap;

use assistant_api::backup::Backups;

pub use self::folder::{Folder, Keep, Note, file_name, is_recent};
use crate::{
    cx::Cx,
    error::{Error, Result},
    subsystems::Subsystem,
};

/// This subsystem.
pub const SUBSYSTEM: Subsystem = Subsystem { name: "backup", routes: api::routes, tools: &[], loops: &[] };

/// Which backups there are, and what is kept.
///
/// # Errors
/// `unavailable` when the folder cannot be read.
pub async fn list(cx: &Cx) -> Result<Backups> {
    let config = cx.config.load_full();
    let folder = Folder::of(&config, &cx.state_dir);
    let directory = folder.path().display().to_string();
    let backups = tokio::task::spawn_blocking(move || folder.list()).await.map_err(Error::internal)??;
    let keep = &config.backup;
    Ok(Backups {
        directory,
        backups,
        keep_daily: keep.keep_daily,
        keep_weekly: keep.keep_weekly,
        verify: keep.verify,
        recipients: u32::try_from(keep.recipients.len()).unwrap_or(u32::MAX),
    })
}

/// What `backup.recipients` may hold: X25519 recipients of age (<https://age-encryption.org/v1>).
pub(crate) fn recipients(list: &[String]) -> std::result::Result<(), String> {
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
