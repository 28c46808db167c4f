use std::{
    ffi::OsString,
    io::IsTerminal as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use assistant_api::{
    ErrorKind,
    backup::{
        BackupContents, BackupCreated, BackupKind, BackupList, BackupRestored, BackupVerified,
        arguments::{Create, Places, Verb},
    },
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
    #[command(flatten)]
    places: Places,
    #[command(subcommand)]
    verb: Verb,
}

pub fn run(args: Args, cx: &Cx) -> Result {
    let call = Call { program: find()?, arguments: args.verb.words(&args.places) };
    match args.verb {
        Verb::Create(Create { stdout: true, .. }) => call.pass(),
        Verb::Create(_) => created(&call.ask()?, cx),
        Verb::Verify(_) => {
            let found: BackupVerified = call.ask()?;
            if cx.out.json {
                cx.out.json(&found)?;
            } else {
                cx.out.line(format!("{} is good: {}", text::one_line(&found.path), held(&found.contents)))?;
                left_out(&found.contents, cx);
            }
            Ok(Code::Ok)
        }
        Verb::Restore(_) => restored(&call.ask()?, cx),
        Verb::List => list(&call.ask()?, cx),
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
    for name in &made.removed {
        cx.out.line(format!("removed {}", text::one_line(name)))?;
    }
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
            match (&one.problem, one.verified_at) {
                (Some(_), _) => ("bad".into(), Style::Bad),
                (None, Some(at)) => cell(cx.out.when(at)),
                (None, None) => cell("no"),
            },
        ]);
    }
    cx.out.table(&table, &format!("no backups in {}", text::one_line(&list.directory)))?;
    for one in &list.backups {
        if let Some(problem) = &one.problem {
            cx.out.note(&format!("{} is bad: {}", text::one_line(&one.name), text::one_line(problem)));
        }
    }
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
}

/// What the program says when something is wrong.
#[derive(Deserialize)]
struct Problem {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
}

impl Call {
    fn command(&self, how: Option<&str>) -> Command {
        let mut command = Command::new(&self.program);
        command.args(how).args(&self.arguments).stdin(Stdio::null());
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
