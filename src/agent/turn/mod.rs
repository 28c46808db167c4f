//! The loop as a pure state machine: events in, effects out, no I/O.
//!
//! ```text
//!  Begin ─▶ next step ─ Commit ─▶ Committed ─ Ask ─▶ Answered ─ Commit ─▶ Committed ─ Run ─▶ Ran ─┐
//!              ▲                      │ over a cap      │ terminal call                            │
//!              │                      └────▶ Finish ◀───┘                                          │
//!              └───────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! What is to be stored gathers in one [`Commit`] until something has to act on it: an answer is on disk before its
//! calls run, results and what came in meanwhile are on disk before the model is asked again.

mod answering;
mod asking;
pub(crate) mod effects;
mod ends;
mod plan;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use serde_json::json;

use self::{
    effects::{Before, Commit, Committed, Effect, Event, Inject, Now, Reservation, ToRun},
    plan::{Batch, Planned, What},
};
use super::{
    compact::{self, Plan, Room},
    history::History,
    steps::{self, NoteBody, Why},
    toolbox::Toolbox,
};
use crate::{
    config::Config,
    error::{Error, Result},
    jobs::{
        Outcome,
        steps::{NewStep, StepKind},
    },
    llm::Request,
    policy::{Access, Origin},
};

/// The bounds of one run.
#[derive(Clone)]
pub(crate) struct Settings {
    pub config: Arc<Config>,
    pub max_iterations: u64,
    pub max_tokens: u64,
    pub max_time: Duration,
    /// The mail address that asked for the job, if it is verified.
    pub requester: Option<String>,
}

/// Answers in a row without a call that end the run.
const SILENT: usize = 3;
/// Results that took so long together are stored before the next call runs.
const SLOW: Duration = Duration::from_millis(250);

/// The machine.
pub(crate) struct Turn {
    settings: Settings,
    toolbox: Arc<Toolbox>,
    history: History,
    used: Used,
    /// The calls of the last answer that have no result yet.
    batch: Option<Batch>,
    /// What is to be stored with the next commit.
    out: Commit,
    /// How long the results in `out` took.
    unsaved: Duration,
    after: After,
    /// Told at the next step.
    untold: Vec<(String, Why)>,
    reserved: Option<Reservation>,
    /// A smaller prompt than the configured one, because the model refused a longer one.
    squeezed: Option<usize>,
    /// No summary is asked for twice between two answers.
    summarized: bool,
}

/// What this run has used so far.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    iterations: u64,
    tokens: u64,
}

/// What follows when the commit is on disk.
enum After {
    Nothing,
    Ask(Arc<Request>),
    Summarize { request: Arc<Request>, upto: i64, transcript: String, origin: Origin },
    Run(Vec<ToRun>),
    Finish(Outcome),
}

impl Turn {
    /// A machine that continues this conversation.
    pub(crate) fn new(settings: Settings, toolbox: Arc<Toolbox>, history: History) -> Self {
        Self {
            settings,
            toolbox,
            history,
            used: Used::default(),
            batch: None,
            out: Commit::default(),
            unsaved: Duration::ZERO,
            after: After::Nothing,
            untold: Vec::new(),
            reserved: None,
            squeezed: None,
            summarized: false,
        }
    }

    /// The conversation as the machine knows it.
    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// Takes an event and says what is to be done next.
    ///
    /// # Errors
    /// When a stored step cannot be read.
    pub(crate) fn on(&mut self, now: Now, event: Event) -> Result<Effect> {
        match event {
            Event::Begin(before) => self.begin(now, *before),
            Event::Committed(committed) => self.committed(now, committed),
            Event::Answered { answer, took, lost } => match std::mem::replace(&mut self.after, After::Nothing) {
                After::Summarize { request, upto, transcript, origin } => {
                    self.account(&request, &answer, took, lost, "summary", 0);
                    self.summary(now, Some(&answer), upto, &transcript, origin)
                }
                After::Ask(request) => {
                    self.account(&request, &answer, took, lost, "answer", 1);
                    self.answered(now, *answer)
                }
                After::Nothing | After::Run(_) | After::Finish(_) => Err(Error::internal("an answer to no question")),
            },
            Event::AskFailed { error, took, lost } => match std::mem::replace(&mut self.after, After::Nothing) {
                After::Summarize { upto, transcript, origin, .. } => {
                    self.failed_call(&error, took, lost, "summary");
                    self.summary(now, None, upto, &transcript, origin)
                }
                after => self.not_answered(now, error, took, lost, &after),
            },
            Event::Ran(ran) => {
                for ran in ran {
                    self.ran(ran)?;
                }
                self.advance(now)
            }
            Event::Deadline { lost } => {
                self.settle_lost(lost);
                let outcome = self.out_of_time();
                Ok(self.finish(outcome))
            }
        }
    }

    fn begin(&mut self, now: Now, before: Before) -> Result<Effect> {
        for prompt in before.prompts {
            self.append(prompt)?;
        }
        if let Some(text) = before.resumed.filter(|_| self.history.answered()) {
            self.untold.push((text, Why::Resumed));
        }
        let Some((step, open)) = self.history.open_calls() else {
            return match self.ended_before() {
                Some(outcome) => Ok(self.finish(outcome)),
                None => self.next_step(now),
            };
        };
        let mut calls = VecDeque::new();
        for (index, call) in open {
            let known = before.open.get(&format!("{step}:{index}"));
            calls.push_back(self.plan_call(step, index, &call, false, known));
        }
        self.batch = Some(Batch { calls });
        self.advance(now)
    }

    fn committed(&mut self, now: Now, committed: Committed) -> Result<Effect> {
        let news = !committed.notes.is_empty();
        for note in committed.notes {
            self.history.push(&note)?;
        }
        match committed.reserved {
            Some(Err(over)) => {
                let outcome = Self::over_budget(&over);
                if let After::Summarize { upto, transcript, origin, .. } =
                    std::mem::replace(&mut self.after, After::Nothing)
                {
                    // The answer itself will say that there is no money, if there is none.
                    return self.summary(now, None, upto, &transcript, origin);
                }
                return Ok(self.finish(outcome));
            }
            Some(Ok(reservation)) => self.reserved = Some(reservation),
            None => {}
        }
        match std::mem::replace(&mut self.after, After::Nothing) {
            After::Run(runs) => Ok(Effect::Run(runs)),
            After::Ask(request) if !news => {
                self.after = After::Ask(Arc::clone(&request));
                Ok(Effect::Ask(request))
            }
            After::Ask(mut request) => {
                // What came in is in the conversation now; the plan is made anew, and it can only stay or shrink.
                let fixed = asking::fixed_chars(&request);
                match compact::plan(&self.history, fixed, &Room { may_summarize: false, ..self.room() }) {
                    Plan::Ready(messages) => Arc::make_mut(&mut request).messages = messages,
                    Plan::TooLarge { chars } => {
                        self.settle_lost(0);
                        let outcome = self.too_large(chars);
                        return Ok(self.finish(outcome));
                    }
                    Plan::Summarize { .. } => {}
                }
                self.after = After::Ask(Arc::clone(&request));
                Ok(Effect::Ask(request))
            }
            After::Summarize { request, upto, transcript, origin } => {
                let ask = Arc::clone(&request);
                self.after = After::Summarize { request, upto, transcript, origin };
                Ok(Effect::Ask(ask))
            }
            After::Finish(_) if news => {
                self.batch = None;
                self.next_step(now)
            }
            After::Finish(outcome) => self.truthfully(now, outcome, committed.done.as_ref()),
            After::Nothing => self.next_step(now),
        }
    }

    /// Goes on with the calls of the last answer, in their order.
    pub(super) fn advance(&mut self, now: Now) -> Result<Effect> {
        loop {
            let Some(batch) = &mut self.batch else { return self.next_step(now) };
            let Some(planned) = batch.calls.pop_front() else {
                self.batch = None;
                return self.next_step(now);
            };
            let Planned { index, id, name, what } = planned;
            match what {
                What::Reply { result, ok, loaded } => {
                    self.result(index, id, name, ok, result.to_string(), loaded, plan::REPLY_ORIGIN)?;
                }
                What::End { outcome, result } => {
                    let rest = std::mem::take(&mut batch.calls);
                    self.batch = None;
                    self.result(index, id, name, true, result.to_string(), Vec::new(), plan::REPLY_ORIGIN)?;
                    for planned in rest {
                        let result = json!({ "error": "not run: the call before it ended the run" }).to_string();
                        self.result(
                            planned.index,
                            planned.id,
                            planned.name,
                            false,
                            result,
                            Vec::new(),
                            plan::REPLY_ORIGIN,
                        )?;
                    }
                    return Ok(self.finish(outcome));
                }
                What::Approve { approval, outcome } => {
                    self.batch = None;
                    self.out.approval = Some(*approval);
                    return Ok(self.finish(outcome));
                }
                What::Run(run) => {
                    if now.stopping {
                        self.batch = None;
                        return Ok(self.finish(Outcome::Released));
                    }
                    if now.elapsed >= self.settings.max_time {
                        self.batch = None;
                        let outcome = self.out_of_time();
                        return Ok(self.finish(outcome));
                    }
                    let mut runs = vec![*run];
                    if runs[0].tool.access == Access::Read && runs[0].approval.is_none() {
                        while matches!(batch.calls.front(), Some(Planned { what: What::Run(next), .. })
                            if next.tool.access == Access::Read && next.approval.is_none())
                        {
                            if let Some(Planned { what: What::Run(next), .. }) = batch.calls.pop_front() {
                                runs.push(*next);
                            }
                        }
                    }
                    let answer_unsaved = self.out.steps.iter().any(|step| step.kind == StepKind::Answer);
                    if answer_unsaved || self.unsaved >= SLOW || !self.out.void.is_empty() {
                        self.after = After::Run(runs);
                        return Ok(self.commit(None, None));
                    }
                    return Ok(Effect::Run(runs));
                }
            }
        }
    }

    pub(super) fn note(&mut self, text: String, why: Why, origin: Origin) -> Result<()> {
        self.append(steps::new(StepKind::Note, &NoteBody { text, why, seen_item: None }, origin))
    }

    /// Takes a step up and has it stored with the next commit.
    pub(super) fn append(&mut self, step: NewStep) -> Result<()> {
        self.history.push(&step)?;
        self.out.steps.push(step);
        Ok(())
    }

    /// Hands over what has gathered.
    pub(super) fn commit(&mut self, inject: Option<Inject>, ask: Option<Arc<Request>>) -> Effect {
        self.unsaved = Duration::ZERO;
        let mut commit = std::mem::take(&mut self.out);
        commit.inject = inject;
        commit.ask = ask;
        Effect::Commit(Box::new(commit))
    }
}
