//! `[retention]`

use crate::config::{
    section::section,
    value::{Bytes, Days, Hours},
};

section! {
    /// How long things are kept. The pass runs at start and `interval_hours` after the last one, moved
    /// back to 03:00 in `app.timezone` if that is a day or more.
    pub struct Retention = "retention" {
        /// Rows of task logs of jobs that ended.
        task_log_days: Days = Days::new(90);
        /// What models answered, word for word, of jobs that ended; the results themselves stay with the job.
        step_days: Days = Days::new(30);
        /// Deleted files in the trash.
        trash_days: Days = Days::new(30);
        /// Old contents of files that jobs changed, for undo.
        kept_file_days: Days = Days::new(30);
        /// Bytes that old contents may take together; the oldest go first.
        kept_file_bytes: Bytes = Bytes(5 << 30);
        /// Entries of the event stream.
        event_days: Days = Days::new(7);
        /// Records of what was done by hand.
        manual_event_days: Days = Days::new(365);
        /// Mails that were sent, with their messages; those in doubt stay.
        sent_mail_days: Days = Days::new(365);
        /// Mail that nobody acted on: its text, its headers, and the message with its attachments, which a person may
        /// accept until then.
        unused_mail_days: Days = Days::new(90);
        /// Bytes that messages of such mail with attachments may take together; the oldest go first.
        unused_mail_bytes: Bytes = Bytes(1 << 30);
        /// Time between two passes.
        interval_hours: Hours = Hours::new(24);
        /// Free bytes on the state directory's disk below which new work is refused.
        min_free_bytes: Bytes = Bytes(256 << 20);
    }
}
