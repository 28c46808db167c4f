//! What is kept only for a time: the trash, old contents, large tool results, and what crashes left.

use std::time::Duration;

use jiff::Timestamp;

use super::{guard::Place, store};
use crate::{
    cx::Cx,
    error::{ErrorKind, Result},
    root::{Kind, Meta, RelPath, Root, Step, is_temporary},
};

/// Rows that one transaction handles.
const BATCH: u32 = 200;
/// Age after which a temporary file belongs to nobody any more.
const FORGOTTEN: Duration = Duration::from_hours(24);

/// How many of each were removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    pub trash: u64,
    pub kept_files: u64,
    pub tool_results: u64,
    pub temporaries: u64,
}

/// Removes what `retention.trash_days`, `retention.kept_file_days`, `retention.kept_file_bytes` and
/// `tool_result_cache.retention_days` no longer allow.
///
/// # Errors
/// When the workspace cannot be used; what cannot be removed is logged and tried again the next time.
pub async fn retention(cx: &Cx) -> Result<Removed> {
    let config = cx.config.load_full();
    let place = Place::of(cx)?;
    let now = cx.clock.now();
    let before = move |age: Duration| now.saturating_sub(age).unwrap_or(Timestamp::MIN);
    let forgotten = before(FORGOTTEN);
    let temporaries = place.run(move |place| Ok(place.sweep(forgotten))).await?;
    let results = before(config.tool_result_cache.retention_days.0);
    Ok(Removed {
        trash: purge_trash(cx, &place, before(config.retention.trash_days.0)).await?,
        kept_files: purge_kept(
            cx,
            &place,
            before(config.retention.kept_file_days.0),
            config.retention.kept_file_bytes.0,
        )
        .await?,
        tool_results: place.run(move |place| place.purge_results(results)).await?,
        temporaries: temporaries + sweep_kept(cx, &place, forgotten).await?,
    })
}

async fn purge_trash(cx: &Cx, place: &Place, before: Timestamp) -> Result<u64> {
    let mut removed = 0;
    loop {
        let rows = cx.store.read(move |conn| store::trash_before(conn, before, BATCH)).await?;
        let found = rows.len();
        let gone: Vec<String> = place
            .run(move |place| Ok(rows.into_iter().map(|row| row.trash_path).filter(|path| place.away(path)).collect()))
            .await?;
        let count = gone.len();
        cx.store
            .write(move |tx| {
                gone.iter().try_for_each(|path| {
                    store::forget_origins(tx, path)?;
                    store::forget_trash(tx, path)
                })
            })
            .await?;
        removed += count as u64;
        if count < found || found < BATCH as usize {
            return Ok(removed); // all, or some that cannot be removed now
        }
    }
}

async fn purge_kept(cx: &Cx, place: &Place, before: Timestamp, max: u64) -> Result<u64> {
    let mut removed = 0;
    loop {
        let rows = cx
            .store
            .read(move |conn| {
                let old = store::kept_before(conn, before, BATCH)?;
                if !old.is_empty() {
                    return Ok(old);
                }
                let mut over = store::kept_bytes(conn)?.saturating_sub(max);
                let mut rows = store::oldest_kept(conn, BATCH)?;
                rows.retain(|row| {
                    let wanted = over > 0;
                    over = over.saturating_sub(row.size);
                    wanted
                });
                Ok(rows)
            })
            .await?;
        if rows.is_empty() {
            return Ok(removed);
        }
        let found = rows.len();
        let gone: Vec<i64> = place
            .run(move |place| {
                let home = place.kept()?;
                Ok(rows.into_iter().filter(|row| take(&home, &row.name)).map(|row| row.id).collect())
            })
            .await?;
        let count = gone.len();
        cx.store.write(move |tx| gone.iter().try_for_each(|id| store::remove_kept(tx, *id))).await?;
        removed += count as u64;
        if count < found {
            return Ok(removed);
        }
    }
}

/// Removes kept contents that nothing in the database names: a crash came between the two.
async fn sweep_kept(cx: &Cx, place: &Place, before: Timestamp) -> Result<u64> {
    let names: Vec<String> = place
        .run(move |place| {
            let (items, _) = place.kept()?.list(&RelPath::default(), usize::MAX)?;
            let stray = items.into_iter().filter(|item| !is_temporary(&item.name) || is_older(&item.meta, before));
            Ok(stray.map(|item| item.name).collect())
        })
        .await?;
    let unknown = cx
        .store
        .read(move |conn| {
            let mut unknown = Vec::new();
            for name in names {
                if !store::has_kept(conn, &name)? {
                    unknown.push(name);
                }
            }
            Ok(unknown)
        })
        .await?;
    place
        .run(move |place| place.kept().map(|home| count(unknown.iter().filter(|name| take(&home, name)).count())))
        .await
}

impl Place {
    /// Whether a path in the trash is gone now.
    fn away(&self, path: &str) -> bool {
        let remove = || -> Result<()> {
            let spot = self.root.locate(&self.root.rel(path)?)?;
            // What is no longer in the trash has been taken out by hand.
            if spot.meta.is_none() || !spot.path.is_within(&self.rules.trash) || spot.path == self.rules.trash {
                return Ok(());
            }
            self.root.remove(&spot)
        };
        match remove() {
            Err(err) if err.kind() != ErrorKind::NotFound => {
                tracing::warn!(path, error = err.chain(), "something in the trash could not be removed");
                false
            }
            _ => true,
        }
    }

    /// Removes temporary files that a crash left in the workspace.
    fn sweep(&self, before: Timestamp) -> u64 {
        let mut found = Vec::new();
        let Ok(top) = self.root.resolve(&RelPath::default()) else { return 0 };
        let _ = self.root.walk(&top, self.max_walk, |_, item| {
            if !is_temporary(&item.name) {
                return Ok(Step::Enter);
            }
            if is_older(&item.meta, before) {
                found.push(item.path.clone());
            }
            Ok(Step::Skip)
        });
        let removed =
            found.iter().filter(|path| self.root.locate(path).and_then(|spot| self.root.remove(&spot)).is_ok());
        count(removed.count())
    }

    /// Removes stored tool results, and the directories that are empty then.
    fn purge_results(&self, before: Timestamp) -> Result<u64> {
        let top = self.root.locate(&self.rules.cache);
        let Some(top) =
            top.ok().filter(|top| top.path == self.rules.cache && top.meta.is_some_and(|meta| meta.is_dir()))
        else {
            return Ok(0);
        };
        let (mut files, mut dirs) = (Vec::new(), Vec::new());
        self.root.walk(&top, self.max_walk, |_, item| {
            match item.meta.kind {
                Kind::Dir => dirs.push(item.path.clone()),
                _ if is_older(&item.meta, before) => files.push(item.path.clone()),
                _ => {}
            }
            Ok(Step::Enter)
        })?;
        let removed =
            files.iter().filter(|path| self.root.locate(path).and_then(|spot| self.root.remove(&spot)).is_ok());
        let removed = count(removed.count());
        for dir in dirs.iter().rev() {
            if self.root.list(dir, 1).is_ok_and(|(items, _)| items.is_empty()) {
                let _ = self.root.locate(dir).and_then(|spot| self.root.remove(&spot));
            }
        }
        Ok(removed)
    }
}

/// Whether a kept content is gone now.
fn take(home: &Root, name: &str) -> bool {
    let result = home.rel(name).and_then(|path| home.locate(&path)).and_then(|spot| match spot.meta {
        Some(_) => home.remove(&spot),
        None => Ok(()),
    });
    if let Err(err) = &result {
        tracing::warn!(name, error = err.chain(), "an old file content could not be removed");
    }
    result.is_ok()
}

fn is_older(meta: &Meta, before: Timestamp) -> bool {
    i128::from(meta.mtime_ns) < before.as_nanosecond()
}

fn count(number: usize) -> u64 {
    number as u64
}
