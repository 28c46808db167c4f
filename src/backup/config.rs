//! `[backup]`

use crate::config::section::section;

section! {
    /// Backups of database and workspace, made by `assistantctl backup create` and every day by
    /// assistant-backup.timer.
    pub struct Backup = "backup" {
        /// Where they lie; the daemon's user must be able to write there, and the unit needs a
        /// `ReadWritePaths=` for it. Unset: `backups` in the state directory.
        directory: Option<String> = None, check crate::config::check::absolute;
        /// age recipients (`age1...`) who can open them. Empty: they are not encrypted.
        recipients: Vec<String> = Vec::new(), check crate::backup::recipients;
        /// Days of which the newest backup is kept.
        keep_daily: u32 = 7, in 1..=3650;
        /// Weeks of which the newest backup is kept.
        keep_weekly: u32 = 4, in 0..=520;
        /// Whether the daily backup is restored into a scratch directory after it is made, to see that
        /// it can be. One that is encrypted cannot be opened here and is not.
        verify: bool = true;
    }
}
