//! What programs did to the files of the workspace: they leave no record, but the file system does.

use std::time::Duration;

use super::Done;
use crate::{
    cx::Cx,
    error::{Error, Result},
    root::{Kind, RelPath, Step},
};

/// The clock of files lags behind by a tick of the kernel (10 ms at most), and is set back now and then.
const SLACK: Duration = Duration::from_secs(2);

impl Done {
    /// Looks what changed while programs of the job ran, at `filesystem.max_walk_entries` entries at most.
    pub(crate) async fn look(&mut self, cx: &Cx) -> Result<()> {
        let (Some(since), Ok(root)) = (self.ran, cx.root()) else { return Ok(()) };
        let since = since.saturating_sub(SLACK).map_err(Error::internal)?.as_nanosecond();
        let most = usize::try_from(cx.config.load().filesystem.max_walk_entries).unwrap_or(usize::MAX);
        let (changed, cut) = tokio::task::spawn_blocking(move || {
            let mut changed = Vec::new();
            let walked = root.walk(&root.locate(&RelPath::default())?, most, |_, item| {
                if item.meta.kind == Kind::File && i128::from(item.meta.ctime_ns) >= since {
                    changed.push(item.name.clone());
                }
                Ok(Step::Enter)
            })?;
            Ok::<_, Error>((changed, walked.cut))
        })
        .await
        .map_err(Error::internal)??;
        self.files.extend(changed);
        self.anything |= cut;
        Ok(())
    }
}
