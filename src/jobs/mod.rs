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

pub mod config;
mod outcome;
mod reconcile;
mod redact;
pub mod runner;
mod running;
pub mod store;

pub use self::{
    outcome::{Claimed, Lease, NeedsWhat, Outcome, Overrides},
    running::Running,
    store::{
        approvals::{self, Approval, ApprovalState, NewApproval},
        instructions::{self, Instruction, InstructionKind},
        log::{self, NewLog},
        spend::{self, Cap, Caps, OverCap, ReservationId},
        steps::{self, NewStep, Step, StepKind},
        thread::{clear_new_context, thread},
        usage::{self, UsageDelta},
    },
};
