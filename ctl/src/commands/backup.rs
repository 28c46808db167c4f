use std::{
    ffi::OsString,
    io::IsTerminal as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use assistant_api::{
    ErrorKind,
    backup::{BackupContents, BackupCreated, BackupKind, BackupList, BackupRestored, BackupVerified},
};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    Cx,
    exit::{Code, Failure, Result},
    local::quoted,
    output::{Style, Table, cell, state},
    text,
};

/// Where the package lays the program that does it.
const INSTALLED: &str = "/usr/lib/assistant/assistant-backup";

/// Make, check and restore backups of database and workspace
///
/// They work on the files of the daemon and not through its socket: for the
/// daemon of the system call them with sudo.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  sudo assistantctl backup create
  sudo assistantctl backup list
  sudo assistantctl backup restore assistant-20261122T030000Z.tar.zst --force")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

/// Places, if they are not those that the daemon finds by itself.
#[derive(clap::Args)]
struct Places {
    /// Folder of backups [default: backup.directory, else backups in the state
    /// directory]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Directory of the database and the workspace [default: the daemon's]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Configuration file [default: the daemon's]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Make a backup while the daemon goes on
    #[command(after_help = "Examples:
  sudo assistantctl backup create --verify
  sudo assistantctl backup create --recipient age1...
  sudo assistantctl backup create --stdout > /media/disk/assistant.tar.zst")]
    Create {
        /// Encrypt to this age recipient instead of those in
        /// backup.recipients; may be given again
        #[arg(long, value_name = "RECIPIENT")]
        recipient: Vec<String>,
        /// Restore it into a scratch directory afterwards
        #[arg(long, conflicts_with = "stdout")]
        verify: bool,
        /// Write it to the standard output and keep none
        #[arg(long)]
        stdout: bool,
        #[command(flatten)]
        places: Places,
    },
    /// Restore a backup into a scratch directory and look at everything
    #[command(after_help = "Examples:
  sudo assistantctl backup verify assistant-20261122T030000Z.tar.zst
  sudo assistantctl backup verify /media/disk/b.tar.zst.age --identity key.txt")]
    Verify {
        /// The file, or its name in the folder
        file: PathBuf,
        /// File with the age key that opens it
        #[arg(long, value_name = "FILE")]
        identity: Option<PathBuf>,
        #[command(flatten)]
        places: Places,
    },
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
    Restore {
        /// The file, its name in the folder, or a directory that an earlier
        /// restore put aside
        file: PathBuf,
        /// File with the age key that opens it
        #[arg(long, value_name = "FILE")]
        identity: Option<PathBuf>,
        /// Also where a state is already
        #[arg(long)]
        force: bool,
        /// Let work go on as soon as the daemon starts
        #[arg(long)]
        no_hold: bool,
        #[command(flatten)]
        places: Places,
    },
    /// List the backups, the newest first
    #[command(after_help = "Examples:
  sudo assistantctl backup list
  sudo assistantctl backup list -o json")]
    List {
        #[command(flatten)]
        places: Places,
    },
}

pub fn run(args: Args, cx: &Cx) -> Result {
    match args.verb {
        Verb::Create { recipient, verify, stdout, places } => {
            let mut call = Call::new("create", places)?;
            for one in recipient {
                call = call.option("--recipient", &one);
            }
            if stdout {
                return call.flag("--stdout", true).pass();
            }
            created(&call.flag("--verify", verify).ask()?, cx)
        }
        Verb::Verify { file, identity, places } => {
            let found: BackupVerified = Call::new("verify", places)?.identity(identity).file(&file).ask()?;
            if cx.out.json {
                cx.out.json(&found)?;
            } else {
                cx.out.line(format!("{} is good: {}", text::one_line(&found.path), held(&found.contents)))?;
                left_out(&found.contents, cx);
            }
            Ok(Code::Ok)
        }
        Verb::Restore { file, identity, force, no_hold, places } => {
            let call = Call::new("restore", places)?.identity(identity).flag("--force", force);
            restored(&call.flag("--no-hold", no_hold).file(&file).ask()?, cx)
        }
        Verb::List { places } => list(&Call::new("list", places)?.ask()?, cx),
    }
}

fn created(made: &BackupCreated, cx: &Cx) -> Result {
    if cx.out.json {
        cx.out.json(made)?;
        return Ok(Code::Ok);
    }
    cx.out.line(format!("{}, {}", text::one_line(&made.path), text::bytes(made.size_bytes)))?;
    cx.out.line(held(&made.contents))?;
    left_out(&made.contents, cx);
    match (made.encrypted, made.verified) {
        (true, _) => cx.out.line("encrypted; check it where its key is, with assistantctl backup verify")?,
        (false, true) => cx.out.line("restored into a scratch directory, and good")?,
        (false, false) => cx.out.note("anybody who can read this file can read all that is in it"),
    }
    Ok(Code::Ok)
}

fn restored(done: &BackupRestored, cx: &Cx) -> Result {
    if cx.out.json {
        cx.out.json(done)?;
        return Ok(Code::Ok);
    }
    cx.out.line(format!("{} is restored: {}", text::one_line(&done.path), held(&done.contents)))?;
    left_out(&done.contents, cx);
    if let Some(replaced) = &done.replaced {
        let replaced = quoted(&text::one_line(replaced));
        cx.out.line(format!("what was there before lies in {replaced}"))?;
        cx.out.line(format!("  to go back: assistantctl backup restore {replaced} --force"))?;
        cx.out.line(format!("  when all is well: rm -r {replaced}"))?;
    }
    if let Some(configuration) = &done.configuration {
        cx.out
            .line(format!("the configuration of that time lies in {}, for reading", text::one_line(configuration)))?;
    }
    if done.unknown_effects > 0 {
        cx.out.line(format!("{} effects were under way, see: assistantctl effects", done.unknown_effects))?;
    }
    cx.out.line("next: systemctl start assistantd.socket assistantd.service")?;
    if done.stopped {
        cx.out.line("work is stopped until: assistantctl resume")?;
    }
    Ok(Code::Ok)
}

fn list(list: &BackupList, cx: &Cx) -> Result {
    if cx.out.json {
        cx.out.json(list)?;
        return Ok(Code::Ok);
    }
    let mut table = Table::new(&["NAME", "MADE", "KIND", "SIZE", "SCHEMA", "FILES", "ENCRYPTED", "VERIFIED"]);
    let known = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    for one in &list.backups {
        table.row([
            cell(&one.name),
            cell(cx.out.when(one.created_at)),
            state(if one.kind == BackupKind::Full { "full" } else { "database" }),
            cell(text::bytes(one.size_bytes)),
            cell(known(one.schema_version)),
            cell(known(one.files)),
            cell(if one.encrypted { "yes" } else { "no" }),
            one.verified_at.map_or_else(|| ("no".into(), Style::Plain), |at| cell(cx.out.when(at))),
        ]);
    }
    cx.out.table(&table, &format!("no backups in {}", text::one_line(&list.directory)))?;
    Ok(Code::Ok)
}

/// What is in a backup, in a line.
fn held(contents: &BackupContents) -> String {
    format!(
        "{} files, {} jobs, {} unpacked, schema {}",
        contents.files,
        contents.jobs,
        text::bytes(contents.bytes),
        contents.schema_version
    )
}

fn left_out(contents: &BackupContents, cx: &Cx) {
    if contents.skipped == 0 {
        return;
    }
    cx.out.note(&format!("not in it, or not as they were: {}", contents.skipped));
    for one in &contents.skipped_first {
        cx.out.note(&format!("  {}: {}", text::one_line(&one.path), text::one_line(&one.reason)));
    }
}

/// One call of the program that does it.
struct Call {
    program: PathBuf,
    arguments: Vec<OsString>,
    file: Option<PathBuf>,
}

/// What the program says when something is wrong.
#[derive(Deserialize)]
struct Problem {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
}

impl Call {
    fn new(verb: &str, places: Places) -> Result<Self> {
        let mut call = Self { program: find()?, arguments: vec![verb.into()], file: None };
        let Places { directory, state_dir, config } = places;
        for (name, path) in [("--directory", directory), ("--state-dir", state_dir), ("--config", config)] {
            if let Some(path) = path {
                call.arguments.extend([name.into(), path.into()]);
            }
        }
        Ok(call)
    }

    fn option(mut self, name: &str, value: &str) -> Self {
        self.arguments.extend([name.into(), value.into()]);
        self
    }

    fn flag(mut self, name: &str, wanted: bool) -> Self {
        self.arguments.extend(wanted.then(|| name.into()));
        self
    }

    fn identity(mut self, file: Option<PathBuf>) -> Self {
        if let Some(file) = file {
            self.arguments.extend(["--identity".into(), file.into()]);
        }
        self
    }

    fn file(mut self, file: &Path) -> Self {
        self.file = Some(file.to_owned());
        self
    }

    fn command(&self, how: Option<&str>) -> Command {
        let mut command = Command::new(&self.program);
        command.args(how).args(&self.arguments).stdin(Stdio::null());
        if let Some(file) = &self.file {
            command.arg("--").arg(file);
        }
        command
    }

    fn failed(&self, err: &std::io::Error) -> Failure {
        Failure::file("running", &self.program, err)
    }

    /// Runs it and reads what it says.
    fn ask<T: DeserializeOwned>(&self) -> Result<T> {
        let output = self.command(Some("--json")).output().map_err(|err| self.failed(&err))?;
        if output.status.success() {
            return serde_json::from_slice(&output.stdout).map_err(|err| {
                Failure::new(Code::Failed, format!("{} says what cannot be read: {err}", self.program.display()))
            });
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let problem = said.lines().rev().find_map(|line| serde_json::from_str::<Problem>(line).ok());
        Err(match problem {
            Some(Problem { kind, message, hint }) => {
                let mut failure = Failure::new(Code::of(kind), message);
                failure.kind = kind.as_str();
                failure.hint = hint.map(Into::into);
                failure
            }
            None => {
                Failure::new(Code::Failed, format!("assistant-backup ended with {}: {}", output.status, said.trim()))
            }
        })
    }

    /// Lets it write to the standard output itself.
    fn pass(&self) -> Result {
        if std::io::stdout().is_terminal() {
            return Err(
                Failure::usage("a backup is not for a terminal").hint("write it to a file: ... --stdout > FILE")
            );
        }
        let status = self.command(None).status().map_err(|err| self.failed(&err))?;
        if status.success() {
            return Ok(Code::Ok);
        }
        Err(Failure::new(Code::Failed, "what was written is no whole backup; the reason stands above"))
    }
}

/// The program: beside this one, else where the package lays it.
fn find() -> Result<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join("assistant-backup")));
    beside.into_iter().chain([INSTALLED.into()]).find(|place| place.is_file()).ok_or_else(|| {
        Failure::new(Code::NotFound, format!("there is no {INSTALLED}")).hint("install the package assistant again")
    })
}
