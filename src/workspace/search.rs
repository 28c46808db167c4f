//! Finding files by name.

use assistant_api::{JobId, workspace::Found};
use globset::{GlobBuilder, GlobMatcher};

use super::{entry::entry, guard::Place};
use crate::{
    cx::Cx,
    error::{Error, Result},
    root::{Item, RelPath, Step},
};

const MAX_PATTERN: usize = 1000;

enum Pattern {
    /// With `/`: of the path below the directory; without: of the name.
    Glob { matcher: GlobMatcher, of_path: bool },
    /// In lower case.
    Part(String),
}

impl Pattern {
    fn parse(text: &str) -> Result<Self> {
        if text.trim().is_empty() {
            return Err(Error::invalid("the search pattern is empty").field("pattern"));
        }
        if text.len() > MAX_PATTERN {
            return Err(
                Error::invalid(format!("the search pattern is longer than {MAX_PATTERN} bytes")).field("pattern")
            );
        }
        if !text.contains(['*', '?', '[']) {
            return Ok(Self::Part(text.to_lowercase()));
        }
        let of_path = text.contains('/');
        let glob = GlobBuilder::new(text.trim_start_matches("./")).literal_separator(true).build().map_err(|err| {
            Error::invalid(format!("the search pattern is not valid: {}", err.kind())).field("pattern")
        })?;
        Ok(Self::Glob { matcher: glob.compile_matcher(), of_path })
    }

    fn matches(&self, item: &Item, below: &str) -> bool {
        match self {
            Self::Glob { matcher, of_path } => matcher.is_match(if *of_path { below } else { &item.name }),
            Self::Part(part) => below.to_lowercase().contains(part),
        }
    }
}

impl Place {
    fn search(&self, pattern: &str, directory: &str, job: Option<JobId>, max: usize, dirs: bool) -> Result<Found> {
        let top = self.find(directory, job)?;
        let compiled = Pattern::parse(pattern)?;
        if let Some(found) = self.exact(pattern, &top.path, job) {
            return Ok(found);
        }
        let mut found = Found { matches: Vec::new(), entries: Vec::new(), truncated: false };
        let mut more = false;
        let walked = self.root.walk(&top, self.max_walk, |_, item| {
            let hidden = self.rules.hides(&item.path, &top.path) || item.path == self.rules.trash;
            if hidden {
                return Ok(Step::Skip);
            }
            let below = item.path.below(&top.path).unwrap_or_default();
            if (dirs || !item.meta.is_dir())
                && compiled.matches(item, below)
                && let Some(shown) = self.show(item, &top.path, job)
            {
                if found.matches.len() == max {
                    more = true;
                    return Ok(Step::Stop);
                }
                found.matches.push(shown.relative_path.clone());
                found.entries.push(shown);
            }
            Ok(Step::Enter)
        })?;
        found.truncated = more || walked.cut;
        Ok(found)
    }

    /// A pattern that is the path of something, below the directory or from the root.
    fn exact(&self, pattern: &str, top: &RelPath, job: Option<JobId>) -> Option<Found> {
        let below = if pattern.starts_with('/') { None } else { self.root.rel(&format!("{top}/{pattern}")).ok() };
        let paths = below.into_iter().chain(self.root.rel(pattern).ok());
        let spot = paths
            .filter_map(|path| self.root.resolve(&path).ok())
            .find(|spot| spot.meta.is_some() && !spot.path.is_root() && self.rules.may_read(&spot.path, job).is_ok())?;
        let found = entry(&spot.path, spot.meta.as_ref()?);
        Some(Found { matches: vec![found.relative_path.clone()], entries: vec![found], truncated: false })
    }
}

/// Searches names below a directory: an existing path is found as itself; with `*`, `?` or `[` it is a glob (`**`
/// crosses directories) of the name, or of the path if it has a `/`; anything else is looked for in paths without
/// regard to case.
///
/// # Errors
/// `invalid` for an empty or broken pattern, or a directory that is none.
pub async fn search(
    cx: &Cx,
    job: Option<JobId>,
    pattern: String,
    directory: String,
    max: usize,
    include_dirs: bool,
) -> Result<Found> {
    Place::of(cx)?.run(move |place| place.search(&pattern, &directory, job, max, include_dirs)).await
}
