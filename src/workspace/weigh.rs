//! How much lies in the workspace, by part.

use super::{guard::Place, store};
use crate::{
    cx::Cx,
    error::Result,
    root::{Kind, Step},
};

/// Files with their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    pub bytes: u64,
    pub files: u64,
}

/// What lies where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weights {
    /// All but the parts below.
    pub files: Weight,
    pub trash: Weight,
    pub tool_results: Weight,
    /// What was made of attachments of mail.
    pub artifacts: Weight,
    /// Whether there are more entries than were looked at.
    pub cut: bool,
}

impl Weight {
    /// One file more.
    pub fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.files += 1;
    }
}

/// Looks at `most` entries of the workspace at most.
///
/// # Errors
/// When the workspace cannot be used.
pub async fn weigh(cx: &Cx, most: usize) -> Result<Weights> {
    let place = Place::of(cx)?;
    let artifacts = place.root.rel(&cx.config.load().artifacts.processed_root)?;
    place
        .run(move |place| {
            let mut weights = Weights::default();
            let top = place.root.locate(&place.root.rel(".")?)?;
            let walked = place.root.walk(&top, most, |_, item| {
                if item.meta.kind == Kind::File {
                    let part = if item.path.is_within(&place.rules.trash) {
                        &mut weights.trash
                    } else if item.path.is_within(&place.rules.cache) {
                        &mut weights.tool_results
                    } else if item.path.is_within(&artifacts) {
                        &mut weights.artifacts
                    } else {
                        &mut weights.files
                    };
                    part.add(item.meta.size);
                }
                Ok(Step::Enter)
            })?;
            weights.cut = walked.cut;
            Ok(weights)
        })
        .await
}

/// The earlier versions of files that are kept.
///
/// # Errors
/// When the database cannot be read.
pub async fn weigh_versions(cx: &Cx) -> Result<Weight> {
    let (bytes, files) = cx.store.read(|conn| Ok((store::kept_bytes(conn)?, store::kept_count(conn)?))).await?;
    Ok(Weight { bytes, files })
}
