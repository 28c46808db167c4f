//! Zip files in the workspace: packed from what is there, and unpacked into a directory that appears whole or not at
//! all.
//!
//! What is unpacked is first written where nobody sees it, within bounds, and then copied into its place as any
//! directory is; so a refusal at the last entry leaves nothing behind, nor does the end of the daemon.

use std::{fs::File, io::Read as _};

use assistant_api::workspace::{Entry, Unzipped};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use zip::{ZipArchive, read::ZipFile, result::ZipError};

use super::{
    actor::Actor,
    archive::broken,
    change::{Change, perform},
    entry::entry,
    guard::Place,
    put::{self, Source},
    store,
};
use crate::{
    cx::Cx,
    error::{Error, ErrorKind, Result},
    policy::Origin,
    root::{Mode, Put, RelPath, Root},
};

/// Entries that one archive may have.
const MAX_ENTRIES: usize = 10_000;
/// How many times larger than the archive its content may be, above [`RATIO_FROM`]. Text shrinks to a tenth or so, and
/// Deflate makes at most 1032 bytes of one.
const MAX_RATIO: u64 = 200;
/// Content of this size is never held against its archive.
const RATIO_FROM: u64 = 16 << 20;
/// Bytes that are unpacked at once.
const BLOCK: usize = 128 << 10;

/// Packs a file or a directory into a zip file where nothing is: `destination`, or `path` with `.zip` behind it. Links,
/// tool results and the trash are left out.
///
/// # Errors
/// `not_found`, `conflict` when something is there, `too_large` as for [`Archive::of`](super::Archive::of).
pub async fn zip(cx: &Cx, mut actor: Actor, path: String, destination: Option<String>) -> Result<Entry> {
    cx.check_space()?;
    let place = Place::of(cx)?;
    let gone = CancellationToken::new();
    let _here = gone.clone().drop_guard();
    let (from, to, staged) = place
        .run(move |place| {
            let top = place.find(&path, None)?;
            let name = top.path.name().map_or_else(|| "workspace".to_owned(), |_| top.path.to_string());
            let to = place.writable(&destination.unwrap_or_else(|| format!("{name}.zip")))?;
            if let Some(spot) = place.spot(&to)? {
                spot.put(Mode::CreateOnly)?;
            }
            let archive = place.pack(&top, &gone)?;
            let mut staged = place.root.stage(&place.nearest(&to)?, &Root::temporary_name())?;
            each_block(archive.file, |block| staged.write(block))?;
            Ok((top.path.to_string(), to.to_string(), staged))
        })
        .await?;
    // The archive is as little trusted as the least of what is in it.
    let least = cx.store.read(move |conn| store::least_below(conn, &from)).await?;
    actor.origin = actor.origin.least(least);
    put::put(cx, &actor, to, Source::Staged(staged), Mode::CreateOnly).await
}

fn each_block(mut file: File, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut block = vec![0; BLOCK];
    loop {
        match file.read(&mut block).map_err(broken)? {
            0 => return Ok(()),
            count => take(&block[..count])?,
        }
    }
}

/// Where archives are unpacked, in the state directory.
const HOME: &str = ".unzip-";

/// Removes what an unpacking that was cut off has left; at the start, when none is under way.
pub async fn sweep(cx: &Cx) {
    let state_dir = cx.state_dir.clone();
    let swept = tokio::task::spawn_blocking(move || -> std::io::Result<()> {
        for entry in std::fs::read_dir(state_dir)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(HOME) && entry.file_type()?.is_dir() {
                std::fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    });
    match swept.await {
        Ok(Ok(())) => {}
        Ok(Err(err)) => tracing::warn!(error = %err, "what a cut-off unpacking left could not be removed"),
        Err(err) => tracing::warn!(error = %err, "what a cut-off unpacking left could not be removed"),
    }
}

/// What was unpacked, out of sight.
struct Unpacked {
    /// Goes with everything in it when it is dropped.
    _home: TempDir,
    root: Root,
    /// Below the directory that it will be.
    files: Vec<RelPath>,
}

/// Unpacks a zip file into a directory that is not there yet, or is empty: `destination`, or `path` without its
/// extension.
///
/// # Errors
/// `not_found`; `invalid` for what is no zip file or has in it links, encrypted files or names that lead elsewhere;
/// `conflict` when something is in the directory; `too_large` for too many entries, too many bytes
/// (`filesystem.max_archive_bytes`), or far more of them than the archive has itself.
pub async fn unzip(cx: &Cx, actor: &Actor, path: String, destination: Option<String>) -> Result<Unzipped> {
    cx.check_space()?;
    let place = Place::of(cx)?;
    let umask = cx.config.load().filesystem.umask();
    let gone = CancellationToken::new();
    let _here = gone.clone().drop_guard();
    let (from, to, unpacked) = place
        .run(move |place| {
            let spot = place.find(&path, None)?;
            if spot.existing()?.is_dir() {
                return Err(Error::invalid(format!("{} is a directory", spot.path)).field("path"));
            }
            let to = place.writable(&destination.map_or_else(|| stem(&spot.path), Ok)?)?;
            place.vacant(&to)?;
            let (file, _) = spot.open()?;
            let unpacked = place.unpack(file, &to, umask, &gone)?;
            Ok((spot.path, to, unpacked))
        })
        .await?;
    let guards = place.root.lock(&[&to]).await;
    let origin = super::origins::of(cx, from.as_str()).await?;
    let paths = unpacked.files.iter().map(|file| below(&to, file)).collect::<Result<Vec<_>>>()?;
    if origin > Origin::Tool {
        let known = paths.clone();
        // Before the files are there, so that a crash makes them less trusted, never more.
        cx.store
            .write(move |tx| known.iter().try_for_each(|path| store::set_origin(tx, path.as_str(), origin)))
            .await?;
    }
    let temporary = Root::temporary_name();
    let change = Change::Copy {
        from: from.to_string(),
        path: to.to_string(),
        is_dir: true,
        after: None,
        temporary: temporary.clone(),
    };
    perform(cx, actor, change, guards, move |place| {
        if let Some(empty) = place.vacant(&to)? {
            empty.remove_empty()?;
        }
        let source = unpacked.root.resolve(&unpacked.root.rel("d")?)?;
        place.root.copy(&source, &place.free(&to)?, &temporary, MAX_ENTRIES, &|_| false)?;
        let show = |path: &RelPath| {
            let meta = place.root.metadata(path).map_err(Error::in_doubt)?;
            Ok(meta.map(|meta| entry(path, &meta)))
        };
        let folder = show(&to)?.ok_or_else(|| Error::conflict(format!("{to} has gone again")))?;
        let files = paths.iter().filter_map(|path| show(path).transpose()).collect::<Result<_>>()?;
        Ok(Unzipped { folder, files })
    })
    .await
}

/// Where an archive is unpacked unless somebody says where.
fn stem(path: &RelPath) -> Result<String> {
    let name = path.name().unwrap_or_default();
    match name.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => Ok(path
            .parent()
            .map_or_else(|| Ok(stem.to_owned()), |above| above.join(stem).map(|path| path.to_string()))?),
        _ => Err(Error::invalid("the name of the archive does not say where to unpack it").field("destination_folder")),
    }
}

/// A path below `top`.
fn below(top: &RelPath, path: &RelPath) -> Result<RelPath> {
    path.names().try_fold(top.clone(), |above, name| above.join(name))
}

impl Place {
    /// Nothing, or an empty directory, which is given back.
    fn vacant(&self, path: &RelPath) -> Result<Option<crate::root::Spot>> {
        let Some(spot) = self.spot(path)?.filter(|spot| spot.meta.is_some()) else { return Ok(None) };
        if !spot.existing()?.is_dir() {
            return Err(Error::conflict(format!("{path} already exists")));
        }
        let (items, _) = self.root.list(path, 1)?;
        if !items.is_empty() {
            return Err(Error::conflict(format!("{path} is not empty")).hint("name another destination_folder"));
        }
        Ok(Some(spot))
    }

    fn unpack(&self, file: File, to: &RelPath, umask: u32, gone: &CancellationToken) -> Result<Unpacked> {
        let packed = file.metadata().map_err(broken)?.len();
        let most = self.max_archive.min(RATIO_FROM.max(packed.saturating_mul(MAX_RATIO)));
        let mut zip = ZipArchive::new(std::io::BufReader::new(file)).map_err(unreadable)?;
        if zip.len() > MAX_ENTRIES {
            return Err(Error::too_large(format!("the archive has more than {MAX_ENTRIES} entries")));
        }
        let home = tempfile::Builder::new().prefix(HOME).tempdir_in(&self.state_dir).map_err(broken)?;
        let root = Root::open(home.path(), umask)?;
        let top = root.rel("d")?;
        root.create_dir_all(&top)?;
        let (mut files, mut left) = (Vec::new(), most);
        for at in 0..zip.len() {
            let mut entry = zip.by_index(at).map_err(unreadable)?;
            let name = plain_name(&entry)?;
            let path = root.rel(&format!("d/{name}"))?;
            let inside = path.below(&top).map(|inside| root.rel(inside)).transpose()?;
            let Some(inside) = inside else { continue };
            self.rules.may_name(&below(to, &inside)?)?;
            if entry.is_dir() {
                root.create_dir_all(&path)?;
                continue;
            }
            if let Some(parent) = path.parent() {
                root.create_dir_all(&parent)?;
            }
            let spot = root.locate(&path)?;
            if spot.meta.is_some() {
                return Err(Error::invalid(format!("{inside} is in the archive twice")));
            }
            let mut staged = root.stage(&spot, &Root::temporary_name())?;
            let mut block = vec![0; BLOCK];
            loop {
                if gone.is_cancelled() {
                    return Err(Error::invalid("the request was given up"));
                }
                let count = entry.read(&mut block).map_err(|err| unreadable(err.into()))?;
                if count == 0 {
                    break;
                }
                left = left.checked_sub(count as u64).ok_or_else(|| {
                    Error::too_large(format!("the archive has more than {most} bytes in it"))
                        .hint("the bound is filesystem.max_archive_bytes, and 200 times the size of the archive")
                })?;
                staged.write(&block[..count])?;
            }
            staged.commit(&spot, Put::New)?;
            files.push(inside);
        }
        Ok(Unpacked { _home: home, root, files })
    }
}

/// The name of an entry that is a plain file or directory and lies where the archive is unpacked.
fn plain_name(entry: &ZipFile<'_, impl std::io::Read>) -> Result<String> {
    let name = entry.name().map_err(unreadable)?.into_owned();
    let refuse = |why: &str| Err(Error::invalid(format!("the archive has an entry that {why}")));
    // The type of the file, as Unix has it in the upper bits of the mode: none, a file, or a directory.
    if entry.unix_mode().is_some_and(|mode| !matches!(mode & 0o17_0000, 0 | 0o10_0000 | 0o4_0000)) {
        return refuse("is a link or a device");
    }
    if entry.encrypted() {
        return refuse("is encrypted");
    }
    if name.starts_with('/') || name.contains(['\\', '\0']) || name.split('/').any(|part| part == "..") {
        return refuse("leads out of its directory");
    }
    if name.chars().any(char::is_control) || name.get(1..2) == Some(":") {
        return refuse("has a name that no file can have");
    }
    if name.split('/').all(|part| matches!(part, "" | ".")) {
        return refuse("has no name");
    }
    Ok(name)
}

fn unreadable(err: ZipError) -> Error {
    match err {
        ZipError::Io(err) if err.raw_os_error().is_some() => broken(err),
        err => Error::new(ErrorKind::Invalid, format!("this is no zip file that can be unpacked: {err}")).field("path"),
    }
}
