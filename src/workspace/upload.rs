//! Uploads: streamed to a temporary file, and put in place when they are whole.

use assistant_api::workspace::Entry;

use super::{
    actor::Actor,
    guard::Place,
    put::{self, Source},
};
use crate::{
    cx::Cx,
    error::{Error, Result},
    root::{Mode, RelPath, Root, Spot, Staged},
};

/// Bytes that are collected before they are written.
const BLOCK: usize = 256 << 10;

/// An upload under way. If it is dropped, nothing is left.
pub struct Upload {
    cx: Cx,
    actor: Actor,
    place: Place,
    path: String,
    mode: Mode,
    staged: Option<Staged>,
    block: Vec<u8>,
    received: u64,
    /// 0: none.
    max: u64,
}

impl Upload {
    /// Begins an upload to `path`; `expected` bytes if the sender says how many.
    ///
    /// # Errors
    /// `storage_full` below the free-space mark; `conflict` when `mode` does not hold; `too_large` above `api.max_upload_bytes`; `invalid` for a
    /// protected path.
    pub async fn begin(cx: &Cx, actor: Actor, path: String, mode: Mode, expected: Option<u64>) -> Result<Self> {
        cx.check_space()?;
        let max = cx.config.load().api.max_upload_bytes.0;
        if max > 0 && expected.is_some_and(|expected| expected > max) {
            return Err(too_large(max));
        }
        let place = Place::of(cx)?;
        let target = path.clone();
        let staged = place
            .run(move |place| {
                let real = place.writable(&target)?;
                if let Some(spot) = place.spot(&real)? {
                    spot.put(mode)?;
                    if spot.meta.is_some_and(|meta| meta.is_dir()) {
                        return Err(Error::invalid(format!("{real} is a directory")));
                    }
                }
                place.root.stage(&place.nearest(&real)?, &Root::temporary_name())
            })
            .await?;
        let (cx, block) = (cx.clone(), Vec::new());
        Ok(Self { cx, actor, place, path, mode, staged: Some(staged), block, received: 0, max })
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// `too_large` above the limit, `storage_full` and the like; then nothing is left.
    pub async fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.received += bytes.len() as u64;
        if self.max > 0 && self.received > self.max {
            self.staged = None;
            return Err(too_large(self.max));
        }
        self.block.extend_from_slice(bytes);
        if self.block.len() >= BLOCK { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<()> {
        let mut staged = self.staged.take().ok_or_else(|| Error::internal("the upload has failed already"))?;
        let block = std::mem::take(&mut self.block);
        let staged = self
            .place
            .run(move |_| {
                staged.write(&block)?;
                Ok(staged)
            })
            .await?;
        self.staged = Some(staged);
        Ok(())
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// `conflict` when something has taken the place meanwhile.
    pub async fn finish(mut self) -> Result<Entry> {
        self.flush().await?;
        let staged = self.staged.take().ok_or_else(|| Error::internal("the upload has failed already"))?;
        put::put(&self.cx, &self.actor, self.path, Source::Staged(staged), self.mode).await
    }
}

impl Place {
    /// A place in the directory that will hold `path`, or in the nearest one above that exists.
    pub(super) fn nearest(&self, path: &RelPath) -> Result<Spot> {
        if let Some(spot) = self.spot(path)? {
            return Ok(spot);
        }
        let parent = path.parent().ok_or_else(|| Error::internal("the workspace has gone"))?;
        match self.root.resolve(&parent) {
            Ok(spot) if spot.meta.is_some_and(|meta| !meta.is_dir()) => {
                Err(Error::invalid(format!("{parent} is not a directory")))
            }
            _ => self.nearest(&parent),
        }
    }
}

fn too_large(max: u64) -> Error {
    Error::too_large(format!("the upload is larger than {max} bytes")).hint("the limit is api.max_upload_bytes")
}
