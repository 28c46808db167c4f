//! Backups, as `assistant-backup` tells of them and `assistantctl backup` shows them.

#[cfg(feature = "arguments")]
pub mod arguments;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is known of one backup without opening it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Backup {
    /// Name of the file in the folder of backups.
    pub name: String,
    /// `full`, or `database`: the copy that was made of the database before an upgrade.
    pub kind: BackupKind,
    pub created_at: Timestamp,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// Schema version of the database in it, if that is known.
    pub schema_version: Option<u64>,
    /// Whether it can be opened only with the identity of an age recipient.
    pub encrypted: bool,
    /// When it was last restored into a scratch directory and found good; null again once a check finds it bad.
    pub verified_at: Option<Timestamp>,
    /// When it was last checked, whatever came of it.
    #[serde(default)]
    pub checked_at: Option<Timestamp>,
    /// What the last check found wrong with it.
    #[serde(default)]
    pub problem: Option<String>,
    /// Files in it, if that is known.
    pub files: Option<u64>,
    /// What was in the workspace and is not in it, if that is known.
    pub skipped: Option<u64>,
}

/// What a backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BackupKind {
    Full,
    Database,
}

/// `GET /api/backups`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Backups {
    /// The folder in which they lie.
    pub directory: String,
    /// The newest first.
    pub backups: Vec<Backup>,
    /// `backup.keep_daily`
    pub keep_daily: u32,
    /// `backup.keep_weekly`
    pub keep_weekly: u32,
    /// `backup.verify`: whether those of the timer are checked when they are made.
    pub verify: bool,
    /// How many age recipients can open those that are made; 0: they are not encrypted.
    pub recipients: u32,
}

/// `backup list`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupList {
    pub directory: String,
    /// The newest first.
    pub backups: Vec<Backup>,
}

/// `backup create`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupCreated {
    /// Where it lies; `-` if it was written to the standard output.
    pub path: String,
    pub size_bytes: u64,
    pub contents: BackupContents,
    pub encrypted: bool,
    pub verified: bool,
    /// Names of older ones that were removed because their time was over.
    pub removed: Vec<String>,
}

/// What a backup holds, as it was found when it was written or read as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupContents {
    pub created_at: Timestamp,
    /// Version of the program that made it.
    pub program: String,
    pub schema_version: u64,
    pub files: u64,
    pub directories: u64,
    pub links: u64,
    /// Bytes of all files together, unpacked.
    pub bytes: u64,
    /// Jobs in the database.
    pub jobs: u64,
    /// What was in the workspace and is not in it: how many, and the first of them.
    pub skipped: u64,
    pub skipped_first: Vec<BackupSkipped>,
}

/// Something that a backup does not hold as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupSkipped {
    pub path: String,
    pub reason: String,
}

/// `backup verify`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupVerified {
    pub path: String,
    pub encrypted: bool,
    pub contents: BackupContents,
}

/// `backup restore`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupRestored {
    pub path: String,
    pub state_directory: String,
    pub contents: BackupContents,
    /// Where what was there before lies now.
    pub replaced: Option<String>,
    /// Where the configuration files of the backup lie, for reading.
    pub configuration: Option<String>,
    /// Whether work waits for `assistantctl resume`.
    pub stopped: bool,
    /// Effects that were under way when the backup was made, of which nobody knows what became.
    pub unknown_effects: u64,
}
