//! What is protected in the workspace. All questions are about real paths, as [`crate::root::Spot`] gives them, so that
//! no link leads around a rule.

use std::sync::Arc;

use assistant_api::JobId;

use crate::{
    cx::Cx,
    error::{Error, Result},
    root::{RelPath, Root, is_temporary},
};

/// The directory in which the program keeps its own things.
const OWN: &str = ".assistant";

/// The workspace with the rules and bounds of the present configuration; what blocking work is given.
#[derive(Clone)]
pub(super) struct Place {
    pub root: Arc<Root>,
    pub rules: Rules,
    pub max_read: u64,
    pub max_walk: usize,
    pub max_archive: u64,
    pub state_dir: std::path::PathBuf,
}

impl Place {
    pub(super) fn of(cx: &Cx) -> Result<Self> {
        let root = cx.root()?;
        let config = cx.config.load();
        let files = &config.filesystem;
        let rules =
            Rules { cache: root.rel(&config.tool_result_cache.root)?, trash: root.rel(&files.trash_directory)? };
        Ok(Self {
            rules,
            root,
            max_read: files.max_read_bytes.0.max(1),
            max_walk: usize::try_from(files.max_walk_entries).unwrap_or(usize::MAX),
            max_archive: files.max_archive_bytes.0,
            state_dir: cx.state_dir.clone(),
        })
    }

    /// Runs `f`, which blocks, beside the event loop.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let place = self.clone();
        tokio::task::spawn_blocking(move || f(&place)).await.map_err(|err| Error::internal(err).in_doubt())?
    }

    /// Where old contents are kept; made when it is first needed.
    pub(super) fn kept(&self) -> Result<Root> {
        use std::os::unix::fs::DirBuilderExt as _;
        let path = self.state_dir.join("kept");
        match std::fs::DirBuilder::new().mode(0o700).create(&path) {
            Err(err) if err.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(Error::unavailable("old file contents cannot be kept").source(err))
            }
            _ => Root::open(&path, 0o077),
        }
    }
}

/// Protected places, by the configuration.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// Large tool results: `job-N/...` belongs to job N.
    pub cache: RelPath,
    pub trash: RelPath,
}

impl Rules {
    /// Whether `job`, or a person if it is `None`, may look at a path: not at the tool results of another job.
    pub(super) fn may_read(&self, path: &RelPath, job: Option<JobId>) -> Result<()> {
        if !path.is_within(&self.cache) || self.is_own_cache(path, job) {
            return Ok(());
        }
        Err(Error::invalid("the stored tool results of other jobs cannot be read"))
    }

    /// Whether a file may leave the machine: not what the program keeps for itself, what was deleted, and what tools gave.
    pub(super) fn may_send(&self, path: &RelPath) -> Result<()> {
        if path.is_root() || is_own(path) || path.is_within(&self.cache) || path.is_within(&self.trash) {
            return Err(Error::forbidden(format!("{path} cannot be sent: it is not one of the user's files")));
        }
        if path.names().any(is_temporary) {
            return Err(Error::forbidden(format!("{path} cannot be sent: it is a temporary file")));
        }
        Ok(())
    }

    fn is_own_cache(&self, path: &RelPath, job: Option<JobId>) -> bool {
        let (Some(job), Some(below)) = (job, path.below(&self.cache)) else { return false };
        below.split('/').next() == Some(format!("job-{job}").as_str())
    }

    /// Whether a listing that began at `top` leaves a path out: temporary files, tool results, what is in the trash.
    /// Who looks into such a place itself sees it, if he may.
    pub(super) fn hides(&self, path: &RelPath, top: &RelPath) -> bool {
        let apart = |place: &RelPath| path.is_within(place) && !top.is_within(place);
        path.name().is_some_and(is_temporary)
            || apart(&self.cache)
            || (apart(&self.trash) && (path != &self.trash || path.parent().as_ref() != Some(top)))
    }

    /// Whether a copy or archive of `top` leaves a path out.
    pub(super) fn left_out(&self, path: &RelPath, top: &RelPath) -> bool {
        path.name().is_some_and(is_temporary)
            || path.is_within(&self.cache)
            || (path.is_within(&self.trash) && !top.is_within(&self.trash))
    }

    /// Whether something may be written at a path, or made there.
    pub(super) fn may_write(&self, path: &RelPath) -> Result<()> {
        if path.is_root() {
            return Err(Error::invalid("the workspace itself cannot be replaced"));
        }
        if is_own(path) {
            return Err(Error::invalid(".assistant directory is read-only to agent file tools"));
        }
        if path.is_within(&self.cache) {
            return Err(Error::invalid("the stored tool results are read-only"));
        }
        if path.is_within(&self.trash) {
            return Err(Error::invalid(format!("{} is the trash", self.trash))
                .hint("things get there by deleting them, and back by restoring them"));
        }
        if path.names().any(is_temporary) {
            return Err(Error::invalid("names of this form are for the program's own temporary files"));
        }
        Ok(())
    }

    /// Whether a new thing may have this name: what is written can be read out in a list again.
    pub(super) fn may_name(&self, path: &RelPath) -> Result<()> {
        self.may_write(path)?;
        if path.name().is_some_and(|name| name.chars().any(char::is_control)) {
            return Err(Error::invalid("a file name cannot have control characters in it"));
        }
        Ok(())
    }

    /// Whether what is at a path may be taken away from there: not a protected place, nor a directory around one.
    pub(super) fn may_take(&self, path: &RelPath) -> Result<()> {
        if path.is_root() {
            return Err(Error::invalid("the workspace itself cannot be moved or deleted"));
        }
        if is_own(path) {
            return Err(Error::invalid(".assistant directory is read-only to agent file tools"));
        }
        if self.trash.is_within(path) || self.cache.is_within(path) || path.is_within(&self.cache) {
            return Err(Error::invalid(format!("{path} is protected and cannot be moved or deleted")));
        }
        if path.names().any(is_temporary) {
            return Err(Error::invalid("names of this form are for the program's own temporary files"));
        }
        Ok(())
    }
}

/// Without regard to case, because file systems exist that have none.
fn is_own(path: &RelPath) -> bool {
    path.names().next().is_some_and(|name| name.eq_ignore_ascii_case(OWN))
}
