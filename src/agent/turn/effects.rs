//! What goes into the machine and what comes out of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use assistant_api::{ApprovalId, effects::EffectState};
use serde_json::Value;

use crate::{
    agent::{claims::Done, steps::Cached, tools::ToolDef},
    jobs::{
        Outcome,
        approvals::{Approval, NewApproval},
        spend::{OverCap, ReservationId},
        steps::NewStep,
        usage::UsageDelta,
    },
    llm::{Answer, LlmError, Request},
    policy::Origin,
};

/// When an event happens.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Now {
    /// Since the run began.
    pub elapsed: Duration,
    /// The daemon stops: finish the step in hand, begin nothing new.
    pub stopping: bool,
}

/// What the driver tells the machine.
#[derive(Debug)]
pub(crate) enum Event {
    /// The first event of a run.
    Begin(Box<Before>),
    /// The commit that was asked for is on disk.
    Committed(Committed),
    /// The model answered; `lost`: attempts before, whose cost nobody knows.
    Answered { answer: Box<Answer>, took: Duration, lost: u32 },
    /// The model did not answer.
    AskFailed { error: LlmError, took: Duration, lost: u32 },
    /// The calls that were to be run have ended, in their order.
    Ran(Vec<Ran>),
    /// The time of the run was over before the model answered.
    Deadline { lost: u32 },
}

/// What was read before the first step.
#[derive(Debug, Default)]
pub(crate) struct Before {
    /// The first prompt, or what of it is new.
    pub prompts: Vec<NewStep>,
    /// What to tell the model when it goes on after a stop.
    pub resumed: Option<String>,
    /// What is known of calls without a result, by their key.
    pub open: BTreeMap<String, Known>,
}

/// What is known of a call that a former run may have begun.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub effect: Option<EffectState>,
    pub approval: Option<Approval>,
}

/// What came with a commit.
#[derive(Debug, Default)]
pub(crate) struct Committed {
    /// Notes that were stored with it: what people and the thread had to say.
    pub notes: Vec<NewStep>,
    /// What became of the reservation, if one was asked for.
    pub reserved: Option<Result<Reservation, OverCap>>,
    /// What the job has done, if its run is about to end.
    pub done: Option<Done>,
}

/// Money that is set aside for one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reservation {
    pub id: ReservationId,
    pub nanos: i64,
}

/// What one call gave.
#[derive(Debug)]
pub(crate) struct Ran {
    pub index: usize,
    /// The result as JSON text, or the error for the model.
    pub result: Result<String, Value>,
    /// Where that came from.
    pub origin: Origin,
    /// Where the whole result is kept.
    pub cached: Option<Cached>,
    pub took: Duration,
    /// What it used at a model of its own.
    pub tokens: u64,
}

/// What the machine wants done; the driver answers each with one event, but for the last.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Write all of it in one transaction.
    Commit(Box<Commit>),
    /// Ask the model.
    Ask(Arc<Request>),
    /// Run these calls; more than one only if all of them read.
    Run(Vec<ToRun>),
    /// The run is over.
    Finish(Outcome),
}

/// One transaction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Commit {
    pub steps: Vec<NewStep>,
    pub logs: Vec<Row>,
    pub usage: UsageDelta,
    /// Ends a reservation.
    pub settle: Option<Settle>,
    pub approval: Option<NewApproval>,
    /// Questions about calls that go on, or have ended, without their answer.
    pub void: Vec<ApprovalId>,
    /// Also take up what people and the thread have to say.
    pub inject: Option<Inject>,
    /// The request that follows: money is set aside for it, and its log row is written.
    pub ask: Option<Arc<Request>>,
}

impl Commit {
    /// Whether nothing is to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty()
            && self.logs.is_empty()
            && self.settle.is_none()
            && self.approval.is_none()
            && self.void.is_empty()
    }
}

/// Where new context is taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inject {
    /// Before the next question to the model.
    Step,
    /// Before the run ends: if there is any, it does not end.
    End,
}

/// What a call cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settle {
    pub id: ReservationId,
    /// Who answered; empty if nobody did.
    pub model: String,
    pub nanos: i64,
    pub tokens: i64,
}

/// A row of the task log.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Row {
    pub event_type: &'static str,
    pub tool_name: Option<String>,
    pub tool_action: Option<String>,
    pub input: Option<Value>,
    pub output: Option<Value>,
    pub tokens: Option<Value>,
    pub took: Option<Duration>,
}

/// A call that policy let pass.
#[derive(Clone)]
pub(crate) struct ToRun {
    pub index: usize,
    /// `<step seq>:<index>`
    pub key: String,
    pub tool: &'static ToolDef,
    pub arguments: Value,
    pub args_hash: String,
    pub origin: Origin,
    pub rule: String,
    /// To be used up before it runs.
    pub approval: Option<ApprovalId>,
}

impl std::fmt::Debug for ToRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ToRun")
            .field("key", &self.key)
            .field("tool", &self.tool.name)
            .field("arguments", &self.arguments)
            .field("approval", &self.approval)
            .finish_non_exhaustive()
    }
}
