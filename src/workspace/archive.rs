//! A directory as a zip file, for downloading: spooled to disk, never held in memory.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, Write},
};

use assistant_api::JobId;
use jiff::{Timestamp, tz::TimeZone};
use tokio_util::sync::CancellationToken;
use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

use super::guard::Place;
use crate::{
    cx::Cx,
    error::{Error, Result},
    root::{Kind, Meta, Spot, Step},
};

/// A finished archive: an unlinked file that goes when it is closed.
pub struct Archive {
    pub file: File,
    pub size: u64,
    /// What to call it.
    pub name: String,
}

impl Archive {
    /// Packs a directory, or one file. Links, special files, tool results and (unless it is the directory itself) the trash are left
    /// out. Stops when the caller goes away.
    ///
    /// # Errors
    /// `too_large` above `filesystem.max_archive_bytes` or
    /// `filesystem.max_walk_entries`.
    pub async fn of(cx: &Cx, job: Option<JobId>, path: String) -> Result<Self> {
        let gone = CancellationToken::new();
        let _here = gone.clone().drop_guard();
        Place::of(cx)?.run(move |place| place.pack(&place.find(&path, job)?, &gone)).await
    }
}

impl Place {
    pub(super) fn pack(&self, top: &Spot, gone: &CancellationToken) -> Result<Archive> {
        let spool = tempfile::tempfile_in(&self.state_dir).map_err(broken)?;
        let mut zip = ZipWriter::new(io::BufWriter::new(spool));
        let mut bytes: u64 = 0;
        if !top.existing()?.is_dir() {
            let (mut file, meta) = top.open()?;
            zip.start_file(top.path.name().unwrap_or("file"), options(&meta)).map_err(|err| broken(err.into()))?;
            add(&mut file, &mut zip, self.max_archive, gone)?;
            return finish(zip, top);
        }
        let walked = self.root.walk(top, self.max_walk, |dir, item| {
            if gone.is_cancelled() {
                return Err(Error::invalid("the download was given up"));
            }
            if self.rules.left_out(&item.path, &top.path) {
                return Ok(Step::Skip);
            }
            let name = item.path.below(&top.path).unwrap_or(&item.name);
            match item.meta.kind {
                Kind::Dir => zip.add_directory(name, options(&item.meta)).map_err(|err| broken(err.into()))?,
                // Gone or swapped since it was listed: not there.
                Kind::File => {
                    if let Ok((mut file, meta)) = item.open(dir) {
                        zip.start_file(name, options(&meta)).map_err(|err| broken(err.into()))?;
                        bytes += add(&mut file, &mut zip, self.max_archive.saturating_sub(bytes), gone)?;
                    }
                }
                Kind::Symlink | Kind::Special => {}
            }
            Ok(Step::Enter)
        })?;
        if walked.cut {
            return Err(Error::too_large(format!("the directory has more than {} entries", self.max_walk))
                .hint("download parts of it, or raise filesystem.max_walk_entries"));
        }
        finish(zip, top)
    }
}

fn finish(zip: ZipWriter<io::BufWriter<File>>, top: &Spot) -> Result<Archive> {
    let mut file = zip
        .finish()
        .map_err(io::Error::from)
        .and_then(|spool| spool.into_inner().map_err(io::IntoInnerError::into_error))
        .map_err(broken)?;
    let size = file.stream_position().map_err(broken)?;
    file.rewind().map_err(broken)?;
    Ok(Archive { file, size, name: format!("{}.zip", top.path.name().unwrap_or("workspace")) })
}

fn add(file: &mut File, zip: &mut impl Write, left: u64, gone: &CancellationToken) -> Result<u64> {
    let mut block = vec![0; 128 << 10];
    let mut added = 0;
    loop {
        let count = file.read(&mut block).map_err(broken)?;
        if count == 0 {
            return Ok(added);
        }
        added += count as u64;
        if added > left {
            return Err(Error::too_large("the directory is too large to be packed")
                .hint("download parts of it, or raise filesystem.max_archive_bytes"));
        }
        if gone.is_cancelled() {
            return Err(Error::invalid("the download was given up"));
        }
        zip.write_all(&block[..count]).map_err(broken)?;
    }
}

fn options(meta: &Meta) -> SimpleFileOptions {
    let at = Timestamp::from_nanosecond(i128::from(meta.mtime_ns)).unwrap_or_default().to_zoned(TimeZone::UTC);
    let small = |number: i8| u8::try_from(number).unwrap_or(0);
    // Zip knows the years 1980 to 2107.
    let time = u16::try_from(at.year()).ok().and_then(|year| {
        let (hour, minute, second) = (small(at.hour()), small(at.minute()), small(at.second()));
        DateTime::from_date_and_time(year, small(at.month()), small(at.day()), hour, minute, second).ok()
    });
    SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(1))
        .large_file(meta.size > 0xFFFF_0000)
        .unix_permissions(meta.mode)
        .last_modified_time(time.unwrap_or_default())
}

pub(super) fn broken(err: io::Error) -> Error {
    match err.raw_os_error() {
        Some(nix::libc::ENOSPC | nix::libc::EDQUOT) => {
            Error::new(crate::error::ErrorKind::StorageFull, "the disk is too full to pack the directory").source(err)
        }
        _ => Error::internal(err),
    }
}
