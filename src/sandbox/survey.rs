//! What every backend of this host gives, whether it is the one that is taken or not.

use std::{path::Path, time::Duration};

use assistant_api::sandbox::{BackendStatus, GuaranteeStatus};
use assistant_sandbox::protocol::{Guarantee, Ready};
use futures_util::future::join_all;
use tokio::time::timeout;

use super::{
    backend::{Backend, Wanted, with_hint},
    begin::begin,
    config::{JobLevel, Sandbox, names},
};
use crate::error::{Error, Result};

/// How long one that is not taken is waited for: nobody's command depends on it.
const PATIENCE: Duration = Duration::from_secs(10);

/// All of them, at once; `taken` is not asked a second time.
pub(super) async fn survey(workspace: &Path, config: &Sandbox, taken: Option<(Backend, &Ready)>) -> Vec<BackendStatus> {
    let one = async |backend| {
        let (ready, problem) = if let Some((_, ready)) = taken.filter(|(known, _)| *known == backend) {
            (Ok(ready.clone()), None)
        } else {
            let ready = ask(backend, workspace, config).await;
            let wanted = Wanted::of(config, workspace, config.level.0);
            let fits = ready.as_ref().ok().map(|ready| wanted.and_then(|wanted| wanted.check(ready)));
            (ready, fits.and_then(|fits| fits.err().as_ref().map(with_hint)))
        };
        BackendStatus {
            backend: backend.as_str().to_owned(),
            problem: ready.as_ref().err().map(with_hint).or(problem),
            guarantees: ready.ok().map(|ready| guarantees(config, Some(&ready))).unwrap_or_default(),
        }
    };
    join_all(Backend::ALL.map(one)).await
}

async fn ask(backend: Backend, workspace: &Path, config: &Sandbox) -> Result<Ready> {
    if !backend.can(config.level.0) {
        let level = JobLevel(config.level.0).name();
        return Err(Error::unavailable(format!("it cannot give the level {level} (sandbox.level)")));
    }
    let begun = timeout(PATIENCE, begin(backend, workspace, config, config.level.0)).await;
    let late = || Error::unavailable(format!("it did not answer within {} s", PATIENCE.as_secs()));
    Ok(begun.map_err(|_| late())??.ready.clone())
}

/// Every guarantee, as a runner has told of it.
pub(super) fn guarantees(config: &Sandbox, ready: Option<&Ready>) -> Vec<GuaranteeStatus> {
    let one = |guarantee| {
        let given = ready.and_then(|ready| ready.guarantees.get(&guarantee));
        let missing = || ready.and_then(|ready| ready.missing.get(&guarantee));
        GuaranteeStatus {
            name: names(&[guarantee]).concat(),
            required: config.require.0.contains(&guarantee),
            given: given.is_some(),
            reason: given.or_else(missing).cloned().unwrap_or_default(),
        }
    };
    Guarantee::ALL.into_iter().map(one).collect()
}
