//! `assistant-backup`: arguments and words; `assistantctl backup` and the daily timer run it.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    process::ExitCode,
};

use assistant_api::backup::{
    BackupContents, BackupCreated, BackupKind, BackupList, BackupRestored, BackupVerified,
    arguments::{Create, Places, Restore, Verb, Verify},
};
use assistant_backup::{create, place::Place, restore, source::Source, verify};
use assistantd::{
    backup::Folder,
    clock::Clock,
    config::{Environment, Wanted},
    error::{Error, Result},
};
use clap::Parser;
use nix::sys::stat::{Mode, umask};
use serde::Serialize;

const FAILURE: u8 = 1;
const USAGE: u8 = 64;

/// Makes, checks and restores backups of the assistant's database and workspace.
///
/// For people there is assistantctl backup; this is the program behind it and behind assistant-backup.timer. Started as
/// root it becomes the user to whom the state directory belongs.
#[derive(Parser)]
#[command(name = "assistant-backup", version, max_term_width = 80)]
struct Cli {
    /// Say what was done, or what is wrong, as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    places: Places,
    #[command(subcommand)]
    verb: Verb,
}

fn main() -> ExitCode {
    let environment = Environment::capture();
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(err) => {
            let _ = err.print();
            return if err.use_stderr() { USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    let json = cli.json;
    match run(cli, environment) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            complain(&err, json);
            FAILURE.into()
        }
    }
}

fn complain(err: &Error, json: bool) {
    let mut stderr = io::stderr().lock();
    if json {
        let problem =
            serde_json::json!({ "kind": err.kind().as_str(), "message": err.message(), "hint": err.hint_text() });
        let _ = writeln!(stderr, "{problem}");
        return;
    }
    let _ = writeln!(stderr, "error: {}", err.chain());
    if let Some(hint) = err.hint_text() {
        let _ = writeln!(stderr, "hint: {hint}");
    }
}

fn run(cli: Cli, environment: Environment) -> Result<()> {
    let (json, Places { config, state_dir, directory }) = (cli.json, cli.places);
    let mut place = Place::find(&Wanted { config, state_dir, runtime_dir: None }, environment)?;
    if let Some(directory) = directory {
        place.folder = Folder::at(std::path::absolute(directory).map_err(Error::internal)?);
    }
    let clock = Clock::default();
    match cli.verb {
        Verb::Create(Create { recipient, stdout, verify, scheduled }) => {
            place.become_owner()?;
            let working = place.work()?;
            let verify = verify || (scheduled && place.config.backup.verify);
            let wanted = create::Wanted { recipients: recipient, verify, prune: scheduled };
            if stdout {
                let made = create::pass(&place, &working, &clock, &wanted)?;
                let _ = write!(io::stderr(), "{}", created(&made));
                return Ok(());
            }
            tell(json, &create::create(&place, &working, &clock, &wanted)?, created)
        }
        Verb::Verify(Verify { file, identity }) => {
            let source = Source::open(&file, &place.folder, identity.as_deref())?;
            place.become_owner()?;
            let working = place.work()?;
            tell(json, &verify::verify(&source, &place, &working, &clock)?, verified)
        }
        Verb::Restore(Restore { file, identity, force, no_hold }) => {
            let replaced = file.is_dir();
            let from = if replaced {
                restore::From::Replaced(std::path::absolute(file).map_err(Error::internal)?)
            } else {
                restore::From::Backup(Box::new(Source::open(&file, &place.folder, identity.as_deref())?))
            };
            place.become_owner()?;
            let wanted = restore::Wanted { force, hold: !no_hold };
            tell(json, &restore::restore(&from, &place, &clock, wanted)?, restored)
        }
        Verb::List => {
            let list =
                BackupList { directory: place.folder.path().display().to_string(), backups: place.folder.list()? };
            tell(json, &list, listed)
        }
    }
}

fn tell<T: Serialize>(json: bool, what: &T, words: impl Fn(&T) -> String) -> Result<()> {
    let text = if json { serde_json::to_string(what)? + "\n" } else { words(what) };
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(err) if err.kind() != io::ErrorKind::BrokenPipe => Err(Error::internal(err)),
        _ => Ok(()),
    }
}

fn held(contents: &BackupContents) -> String {
    let mut text = format!(
        "{} files and {} jobs, {} MiB, schema {}",
        contents.files,
        contents.jobs,
        contents.bytes.div_ceil(1 << 20),
        contents.schema_version
    );
    if contents.skipped > 0 {
        let _ = write!(text, "\nnot in it, or not as they were: {}", contents.skipped);
        for one in &contents.skipped_first {
            let _ = write!(text, "\n  {}: {}", one.path, one.reason);
        }
    }
    text + "\n"
}

fn created(made: &BackupCreated) -> String {
    let how = match (made.encrypted, made.verified) {
        (true, _) => ", encrypted",
        (false, true) => ", restored into a scratch directory and good",
        (false, false) => "",
    };
    let mut text = format!("{}: {} KiB{how}\n{}", made.path, made.size_bytes.div_ceil(1024), held(&made.contents));
    for name in &made.removed {
        let _ = writeln!(text, "removed {name}");
    }
    text
}

fn verified(found: &BackupVerified) -> String {
    format!("{}: good\n{}", found.path, held(&found.contents))
}

fn restored(done: &BackupRestored) -> String {
    let mut text = format!("{} is in {}\n{}", done.path, done.state_directory, held(&done.contents));
    if let Some(replaced) = &done.replaced {
        let _ = writeln!(text, "what was there before lies in {replaced}");
    }
    if done.stopped {
        text += "work is stopped until it is resumed\n";
    }
    text
}

fn listed(list: &BackupList) -> String {
    let mut text = String::new();
    for one in &list.backups {
        let kind = if one.kind == BackupKind::Full { "full" } else { "database" };
        let _ = writeln!(text, "{} {kind} {} KiB", one.name, one.size_bytes.div_ceil(1024));
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_manual_page_is_up_to_date() {
        let man = clap_mangen::Man::new(Cli::command()).section("8").manual("Assistant");
        let mut page = Vec::new();
        man.render(&mut page).unwrap();
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/man/assistant-backup.8");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&file, &page).unwrap();
        }
        let found = std::fs::read(&file).unwrap_or_default();
        assert!(
            found == page,
            "docs/man/assistant-backup.8 is stale: BLESS=1 cargo test -p assistant-backup --bin assistant-backup"
        );
    }
}
