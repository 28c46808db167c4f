//! The one line that the service manager shows: counts only, never a user's text.

use std::{fmt::Write as _, time::Duration};

use super::store;
use crate::{cx::Cx, error::Result};

/// How long further changes wait for the next line.
const PAUSE: Duration = Duration::from_secs(1);
/// Statuses that the line shows, and their words.
const SHOWN: &[(&str, &str)] =
    &[("running", "running"), ("queued", "queued"), ("waiting", "waiting"), ("needs_review", "needs review")];

/// Such as `2 running, 3 queued, 1 needs review`.
///
/// # Errors
/// When the database cannot be read.
pub async fn line(cx: &Cx) -> Result<String> {
    let now = cx.clock.now();
    let seen = cx.store.read(move |conn| store::overview(conn, now)).await?;
    let mut line = String::new();
    if seen.stopped.is_some() {
        line.push_str("stopped by hand");
    }
    for (status, words) in SHOWN {
        let count = seen.jobs.get(*status).copied().unwrap_or(0);
        if count > 0 {
            let comma = if line.is_empty() { "" } else { ", " };
            let _ = write!(line, "{comma}{count} {words}");
        }
    }
    if line.is_empty() {
        line.push_str("idle");
    }
    Ok(line)
}

/// Keeps the service manager's line true; never ends. Looks only after a change, and without a service manager never.
pub async fn keep_shown(cx: &Cx) {
    if !cx.process.systemd.is_there() {
        return std::future::pending().await;
    }
    let mut changes = cx.wake.events.subscribe();
    loop {
        changes.mark_unchanged();
        match line(cx).await {
            Ok(line) => cx.process.systemd.status(&line),
            Err(err) => tracing::debug!(error = err.chain(), "no status line"),
        }
        tokio::time::sleep(PAUSE).await;
        if changes.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, config::Config, daemon};

    #[tokio::test]
    async fn the_line_has_counts_only() {
        let dir = tempfile::tempdir().unwrap();
        let cx = daemon::idle(dir.path(), Config::default(), Clock::System);
        assert_eq!(line(&cx).await.unwrap(), "idle");
        cx.store
            .write(|tx| {
                for (id, status) in ["running", "queued", "queued", "needs_review", "failed"].iter().enumerate() {
                    tx.execute(
                        "INSERT INTO jobs (id, thread_id, status, run_at, task_summary, created_at, updated_at) \
                         VALUES (?1, ?1, ?2, 0, 'secret plans', 0, 0)",
                        (i64::try_from(id).unwrap(), status),
                    )?;
                }
                Ok(())
            })
            .await
            .unwrap();
        assert_eq!(line(&cx).await.unwrap(), "1 running, 2 queued, 1 needs review");
    }
}
