//! On whose behalf something is changed: what stands in the ledger, and who may do away with things for good.

use assistant_api::{JobId, Role};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::{agent::tools::Call, jobs::Lease, policy::Origin};

/// A job's tool call, or a person.
#[derive(Clone, Debug)]
pub struct Actor {
    pub(super) job_id: Option<JobId>,
    /// Has to be held when a change begins.
    pub(super) lease: Option<Lease>,
    pub(super) call_key: Option<String>,
    pub(super) tool: String,
    pub(super) args_hash: String,
    pub(super) origin: Origin,
    pub(super) rule: String,
    /// Whether it may delete for good.
    pub(super) admin: bool,
}

impl Actor {
    /// A job that calls a tool.
    pub fn job(call: &Call, tool: &str) -> Self {
        Self {
            job_id: Some(call.job_id),
            lease: Some(call.lease),
            call_key: Some(call.key.as_ref().to_owned()),
            tool: tool.to_owned(),
            args_hash: call.args_hash.as_ref().to_owned(),
            origin: call.origin,
            rule: call.rule.as_ref().to_owned(),
            admin: false,
        }
    }

    /// The daemon itself, which makes a file of what came from `origin`; with the name of the tool that does the same.
    pub fn daemon(tool: &'static str, arguments: &impl Serialize, origin: Origin) -> Self {
        Self { origin, rule: "by-itself".into(), ..Self::person(Role::Operator, tool, arguments) }
    }

    /// A person who asks for the same as `tool` does, with these arguments. It stands in the ledger under the tool's
    /// name, so that the tool finds out what became of it after a crash.
    pub fn person(role: Role, tool: &'static str, arguments: &impl Serialize) -> Self {
        let mut hash = Sha256::new();
        hash.update(tool);
        hash.update(serde_json::to_vec(arguments).unwrap_or_default());
        Self {
            job_id: None,
            lease: None,
            call_key: None,
            tool: tool.to_owned(),
            args_hash: crate::root::hex(&hash.finalize()),
            origin: Origin::Owner,
            rule: "by-hand".into(),
            admin: role == Role::Admin,
        }
    }
}
