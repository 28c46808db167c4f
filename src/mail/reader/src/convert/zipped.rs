//! Documents that are zip files.

use std::{
    borrow::Cow,
    io::{Cursor, Read as _},
};

use zip::ZipArchive;

use super::{Bounds, Failed, Result, plain};

/// Files that one may hold.
const MAX_ENTRIES: usize = 20_000;

/// A zip file of which no more is unpacked than its bounds allow, whatever its headers say.
pub(super) struct Zipped<'a> {
    archive: ZipArchive<Cursor<&'a [u8]>>,
    left: u64,
    most: u64,
}

impl<'a> Zipped<'a> {
    pub(super) fn open(input: &'a [u8], bounds: Bounds) -> Result<Self> {
        let archive =
            ZipArchive::new(Cursor::new(input)).map_err(|err| Failed(format!("it is not a zip file: {err}")))?;
        if archive.len() > MAX_ENTRIES {
            return Err(Failed(format!("it holds more than {MAX_ENTRIES} files")));
        }
        Ok(Self { archive, left: bounds.unpacked, most: bounds.unpacked })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.archive.file_names().flatten()
    }

    /// A file of it, as text; `None` if there is none of this name.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>> {
        let Some(index) = self.archive.index_for_name(name) else { return Ok(None) };
        let mut bytes = Vec::new();
        self.unpack(index, &mut bytes)?;
        plain::decoded(&bytes).map(Some)
    }

    /// That all of it unpacks to no more than the bounds; for readers that unpack by themselves.
    pub(super) fn check(mut self) -> Result<()> {
        (0..self.archive.len()).try_for_each(|index| self.unpack(index, &mut std::io::sink()))
    }

    fn unpack(&mut self, index: usize, to: &mut impl std::io::Write) -> Result<()> {
        let unread = |err: &dyn std::fmt::Display| Failed(format!("a part of it cannot be unpacked: {err}"));
        let file = self.archive.by_index(index).map_err(|err| unread(&err))?;
        let taken = std::io::copy(&mut file.take(self.left + 1), to).map_err(|err| unread(&err))?;
        if taken > self.left {
            return Err(Failed(format!("it unpacks to more than {} bytes", self.most)));
        }
        self.left -= taken;
        Ok(())
    }
}
