//! Writes the tree of an archive into a directory of its own. Nobody vouches for an archive: no entry leads out of the
//! directory, follows a link, or takes the place of another one.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read, Seek as _, SeekFrom, Write as _},
    os::{
        fd::AsFd as _,
        unix::{ffi::OsStrExt as _, fs::DirBuilderExt as _},
    },
    path::Path,
};

use assistant_api::backup::BackupSkipped;
use assistantd::error::{Error, Result};
use cap_fs_ext::{DirExt as _, FollowSymlinks, OpenOptionsFollowExt as _};
use cap_std::{
    ambient_authority,
    fs::{Dir, OpenOptions, OpenOptionsExt as _},
};
use nix::{
    fcntl::AtFlags,
    sys::{
        stat::{FchmodatFlags, Mode, fchmod, fchmodat, futimens},
        time::{TimeSpec, TimeValLike as _},
    },
    unistd::{Gid, Uid, fchownat},
};

use crate::{
    manifest::{Head, Kind, Skipped, Totals},
    place::Spare,
    seal::unreadable,
    tape::{Entry, MANIFEST, Reader, SKIPPED},
};

/// Bytes of an entry that is read into memory.
const MAX_HEAD: u64 = 64 << 10;
/// Directories below each other; more than we write.
const MAX_DEPTH: usize = 256;

/// What an archive held.
#[derive(Clone, Debug)]
pub struct Unpacked {
    pub head: Head,
    pub totals: Totals,
    pub skipped: Skipped,
}

/// Where an archive goes.
pub struct Target<'a> {
    /// A directory that is not there yet; whatever happens, the caller removes it.
    pub dir: &'a Path,
    /// What has to stay free on its disk.
    pub spare: Spare,
    /// To whom what is in the workspace belongs, if that is not the caller.
    pub owner: Option<(u32, u32)>,
}

/// Unpacks an archive, which is read to its end and held against its own list. Gives back what is below the archive,
/// whose end is still to be looked at.
///
/// # Errors
/// `invalid` with what is wrong with it, `storage_full` when it does not fit.
pub fn unpack<R: Read>(input: R, target: Target<'_>, begun: impl FnOnce(&Head) -> Result<()>) -> Result<(R, Unpacked)> {
    let fail = |err: io::Error| Error::unavailable(format!("writing to {}: {err}", target.dir.display()));
    fs::DirBuilder::new().mode(0o700).create(target.dir).map_err(fail)?;
    let mut tree = Tree {
        root: Dir::open_ambient_dir(target.dir, ambient_authority()).map_err(fail)?,
        last: None,
        spare: target.spare,
        owner: target.owner,
        refused: None,
    };
    let mut reader = Reader::new(input, target.dir).map_err(fail)?;
    let head = head(&mut reader)?;
    begun(&head)?;
    let mut skipped = Skipped::default();
    let mut seen = HashSet::new();
    loop {
        let entry = reader.next_entry().map_err(|err| unreadable(&err))?;
        if entry.path == MANIFEST.as_bytes() && entry.kind == Kind::File {
            if !seen.contains(SKIPPED) || !seen.contains("assistant.db") {
                return Err(Error::invalid("it holds no database"));
            }
            let (input, totals) = reader.end(&entry).map_err(|err| unreadable(&err))?;
            return Ok((input, Unpacked { head, totals, skipped }));
        }
        if seen.contains(SKIPPED) {
            return Err(Error::invalid("it is damaged: something follows its last entry"));
        }
        if entry.path == SKIPPED.as_bytes() && entry.kind == Kind::File {
            seen.insert(SKIPPED);
            skipped = left_out(&mut reader, &entry)?;
            continue;
        }
        if entry.path == b"assistant.db" {
            seen.insert("assistant.db");
        }
        let done = tree.add(&mut reader, &entry);
        if let Some(refused) = tree.refused.take() {
            return Err(refused);
        }
        done.map_err(|err| unreadable(&err))?;
    }
}

fn head<R: Read>(reader: &mut Reader<R>) -> Result<Head> {
    let entry = reader.next_entry().map_err(|err| unreadable(&err))?;
    if entry.path != b"backup.json" || entry.kind != Kind::File || entry.size > MAX_HEAD {
        return Err(Error::invalid("it is not a backup of the assistant"));
    }
    let mut bytes = Vec::new();
    let take = |chunk: &[u8]| {
        bytes.extend_from_slice(chunk);
        Ok(())
    };
    reader.content(&entry, take).map_err(|err| unreadable(&err))?;
    Head::parse(&bytes)
}

/// Counts the lines, of which the first are kept.
fn left_out<R: Read>(reader: &mut Reader<R>, entry: &Entry) -> Result<Skipped> {
    let mut skipped = Skipped::default();
    let (mut line, mut count) = (Vec::new(), 0);
    let take = |chunk: &[u8]| {
        for byte in chunk {
            if *byte != b'\n' {
                if (line.len() as u64) < MAX_HEAD {
                    line.push(*byte);
                }
                continue;
            }
            count += 1;
            if let Ok(one) = serde_json::from_slice::<BackupSkipped>(&line) {
                skipped.add(one);
            }
            line.clear();
        }
        Ok(())
    };
    reader.content(entry, take).map_err(|err| unreadable(&err))?;
    skipped.count = count;
    Ok(skipped)
}

struct Tree {
    root: Dir,
    /// The directory that was used last.
    last: Option<(Vec<u8>, Dir)>,
    spare: Spare,
    owner: Option<(u32, u32)>,
    /// Why an entry was refused, if that is what ended it.
    refused: Option<Error>,
}

/// The directories of a path and its last name, if it is one that we would write.
fn parts(path: &[u8]) -> Option<(Vec<&[u8]>, &[u8])> {
    let mut parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    let fits =
        |part: &&[u8]| !part.is_empty() && part.len() <= 255 && *part != b"." && *part != b".." && !part.contains(&0);
    if !parts.iter().all(fits) || parts.len() > MAX_DEPTH + 1 {
        return None;
    }
    let name = parts.pop()?;
    let known = match (parts.first(), parts.len()) {
        (None, _) => matches!(name, b"assistant.db" | b"workspace" | b"kept" | b"config"),
        (Some(&b"workspace"), _) | (Some(&b"kept"), 1) | (Some(&b"config"), 1 | 2) => true,
        _ => false,
    };
    known.then_some((parts, name))
}

fn name_of(bytes: &[u8]) -> &std::ffi::OsStr {
    std::ffi::OsStr::from_bytes(bytes)
}

impl Tree {
    fn refuse<T>(&mut self, entry: &Entry, why: &str) -> io::Result<T> {
        let path = crate::manifest::escape(&entry.path);
        self.refused = Some(Error::invalid(format!("it was not made by this program: {path} {why}")));
        Err(io::ErrorKind::InvalidData.into())
    }

    fn add<R: Read>(&mut self, reader: &mut Reader<R>, entry: &Entry) -> io::Result<()> {
        let Some((above, name)) = parts(&entry.path) else { return self.refuse(entry, "leads elsewhere") };
        let in_workspace = above.first() == Some(&b"workspace".as_slice());
        if !in_workspace && matches!(entry.kind, Kind::Symlink | Kind::Link) {
            return self.refuse(entry, "is a link");
        }
        let top = above.is_empty();
        if top && (entry.kind == Kind::File) != (name == b"assistant.db") {
            return self.refuse(entry, "is not what it should be");
        }
        let Some(dir) = self.open(&above)? else { return self.refuse(entry, "lies in a directory that is not there") };
        let name = name_of(name);
        let made = match entry.kind {
            Kind::File => self.file(reader, entry, &dir, name),
            Kind::Dir => reader.content(entry, |_| Ok(())).and_then(|()| {
                dir.create_dir(name)?;
                // Whoever it belongs to can always use it. Nobody else is in this tree, so that the name stays what it is.
                let mode = Mode::from_bits_truncate(entry.mode & 0o777 | 0o700);
                Ok(fchmodat(dir.as_fd(), name, mode, FchmodatFlags::FollowSymlink)?)
            }),
            Kind::Symlink => {
                reader.content(entry, |_| Ok(())).and_then(|()| dir.symlink_contents(name_of(&entry.target), name))
            }
            Kind::Link => {
                reader.content(entry, |_| Ok(()))?;
                return self.link(entry, &dir, name);
            }
        };
        match made {
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => self.refuse(entry, "is in it twice"),
            Ok(()) if in_workspace => self.own(&dir, name),
            other => other,
        }
    }

    /// Opens a directory that is there already, one name below the other; `None` if it is not, or something else is.
    fn open(&mut self, above: &[&[u8]]) -> io::Result<Option<Dir>> {
        let path = above.join(&b'/');
        if let Some((last, dir)) = &self.last
            && *last == path
        {
            return dir.try_clone().map(Some);
        }
        let mut dir = self.root.try_clone()?;
        for name in above {
            match dir.open_dir_nofollow(name_of(name)) {
                Ok(next) => dir = next,
                Err(_) => return Ok(None),
            }
        }
        self.last = Some((path, dir.try_clone()?));
        Ok(Some(dir))
    }

    fn file<R: Read>(
        &mut self,
        reader: &mut Reader<R>,
        entry: &Entry,
        dir: &Dir,
        name: &std::ffi::OsStr,
    ) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).follow(FollowSymlinks::No);
        let mut file: File = dir.open_with(name, &options)?.into_std();
        let spare = &mut self.spare;
        reader.content(entry, |chunk| {
            // Holes stay holes.
            if chunk.iter().all(|byte| *byte == 0) {
                return file.seek(SeekFrom::Current(i64::try_from(chunk.len()).unwrap_or(i64::MAX))).map(drop);
            }
            file.write_all(chunk)?;
            spare.count(chunk.len())
        })?;
        file.set_len(entry.size)?;
        fchmod(&file, Mode::from_bits_truncate(entry.mode & 0o777 | 0o600))?;
        let time = TimeSpec::seconds(i64::try_from(entry.mtime).unwrap_or(0));
        futimens(&file, &time, &time)?;
        Ok(())
    }

    fn link(&mut self, entry: &Entry, dir: &Dir, name: &std::ffi::OsStr) -> io::Result<()> {
        let Some((above, first)) =
            parts(&entry.target).filter(|(above, _)| above.first() == Some(&b"workspace".as_slice()))
        else {
            return self.refuse(entry, "links elsewhere");
        };
        let Some(from) = self.open(&above)? else { return self.refuse(entry, "links to nothing") };
        let first = name_of(first);
        if !from.symlink_metadata(first).is_ok_and(|meta| meta.is_file()) {
            return self.refuse(entry, "links to what is no file");
        }
        match from.hard_link(first, dir, name) {
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => self.refuse(entry, "is in it twice"),
            other => other,
        }
    }

    fn own(&self, dir: &Dir, name: &std::ffi::OsStr) -> io::Result<()> {
        let Some((uid, gid)) = self.owner else { return Ok(()) };
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        Ok(fchownat(dir.as_fd(), name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW)?)
    }
}
