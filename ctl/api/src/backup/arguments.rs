//! What `assistantctl backup` and `assistant-backup` take as arguments: the first is for people and calls the second.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};

/// Places, if they are not those that the daemon finds by itself.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Configuration file; drop-ins are read from conf.d beside it [default:
    /// the daemon's]
    #[arg(long, global = true, value_name = "FILE", display_order = 100)]
    pub config: Option<PathBuf>,
    /// Directory of the database and the workspace [default: the daemon's]
    #[arg(long, global = true, value_name = "DIR", display_order = 100)]
    pub state_dir: Option<PathBuf>,
    /// Folder of backups [default: backup.directory, else backups in the state
    /// directory]
    #[arg(long, global = true, value_name = "DIR", display_order = 100)]
    pub directory: Option<PathBuf>,
}

/// What is to be done.
#[derive(Subcommand, Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Make a backup while the daemon goes on
    #[command(after_help = "Examples:
  sudo assistantctl backup create --verify
  sudo assistantctl backup create --recipient age1...
  sudo assistantctl backup create --stdout > /media/disk/assistant.tar.zst")]
    Create(Create),
    /// Restore a backup into a scratch directory and look at everything
    #[command(after_help = "Examples:
  sudo assistantctl backup verify assistant-20261122T030000Z.tar.zst
  sudo assistantctl backup verify /media/disk/b.tar.zst.age --identity key.txt")]
    Verify(Verify),
    /// Put a backup in the place of the state
    ///
    /// The daemon must be stopped. A state that is there is put aside, and can
    /// be put back. Afterwards all work is stopped until `assistantctl resume`:
    /// what jobs did since the backup was made is not known any more.
    #[command(after_help = "Examples:
  sudo systemctl stop assistantd.socket assistantd.service
  sudo assistantctl backup restore assistant-20261122T030000Z.tar.zst --force
  sudo systemctl start assistantd.socket assistantd.service
  sudo assistantctl resume")]
    Restore(Restore),
    /// List the backups, the newest first
    #[command(after_help = "Examples:
  sudo assistantctl backup list
  sudo assistantctl backup list -o json")]
    List,
}

#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Create {
    /// Encrypt to this age recipient instead of those in backup.recipients; may
    /// be given again
    #[arg(long, value_name = "RECIPIENT")]
    pub recipient: Vec<String>,
    /// Restore it into a scratch directory afterwards
    #[arg(long, conflicts_with = "stdout")]
    pub verify: bool,
    /// Write it to the standard output and keep none
    #[arg(long)]
    pub stdout: bool,
    /// As the daily timer does: check it if backup.verify says so, and remove
    /// those that are no longer kept
    #[arg(long, conflicts_with = "stdout")]
    pub scheduled: bool,
}

#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Verify {
    /// The file, or its name in the folder
    pub file: PathBuf,
    /// File with the age key that opens it
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
}

#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Restore {
    /// The file, its name in the folder, or a directory that an earlier restore
    /// put aside
    pub file: PathBuf,
    /// File with the age key that opens it
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Also where a state is already
    #[arg(long)]
    pub force: bool,
    /// Let work go on as soon as the daemon starts
    #[arg(long)]
    pub no_hold: bool,
}

impl Verb {
    /// The arguments by which another program hears the same.
    #[must_use]
    pub fn words(&self, places: &Places) -> Vec<OsString> {
        let Places { config, state_dir, directory } = places;
        let mut words = Words::default();
        words.path("--config", config.as_deref());
        words.path("--state-dir", state_dir.as_deref());
        words.path("--directory", directory.as_deref());
        match self {
            Self::Create(Create { recipient, verify, stdout, scheduled }) => {
                words.word("create");
                for one in recipient {
                    words.path("--recipient", Some(Path::new(one)));
                }
                words.flag("--verify", *verify);
                words.flag("--stdout", *stdout);
                words.flag("--scheduled", *scheduled);
            }
            Self::Verify(Verify { file, identity }) => {
                words.word("verify");
                words.path("--identity", identity.as_deref());
                words.file(file);
            }
            Self::Restore(Restore { file, identity, force, no_hold }) => {
                words.word("restore");
                words.path("--identity", identity.as_deref());
                words.flag("--force", *force);
                words.flag("--no-hold", *no_hold);
                words.file(file);
            }
            Self::List => words.word("list"),
        }
        words.0
    }
}

#[derive(Default)]
struct Words(Vec<OsString>);

impl Words {
    fn word(&mut self, word: &str) {
        self.0.push(word.into());
    }

    fn flag(&mut self, name: &str, given: bool) {
        self.0.extend(given.then(|| name.into()));
    }

    /// In one word, so that a value may begin like an option.
    fn path(&mut self, name: &str, value: Option<&Path>) {
        if let Some(value) = value {
            let mut word = OsString::from(name);
            word.push("=");
            word.push(value);
            self.0.push(word);
        }
    }

    fn file(&mut self, file: &Path) {
        self.0.extend(["--".into(), file.into()]);
    }
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        places: Places,
        #[command(subcommand)]
        verb: Verb,
    }

    #[test]
    fn another_program_hears_the_same() {
        let odd = || Some(PathBuf::from(OsStr::from_bytes(b"--a b=\xff")));
        let all = Places { config: odd(), state_dir: odd(), directory: odd() };
        let file = odd().unwrap();
        let verbs = [
            Verb::Create(Create::default()),
            Verb::Create(Create {
                recipient: vec!["age1".to_owned(), "--age2".to_owned()],
                verify: true,
                stdout: false,
                scheduled: true,
            }),
            Verb::Create(Create { stdout: true, ..Create::default() }),
            Verb::Verify(Verify { file: file.clone(), identity: odd() }),
            Verb::Restore(Restore { file: file.clone(), identity: odd(), force: true, no_hold: true }),
            Verb::Restore(Restore { file, ..Restore::default() }),
            Verb::List,
        ];
        for verb in verbs {
            for places in [Places::default(), all.clone()] {
                let words = verb.words(&places);
                let heard = Program::try_parse_from([OsString::from("program")].iter().chain(&words)).unwrap();
                assert_eq!((heard.verb, heard.places), (verb.clone(), places), "{words:?}");
            }
        }
    }
}
