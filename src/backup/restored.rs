//! What a state that was brought back needs before a daemon may go on with it.
//!
//! What happened after the backup was made is not in it. So work is stopped until somebody says otherwise, and an effect
//! that was under way when it was made becomes `unknown`: looking would find the files of another time.

use std::path::{Path, PathBuf};

use assistant_api::effects::EffectState;
use jiff::Timestamp;
use serde_json::json;

use super::store;
use crate::{
    error::Result,
    jobs, ledger,
    policy::Origin,
    store::{Store, snapshot},
};

/// Who stopped everything, as `assistantctl status` shows it.
const BY: &str = "restore of a backup";

/// What was done to a database that was brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Effects that became `unknown`.
    pub unknown: u64,
    /// Whether work waits for `resume`.
    pub stopped: bool,
}

/// Makes a database ready for a daemon: brings it to the schema of this program, puts jobs that ran back to the queue,
/// stops all work if `hold`, gives up on effects that were under way, and forgets old contents of files that are not in
/// `kept`.
///
/// # Errors
/// When the database cannot be migrated or written.
pub async fn settle(database: &Path, kept: PathBuf, now: Timestamp, hold: bool) -> Result<Settled> {
    let database = Store::open(database)?;
    let settled = database
        .write(move |tx| {
            jobs::stop(tx, now, BY)?;
            if !hold {
                jobs::go_on(tx, now, BY)?;
            }
            let open = ledger::open_effects(tx, None)?;
            let mut unknown = 0;
            for effect in open.into_iter().map(|open| open.effect) {
                let state = match effect.state {
                    // It was written down and not begun.
                    EffectState::Prepared => EffectState::Failed,
                    _ => EffectState::Unknown,
                };
                unknown += u64::from(state == EffectState::Unknown);
                ledger::settle(tx, now, effect.id, state, Some(&json!({ "reason": BY })))?;
            }
            for (id, name) in store::kept(tx)? {
                if name.contains('/') || !kept.join(&name).is_file() {
                    store::forget_kept(tx, id)?;
                }
            }
            let stopped = jobs::stopped(tx)?.is_some();
            Ok(Settled { unknown, stopped })
        })
        .await;
    database.close().await;
    settled
}

/// Adds to the copy of a database at `copy` where contents of the workspace came from by now, as far as that is trusted
/// less: files that were copied after the database may hold what it does not know of yet.
///
/// # Errors
/// When either cannot be used.
pub fn take_origins(live: &Path, copy: &Path) -> Result<()> {
    let origin = |text: &str| text.parse().unwrap_or(Origin::Stranger);
    let now = snapshot::read(live, store::origins)?;
    snapshot::change(copy, |conn| {
        let before: std::collections::HashMap<String, String> = store::origins(conn)?.into_iter().collect();
        for (path, found) in &now {
            let old = before.get(path).map_or(Origin::Tool, |text| origin(text));
            let least = old.least(origin(found));
            if least > old {
                store::set_origin(conn, path, least.as_str())?;
            }
        }
        Ok(())
    })
}
