//! The job engine: a durable queue whose every change is compare-and-set, and the runner that works on it.
//!
//! ```text
//!            create ─┬─────────────▶ queued ◀──────────────┐ retry, release, recovery, requeue, answer, approve
//!         (hold)     ▼                 │ claim             │
//!                 waiting ── release ─▶│                   │
//!                    ▲                 ▼                   │
//!                    └──────────── running ────────────────┤
//!                                      │                   │
//!             ┌────────────┬───────────┴──┐                │
//!             ▼            ▼              ▼                │
//!         completed      failed      needs_review ─────────┘      cancel: every open state ─▶ cancelled
//! ```
//!
//! A job's conversation is its steps ([`steps`]); whoever writes them holds a [`Lease`]. The run itself is given to the
//! runner as a function, so that the engine knows nothing of models.

mod api;
pub mod config;
mod outcome;
mod pulse;
mod reconcile;
mod redact;
pub mod runner;
mod running;
pub mod store;
mod submit;
mod tools;
mod verbs;
mod view;
mod when;

pub use self::{
    outcome::{Claimed, Lease, NeedsWhat, Outcome, Overrides},
    pulse::Pulse,
    running::Running,
    store::{
        approvals::{self, Approval, ApprovalState, NewApproval},
        claim::held,
        instructions::{self, Instruction, InstructionKind},
        list::{counts, of_workspace},
        log::{self, NewLog},
        pause::{Stopped, go_on, stop, stopped},
        requester::{Requester, is_open, requester, tell, thread_of},
        row::get,
        spend::{self, Cap, Caps, OverCap, ReservationId},
        steps::{self, NewStep, Step, StepKind},
        thread::{clear_new_context, email, thread},
        usage::{self, UsageDelta},
    },
    submit::{create, create_with, release},
    verbs::{answer, approve, cancel, deny, erase, instruct, requeue, resume, review, stop_all},
    view::{detail, list, logs, poll},
};
/// What is done to jobs in the transaction of another part; whoever commits wakes the runner.
pub mod within {
    pub use super::store::{
        change::{answer, cancel, decide, instruct, release, review},
        create::{Creation, insert_job},
        row::get,
        thread::{open_job, set_new_context},
    };
}
use crate::subsystems::Subsystem;

/// What the job engine adds to the daemon.
pub const SUBSYSTEM: Subsystem = Subsystem { name: "jobs", routes: api::routes, tools: tools::TOOLS, loops: &[] };

#[cfg(test)]
mod tests;
