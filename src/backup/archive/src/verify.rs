//! Restores a backup into a scratch directory, and looks at everything.

use std::{fs, io, path::Path};

use assistant_api::backup::{BackupContents, BackupVerified};
use assistantd::{
    backup::Note,
    clock::Clock,
    error::{Error, ErrorKind, Result},
    store::snapshot,
};

use crate::{
    manifest::{Head, Skipped, Totals, contents},
    place::{Place, Spare, Working, room},
    seal::{Hashing, Opener, unreadable},
    source::{Format, Source},
    unpack::{Target, unpack},
};

/// What came out of a backup.
pub struct Opened {
    pub contents: BackupContents,
    /// SHA-256 of the file as it was read.
    pub sha256: String,
}

/// Unpacks a backup into the new directory `dir`: `assistant.db`, and `workspace`, `kept` and `config` unless it is the
/// copy of a database alone. Everything in it has been read and compared, and the database is sound.
///
/// # Errors
/// What is wrong with it.
pub fn open(source: &Source, place: &Place, dir: &Path, owner: Option<(u32, u32)>) -> Result<Opened> {
    let fail = |err: &io::Error| unreadable(err);
    let spare = place.config.retention.min_free_bytes.0;
    let above = dir.parent().unwrap_or(dir);
    if source.format == Format::Database {
        room(above, source.size()?, spare)?;
        fs::create_dir(dir).map_err(|err| fail(&err))?;
        let mut input = Hashing::new(source.reader()?);
        let mut copy = fs::File::create(dir.join("assistant.db")).map_err(|err| fail(&err))?;
        io::copy(&mut input, &mut copy).map_err(|err| fail(&err))?;
        let sound = snapshot::examine(&dir.join("assistant.db"))?;
        let created_at = source
            .file
            .metadata()
            .and_then(|meta| meta.modified())
            .ok()
            .and_then(|at| at.try_into().ok())
            .unwrap_or_default();
        let head = Head {
            format: crate::FORMAT,
            program: String::new(),
            schema: sound.schema as u64,
            created_at,
            estimated_bytes: 0,
        };
        let (_, sha256, bytes) = input.end();
        let totals = Totals { files: 1, bytes, ..Totals::default() };
        return Ok(Opened { contents: contents(&head, totals, Skipped::default(), sound.jobs), sha256 });
    }
    let mut input = Hashing::new(source.reader()?);
    let opener = Opener::new(&mut input, &source.identities)?;
    let target = Target { dir, spare: Spare::new(above, spare), owner };
    let (opener, unpacked) = unpack(opener, target, |head| room(above, head.estimated_bytes, spare))?;
    opener.end().map_err(|err| fail(&err))?;
    let sound = snapshot::examine(&dir.join("assistant.db"))?;
    if sound.schema as u64 != unpacked.head.schema {
        return Err(Error::invalid("its database is not of the version that it says"));
    }
    let (_, sha256, _) = input.end();
    Ok(Opened { contents: contents(&unpacked.head, unpacked.totals, unpacked.skipped, sound.jobs), sha256 })
}

/// Checks a backup, and notes in the folder what came of it.
///
/// # Errors
/// What is wrong with it.
pub fn verify(source: &Source, place: &Place, working: &Working, clock: &Clock) -> Result<BackupVerified> {
    let opened = match open(source, place, &working.path().join("verify"), None) {
        Ok(opened) => opened,
        Err(err) => {
            let err = refused(source, place, err);
            // All else, such as a key that is not here or a full disk, says nothing of the backup.
            if err.kind() == ErrorKind::Invalid {
                bad(source, place, &err, clock);
            }
            return Err(err);
        }
    };
    note(source, place, clock, |note| {
        note.backup.verified_at = note.backup.checked_at;
        note.backup.schema_version = Some(opened.contents.schema_version);
        note.backup.files = Some(opened.contents.files);
        note.backup.skipped = Some(opened.contents.skipped);
        note.sha256.clone_from(&opened.sha256);
    })?;
    Ok(BackupVerified {
        path: source.path.display().to_string(),
        encrypted: source.format == Format::Encrypted,
        contents: opened.contents,
    })
}

/// A file that nobody here can open may at least be what was written.
fn refused(source: &Source, place: &Place, err: Error) -> Error {
    let err = source.told(err);
    if source.format != Format::Encrypted || !source.identities.is_empty() {
        return err;
    }
    let name = source.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let noted = place.folder.note(name).filter(|note| !note.sha256.is_empty());
    let as_written = noted.and_then(|note| {
        let mut hashing = Hashing::new(source.reader().ok()?);
        io::copy(&mut hashing, &mut io::sink()).ok()?;
        Some(hashing.end().1 == note.sha256)
    });
    match as_written {
        Some(true) => Error::new(err.kind(), format!("{}; the file is byte for byte as it was written", err.message()))
            .hint("give the file of your age key with --identity FILE to look inside"),
        Some(false) => Error::invalid(format!("{}: the file is not as it was written", source.path.display())),
        None => err,
    }
}

/// Notes that it is bad. That this could not be noted is no news beside it.
fn bad(source: &Source, place: &Place, err: &Error, clock: &Clock) {
    let _ = note(source, place, clock, |note| {
        note.backup.verified_at = None;
        note.backup.problem = Some(err.message().to_owned());
    });
}

/// Notes what came of a check, if the backup lies in the folder.
fn note(source: &Source, place: &Place, clock: &Clock, change: impl FnOnce(&mut Note)) -> Result<()> {
    let name = source.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if source.path.parent() != Some(place.folder.path()) {
        return Ok(());
    }
    let Some(backup) = place.folder.list()?.into_iter().find(|backup| backup.name == name) else { return Ok(()) };
    let sha256 = place.folder.note(name).map(|note| note.sha256).unwrap_or_default();
    let mut note = Note { backup, sha256 };
    (note.backup.checked_at, note.backup.problem) = (Some(clock.now()), None);
    change(&mut note);
    place.folder.set_note(&note)
}
