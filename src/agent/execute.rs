//! Runs one tool call: bounded in time, safe from panics, its large result kept.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::{
    cache,
    tools::{self, Call, Tokens, ToolDef},
    turn::effects::{Ran, ToRun},
};
use crate::{
    config::Config,
    cx::Cx,
    error::Error,
    jobs::Lease,
    policy::{Access, Origin},
};

/// What the model is told when nobody knows whether a call did what it was for.
const LOOK_FIRST: &str = "its effect may have happened, wholly or in part, or not at all, and it may still be under way: \
     look first (file_list and file_read show what is there), and do it again only if it certainly did not happen";

/// Runs it within `limit`. Whatever goes wrong is a result that the model can act on.
pub(crate) async fn run(cx: &Cx, config: &Config, lease: Lease, run: ToRun, limit: Duration) -> Ran {
    let started = Instant::now();
    let job_id = lease.job_id;
    let call = Call {
        job_id,
        lease,
        key: run.key.as_str().into(),
        origin: run.origin,
        rule: run.rule.as_str().into(),
        args_hash: run.args_hash.as_str().into(),
        tokens: Tokens::default(),
    };
    let name = run.tool.name;
    // A task of its own: a panic or a thread that is blocked stays in it.
    let work = (run.tool.run)(cx.clone(), call.clone(), run.arguments.clone());
    let task = AbortOnDropHandle::new(cx.tasks.spawn(work));
    let outcome = match tokio::time::timeout(limit, task).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(join)) if join.is_panic() => {
            tracing::error!(job_id = job_id.0, tool = name, "a tool panicked");
            Err(broken_off(run.tool, Error::internal(format!("{name} panicked"))))
        }
        Ok(Err(_)) => Err(broken_off(run.tool, Error::unavailable(format!("{name} was stopped")))),
        Err(_) => {
            let late = Error::timeout(format!("{name} did not end within {} s", limit.as_secs()))
                .field("limits.tool_timeout_default_seconds")
                .hint("ask for less at once, or try another way");
            Err(broken_off(run.tool, late))
        }
    };
    let mut origin = run.tool.result_origin;
    let result = match outcome {
        Ok(output) => {
            origin = output.origin;
            Ok(output.value.to_string())
        }
        Err(err) => {
            tracing::debug!(job_id = job_id.0, tool = name, error = err.chain(), "a tool call failed");
            Err(tools::error_result(&err))
        }
    };
    let cached = match &result {
        Ok(whole) => cache::keep(cx, config, run.tool, &call, &run.arguments, whole).await,
        Err(_) => None,
    };
    Ran { index: run.index, result, origin, cached, took: started.elapsed(), tokens: call.tokens.used() }
}

/// The error of a call that did not end by itself: what would have changed something may have done so.
fn broken_off(tool: &ToolDef, error: Error) -> Error {
    match tool.access {
        Access::Read | Access::Control => error,
        Access::Write | Access::Send | Access::Run => error.hint(LOOK_FIRST),
    }
}

/// The result of a call whose approval was gone when it was to be used.
pub(crate) fn not_approved(run: &ToRun) -> Ran {
    let error = json!({ "error": "the approval of this call is no longer valid; it was not run", "kind": "forbidden" });
    Ran { index: run.index, result: Err(error), origin: Origin::Host, cached: None, took: Duration::ZERO, tokens: 0 }
}
