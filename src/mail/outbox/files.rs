//! The messages themselves, as files of the state directory that nobody else reads.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crate::{
    cx::Cx,
    error::{Error, Result},
    mail,
};

/// How their names begin: what came has other ones.
const PREFIX: &str = "out-";

/// Writes a message and has it on disk when this returns; its name.
pub(super) async fn keep(cx: &Cx, bytes: Vec<u8>) -> Result<String> {
    let folder = mail::folder(&cx.state_dir);
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|err| Error::internal(err.to_string()))?;
    let name = format!("{PREFIX}{}.eml", crate::root::hex(&random));
    let path = folder.join(&name);
    tokio::task::spawn_blocking(move || write(&folder, &path, &bytes)).await.map_err(Error::internal)??;
    Ok(name)
}

fn write(folder: &Path, path: &Path, bytes: &[u8]) -> Result<()> {
    let fail = |err: std::io::Error| match err.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::storage_full("no room for a mail").source(err),
        _ => Error::unavailable("a mail cannot be written to the state directory").source(err),
    };
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(err) if err.kind() != ErrorKind::AlreadyExists => return Err(fail(err)),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(fail)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| File::open(folder)?.sync_all());
    written.map_err(|err| {
        let _ = std::fs::remove_file(path); // half a message is no use, and the error says more
        fail(err)
    })
}

/// Reads one.
pub(super) async fn read(cx: &Cx, name: &str) -> Result<Vec<u8>> {
    let path = place(cx, name)?;
    tokio::fs::read(&path).await.map_err(|err| Error::unavailable("the message is no longer there").source(err))
}

/// Removes one that is not needed; one that is gone is gone.
pub(super) async fn remove(cx: &Cx, name: &str) {
    let Ok(path) = place(cx, name) else { return };
    if let Err(err) = tokio::fs::remove_file(&path).await
        && err.kind() != ErrorKind::NotFound
    {
        tracing::warn!(name, error = %err, "a mail that is not needed cannot be removed");
    }
}

fn place(cx: &Cx, name: &str) -> Result<PathBuf> {
    if name.contains('/') || !name.starts_with(PREFIX) {
        return Err(Error::internal(format!("{name:?} is no message that was sent")));
    }
    Ok(mail::folder(&cx.state_dir).join(name))
}

/// Removes messages that no mail of the outbox has: a crash leaves one when it comes before the ledger knew of it. How
/// many. A young one may be about to be written down.
///
/// # Errors
/// When the database cannot be read.
pub async fn sweep(cx: &Cx) -> Result<u64> {
    const YOUNG: std::time::Duration = std::time::Duration::from_hours(1);
    let folder = mail::folder(&cx.state_dir);
    let found = tokio::task::spawn_blocking(move || {
        let Ok(entries) = std::fs::read_dir(&folder) else { return Vec::new() };
        let old = |entry: &std::fs::DirEntry| {
            let age = entry.metadata().and_then(|meta| meta.modified()).ok().and_then(|at| at.elapsed().ok());
            age.is_some_and(|age| age > YOUNG)
        };
        let names = entries.filter_map(Result::ok).filter(old).filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| name.starts_with(PREFIX)).collect::<Vec<_>>()
    });
    let names = found.await.map_err(Error::internal)?;
    if names.is_empty() {
        return Ok(0);
    }
    let known = cx.store.read(super::store::raw_names).await?;
    let mut removed = 0;
    for name in names.iter().filter(|name| !known.contains(*name)) {
        remove(cx, name).await;
        removed += 1;
    }
    Ok(removed)
}
