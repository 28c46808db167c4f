//! Named points at which a crash test has the daemon killed, as a power cut would end it.
//!
//! Nothing happens at them unless `main` armed one from `ASSISTANT_CRASH_AT`. A kill ends the whole process, so what is
//! armed belongs to the process and not to a daemon in it: this is the one static of the program.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use nix::sys::signal::{Signal, raise};

use crate::error::{Error, Result};

/// The variable that `main` reads: a point's name, with `:N` for the N-th time it is reached.
pub const VARIABLE: &str = "ASSISTANT_CRASH_AT";

macro_rules! points {
    ($($(#[$about:meta])* $group:ident { $($(#[$doc:meta])* $name:ident = $text:literal;)* })*) => {
        /// Where the daemon can be killed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Point { $($($(#[$doc])* $name,)*)* }

        impl Point {
            $($(#[$about])* pub const $group: &[Self] = &[$(Self::$name,)*];)*

            /// All of them.
            pub const ALL: &[Self] = &[$($(Self::$name,)*)*];

            /// As [`VARIABLE`] names it.
            pub fn name(self) -> &'static str {
                match self { $($(Self::$name => $text,)*)* }
            }
        }
    };
}

points! {
    /// In the order of one tool call's life.
    JOB {
        /// The runner holds the lease of a job and has told nobody.
        Claimed = "jobs.claimed";
        /// The first prompt is stored.
        PromptStored = "agent.prompt-stored";
        /// The model is about to be asked.
        BeforeModel = "agent.before-model";
        /// The model has answered, and nothing of it is stored.
        AfterModel = "agent.after-model";
        /// The answer is stored, and nothing has acted on it.
        AnswerStored = "agent.answer-stored";
        /// The ledger says that an effect is under way, and it is not.
        EffectDispatched = "ledger.dispatched";
        /// The new content lies beside the file that it will replace.
        FileWritten = "root.file-written";
        /// The new content has replaced the old one, and the ledger does not know.
        FileRenamed = "root.file-renamed";
        /// The ledger knows what came of the effect, and the conversation does not.
        EffectSettled = "ledger.settled";
        /// The results of an answer's calls are stored.
        ResultsStored = "agent.results-stored";
        /// The run is over, and the job does not say so.
        BeforeOutcome = "jobs.before-outcome";
        /// The job says how its run ended.
        OutcomeStored = "jobs.outcome-stored";
    }
    /// In the order of one mail's way out.
    MAIL {
        /// The mail is in the outbox.
        MailPrepared = "mail.prepared";
        /// The ledger says that it is under way, and the server has nothing of it.
        MailDispatched = "mail.dispatched";
        /// The server has answered, and the ledger does not know.
        MailTaken = "mail.taken";
        /// The ledger knows that it was sent.
        MailConfirmed = "mail.confirmed";
    }
    /// In the order of its copy in the folder of sent mail.
    MAIL_COPY {
        /// The row says that a copy is being made, and none is.
        CopyBegun = "mail.copy-begun";
        /// The copy lies in its folder, and the row does not say so.
        CopyLaid = "mail.copy-laid";
    }
    /// In the order of one message's way in.
    MAIL_IN {
        /// A message lies in a file, and no row knows of it.
        MailFetched = "mail.fetched";
        /// The decision about it is stored, with the place to go on from.
        MailDecided = "mail.decided";
        /// It is about to be moved to the archive folder.
        MailArchiving = "mail.archiving";
        /// It is moved, and its row does not say so.
        MailArchived = "mail.archived";
    }
    /// In the order of one attachment.
    ARTIFACT {
        /// What it says is in a file without a name.
        ArtifactMade = "artifacts.made";
        /// The file is in the workspace, and its row does not say so.
        ArtifactPlaced = "artifacts.placed";
        /// The row says so, and the job of the mail is held.
        ArtifactSettled = "artifacts.settled";
    }
    /// In the order of an upgrade of the database.
    MIGRATION {
        /// The copy of the database is written, and does not have its name.
        CopyWritten = "store.copy-written";
        /// The copy is whole and has its name.
        CopyKept = "store.copy-kept";
        /// All changes are made, and none is committed.
        Migrated = "store.migrated";
        /// The changes are committed.
        Committed = "store.committed";
    }
}

struct Armed {
    point: Point,
    left: AtomicU64,
}

static ARMED: OnceLock<Armed> = OnceLock::new();

/// Arms one point for the life of the process.
///
/// # Errors
/// `invalid` when there is no such point, or one is armed already.
pub fn arm(text: &str) -> Result<()> {
    let (name, times) = text.split_once(':').unwrap_or((text, "1"));
    let point = Point::ALL.iter().copied().find(|point| point.name() == name);
    let times = times.parse().ok().filter(|times| *times > 0);
    let (Some(point), Some(times)) = (point, times) else {
        let names: Vec<_> = Point::ALL.iter().map(|point| point.name()).collect();
        return Err(Error::invalid(format!(
            "{VARIABLE}={text} is not one of {}, with :N or without",
            names.join(", ")
        )));
    };
    ARMED
        .set(Armed { point, left: AtomicU64::new(times) })
        .map_err(|_| Error::invalid(format!("{VARIABLE} is armed already")))
}

/// Says that `point` is reached; does not return when it is the one that kills.
pub fn hit(point: Point) {
    let Some(armed) = ARMED.get() else { return };
    if armed.point == point && armed.left.fetch_sub(1, Ordering::Relaxed) == 1 {
        let _ = raise(Signal::SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_points_are_refused_with_the_list() {
        for text in ["", "nowhere", "jobs.claimed:0", "jobs.claimed:x"] {
            let err = arm(text).unwrap_err();
            assert!(err.message().contains("jobs.claimed"), "{err}");
        }
    }

    #[test]
    fn nothing_happens_unarmed() {
        for point in Point::ALL {
            hit(*point);
        }
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<_> = Point::ALL.iter().map(|point| point.name()).collect();
        assert_eq!(names.len(), Point::ALL.len());
    }
}
