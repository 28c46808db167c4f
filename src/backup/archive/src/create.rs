//! Makes a backup while the daemon goes on.
//!
//! The database is copied first and the files after it, because a file is there before the database names it. What was
//! written meanwhile is newer than the database says, and where it came from is added at the end, so that no file is
//! trusted more than it was.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::Path,
};

use assistant_api::backup::{Backup, BackupCreated, BackupKind};
use assistantd::{
    backup::{Note, file_name, restored},
    clock::Clock,
    error::{Error, ErrorKind, Result},
    store::snapshot,
};
use jiff::{ToSpan as _, tz::TimeZone};

use crate::{
    FORMAT, gather,
    manifest::{Head, Skipped, Totals, contents, escape},
    place::{Place, Spare, Spared, Working, room},
    seal::{self, Hashing, Sealer},
    source::Source,
    tape::{Entry, Writer},
    verify,
};

/// What is wanted beside a backup.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Instead of those of the configuration.
    pub recipients: Vec<String>,
    /// Restore it into a scratch directory afterwards.
    pub verify: bool,
    /// Remove those that are no longer kept.
    pub prune: bool,
}

/// Bytes of a file of the configuration.
const MAX_CONFIG: u64 = 1 << 20;
/// Beginnings of names at the top of a workspace that belong to a restore.
const OWN: [&[u8]; 2] = [b".assistant-restoring", b".assistant-replaced-"];

/// Makes a backup in the folder.
///
/// # Errors
/// When anything of it fails; there is no new file then. After a failed check the file stays, and is not called good.
pub fn create(place: &Place, working: &Working, clock: &Clock, wanted: &Wanted) -> Result<BackupCreated> {
    let begun = write(place, working, clock, wanted, |partial| File::create_new(partial))?;
    let Written { file, made } = begun;
    let keep = |err: io::Error| Error::unavailable(format!("keeping the backup: {err}"));
    file.sync_all().map_err(keep)?;
    let mut at = made.head.created_at;
    let mut name = file_name(at, made.encrypted);
    while place.folder.path().join(&name).exists() {
        at = at.checked_add(1.second()).map_err(Error::internal)?;
        name = file_name(at, made.encrypted);
    }
    let path = place.folder.path().join(&name);
    fs::rename(working.path().join("archive"), &path).map_err(keep)?;
    File::open(place.folder.path()).and_then(|dir| dir.sync_all()).map_err(keep)?;
    let contents = contents(&made.head, made.totals, made.skipped, made.jobs);
    let backup = Backup {
        name,
        kind: BackupKind::Full,
        created_at: at,
        size_bytes: made.size,
        schema_version: Some(contents.schema_version),
        encrypted: made.encrypted,
        verified_at: None,
        checked_at: None,
        problem: None,
        files: Some(contents.files),
        skipped: Some(contents.skipped),
    };
    place.folder.set_note(&Note { backup, sha256: made.sha256 })?;
    let verified = wanted.verify && !made.encrypted;
    if verified {
        let source = Source::open(&path, &place.folder, None)?;
        verify::verify(&source, place, working, clock)?;
    }
    let mut removed = Vec::new();
    if wanted.prune {
        let zone = TimeZone::get(&place.config.app.timezone).unwrap_or(TimeZone::UTC);
        removed = place.folder.prune((&place.config.backup).into(), &zone)?;
    }
    let (path, size_bytes) = (path.display().to_string(), made.size);
    Ok(BackupCreated { path, size_bytes, contents, encrypted: made.encrypted, verified, removed })
}

/// Writes a backup to the standard output.
///
/// # Errors
/// When anything of it fails; what was written is then not whole, and refused when it is read.
pub fn pass(place: &Place, working: &Working, clock: &Clock, wanted: &Wanted) -> Result<BackupCreated> {
    let Written { made, .. } = write(place, working, clock, wanted, |_| Ok(io::stdout()))?;
    Ok(BackupCreated {
        path: "-".into(),
        size_bytes: made.size,
        contents: contents(&made.head, made.totals, made.skipped, made.jobs),
        encrypted: made.encrypted,
        verified: false,
        removed: Vec::new(),
    })
}

struct Written<W> {
    file: W,
    made: Made,
}

struct Made {
    head: Head,
    totals: Totals,
    skipped: Skipped,
    jobs: u64,
    sha256: String,
    size: u64,
    encrypted: bool,
}

fn write<W: Write>(
    place: &Place,
    working: &Working,
    clock: &Clock,
    wanted: &Wanted,
    out: impl FnOnce(&Path) -> io::Result<W>,
) -> Result<Written<W>> {
    let database = place.database();
    let recipients = if wanted.recipients.is_empty() { &place.config.backup.recipients } else { &wanted.recipients };
    let recipients = seal::recipients(recipients)?;
    let size = fs::metadata(&database)
        .map_err(|err| {
            Error::new(ErrorKind::NotFound, format!("there is no database {}: {err}", database.display()))
                .hint("as root (with sudo) the daemon of the system is meant, else this user's; or name --state-dir")
        })?
        .len();
    let spare = place.config.retention.min_free_bytes.0;
    let kept = place.state_dir.join("kept");
    let estimated_bytes = size + gather::allocated(&place.workspace) + gather::allocated(&kept);
    // The last one tells how far everything can be compressed; without one, not at all.
    let last = place.folder.list()?.into_iter().find(|backup| backup.kind == BackupKind::Full);
    let expected = last.map_or(estimated_bytes, |backup| backup.size_bytes);
    room(working.path(), size + expected, spare)?;

    let copy = working.path().join("assistant.db");
    snapshot::copy(&database, &copy)?;
    let schema = snapshot::examine(&copy).map_err(|err| {
        Error::new(err.kind(), format!("the database is not sound and no backup was made: {}", err.message()))
            .hint("bring the last good backup back; the list shows which were checked")
    })?;
    let head = Head {
        format: FORMAT,
        program: env!("CARGO_PKG_VERSION").into(),
        schema: schema.schema as u64,
        created_at: clock.now(),
        estimated_bytes,
    };
    let archive = || -> io::Result<(W, Totals, Skipped, String, u64)> {
        let partial = working.path().join("archive");
        let file = Spared::new(out(&partial)?, Spare::new(working.path(), spare));
        let sealer = Sealer::new(Hashing::new(BufWriter::with_capacity(256 << 10, file)), &recipients)?;
        let mut writer = Writer::new(sealer, working.path())?;
        writer.add_bytes("backup.json", serde_json::to_string_pretty(&head)?.as_bytes())?;
        configuration(&mut writer, place.config_dir.as_deref())?;
        gather::tree(&mut writer, &place.workspace, "workspace", |name| OWN.iter().any(|own| name.starts_with(own)))?;
        gather::tree(&mut writer, &kept, "kept", |_| false)?;
        restored::take_origins(&database, &copy).map_err(io::Error::other)?;
        let mut file = File::open(&copy)?;
        let entry = Entry::own("assistant.db", file.metadata()?.len());
        writer.add(&entry, &mut file)?;
        let (sealer, totals, skipped) = writer.end()?;
        let (buffer, sha256, size) = sealer.end()?.end();
        let mut file = buffer.into_inner().map_err(io::IntoInnerError::into_error)?.into_inner();
        file.flush()?;
        Ok((file, totals, skipped, sha256, size))
    };
    let (file, totals, skipped, sha256, size) = archive().map_err(|err| match err.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::storage_full(format!("writing the backup: {err}"))
                .hint("make room there, set backup.directory to another disk, or lower retention.min_free_bytes")
        }
        _ => Error::unavailable(format!("writing the backup: {err}")).source(err),
    })?;
    let encrypted = !recipients.is_empty();
    Ok(Written { file, made: Made { head, totals, skipped, jobs: schema.jobs, sha256, size, encrypted } })
}

/// Copies of the files of the configuration, for reading. Secrets are never in them.
fn configuration<W: Write>(writer: &mut Writer<W>, dir: Option<&Path>) -> io::Result<()> {
    let Some(dir) = dir.filter(|dir| dir.is_dir()) else { return Ok(()) };
    let folder = |name: &str| Entry { kind: crate::manifest::Kind::Dir, mode: 0o700, ..Entry::own(name, 0) };
    writer.add(&folder("config"), &mut io::empty())?;
    for (dir, name) in [(dir.to_owned(), "config"), (dir.join("conf.d"), "config/conf.d")] {
        if name != "config" && dir.is_dir() {
            writer.add(&folder(name), &mut io::empty())?;
        }
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        files.sort();
        for file in files {
            let wanted = file.extension().is_some_and(|end| end == "toml" || end == "md");
            let small = fs::metadata(&file).is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_CONFIG);
            let Some(own) = file.file_name().and_then(|name| name.to_str()).filter(|_| wanted && small) else {
                continue;
            };
            match fs::read(&file) {
                Ok(bytes) => writer.add_bytes(&format!("{name}/{own}"), &bytes)?,
                Err(err) => writer.skip(escape(format!("{name}/{own}").as_bytes()).as_bytes(), &err.to_string())?,
            }
        }
    }
    Ok(())
}
