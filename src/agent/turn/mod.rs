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

pub(crate) mod effects;
mod ends;
mod plan;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use serde_json::json;

use self::{
    effects::{Before, Commit, Committed, Effect, Event, Inject, Now, Ran, Reservation, Row, Settle, ToRun},
    plan::{Batch, Planned, What},
};
use super::{
    compact::{self, Plan, Room},
    detector::{self, Finding},
    history::History,
    parse, segment,
    steps::{self, AnswerBody, NoteBody, ResultBody, SummaryBody, Why},
    toolbox::Toolbox,
};
use crate::{
    config::Config,
    error::Result,
    jobs::{
        NeedsWhat, Outcome,
        steps::{NewStep, StepKind},
    },
    llm::{Answer, Message, Request, Role, Stop, ToolCall, price},
    policy::{Access, Origin},
};

/// The bounds of one run.
#[derive(Clone)]
pub(crate) struct Settings {
    pub config: Arc<Config>,
    pub max_iterations: u64,
    pub max_tokens: u64,
    pub max_time: Duration,
}

/// Answers in a row without a call that end the run.
const SILENT: usize = 3;
/// Results that took so long together are stored before the next call runs.
const SLOW: Duration = Duration::from_millis(250);

/// The machine.
pub(crate) struct Turn {
    settings: Settings,
    toolbox: Toolbox,
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
    pub(crate) fn new(settings: Settings, toolbox: Toolbox, history: History) -> Self {
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
            Event::Answered { answer, took } => match std::mem::replace(&mut self.after, After::Nothing) {
                After::Summarize { upto, transcript, origin, .. } => {
                    self.summary(now, Some((&answer, took)), upto, &transcript, origin)
                }
                _ => self.answered(now, *answer, took),
            },
            Event::AskFailed { error, took } => match std::mem::replace(&mut self.after, After::Nothing) {
                After::Summarize { upto, transcript, origin, .. } => {
                    self.failed_call(&error, took, "summary");
                    self.summary(now, None, upto, &transcript, origin)
                }
                after => self.not_answered(now, error, took, &after),
            },
            Event::Ran(ran) => {
                for ran in ran {
                    self.ran(ran)?;
                }
                self.advance(now)
            }
            Event::Deadline => {
                self.settle_unknown();
                let outcome = self.out_of_time();
                self.finish(outcome)
            }
        }
    }

    fn begin(&mut self, now: Now, before: Before) -> Result<Effect> {
        if let Some(prompt) = before.prompt {
            self.append(prompt)?;
        }
        if let Some(text) = before.resumed.filter(|_| self.history.answered()) {
            self.untold.push((text, Why::Resumed));
        }
        let Some((step, open)) = self.history.open_calls() else {
            return match self.ended_before() {
                Some(outcome) => self.finish(outcome),
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
        for note in &committed.notes {
            self.history.push(note)?;
        }
        match committed.reserved {
            Some(Err(over)) => {
                let outcome = self.over_budget(&over);
                if let After::Summarize { upto, transcript, origin, .. } =
                    std::mem::replace(&mut self.after, After::Nothing)
                {
                    // The answer itself will say that there is no money, if there is none.
                    return self.summary(now, None, upto, &transcript, origin);
                }
                return self.finish(outcome);
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
                let fixed = fixed_chars(&request);
                match compact::plan(&self.history, fixed, &Room { may_summarize: false, ..self.room() }) {
                    Plan::Ready(messages) => Arc::make_mut(&mut request).messages = messages,
                    Plan::TooLarge { chars } => {
                        self.settle_nothing();
                        let outcome = self.too_large(chars);
                        return self.finish(outcome);
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
            After::Finish(outcome) => Ok(Effect::Finish(outcome)),
            After::Nothing => self.next_step(now),
        }
    }

    /// Stores what there is and asks the model, unless a bound is reached.
    fn next_step(&mut self, now: Now) -> Result<Effect> {
        if now.stopping {
            return self.finish(Outcome::Released);
        }
        for (text, why) in std::mem::take(&mut self.untold) {
            self.note(text, why, Origin::Host)?;
        }
        if let Some(outcome) = self.limit_reached(now) {
            return self.finish(outcome);
        }
        match detector::judge(&self.history, &self.settings.config.loop_detector) {
            Some(Finding::Warn(what)) => {
                let text = format!(
                    "You may be going round in circles: {what}. Look at what the results say, try another way, ask with \
                     request_input, or end with task_failed. The job is stopped if this goes on."
                );
                self.note(text, Why::Loop, Origin::Host)?;
            }
            Some(Finding::Stop(reason)) => {
                return self.finish(Outcome::NeedsReview { needs: NeedsWhat::Review, reason });
            }
            None => {}
        }
        let tools = self.toolbox.offered(&self.history.loaded, self.near_limit());
        let mut request = Request::new(self.history.system.clone(), Vec::new());
        request.tools = tools;
        match compact::plan(&self.history, fixed_chars(&request), &self.room()) {
            Plan::Ready(messages) => {
                request.messages = messages;
                let request = Arc::new(request);
                self.after = After::Ask(Arc::clone(&request));
                Ok(self.commit(Some(Inject::Step), Some(request)))
            }
            Plan::Summarize { upto, transcript, origin } => {
                let request = Arc::new(self.summary_request(&transcript, origin));
                self.after = After::Summarize { request: Arc::clone(&request), upto, transcript, origin };
                Ok(self.commit(None, Some(request)))
            }
            Plan::TooLarge { chars } => {
                let outcome = self.too_large(chars);
                self.finish(outcome)
            }
        }
    }

    fn room(&self) -> Room {
        let limits = &self.settings.config.limits;
        Room {
            max_chars: self.squeezed.unwrap_or(limits.max_prompt_chars as usize),
            window: limits.message_history_window as usize,
            keep_recent: limits.summarization_keep_recent as usize,
            max_transcript: limits.summarization_max_input_chars as usize,
            may_summarize: !self.summarized,
        }
    }

    fn summary_request(&self, transcript: &str, origin: Origin) -> Request {
        let limits = &self.settings.config.limits;
        let text = self.history.fence.wrap("transcript", origin, transcript);
        let mut request = Request::new(include_str!("../prompts/summarize.md"), vec![Message::User { text }]);
        request.role = Role::Small;
        request.max_tokens = Some(limits.summarization_max_tokens);
        request.temperature = Some(0.0);
        request.timeout = Some(limits.summarization_timeout_seconds.0);
        request
    }

    /// Stores a summary: the model's, or one by rule when there is none. Either way it is not made again.
    fn summary(
        &mut self,
        now: Now,
        answer: Option<(&Answer, Duration)>,
        upto: i64,
        transcript: &str,
        origin: Origin,
    ) -> Result<Effect> {
        self.summarized = true;
        let written = answer.map(|(answer, took)| {
            self.account(answer, took, "summary", 0);
            answer.text.trim().to_owned()
        });
        let written = written.filter(|text| !text.is_empty());
        let by_model = written.is_some();
        let most = self.settings.config.limits.summarization_max_tokens as usize * 6;
        let text = written.map_or_else(|| compact::by_rule(transcript, most), |text| segment::cut(&text, most));
        self.append(steps::new(StepKind::Summary, &SummaryBody { upto, text, by_model }, origin.least(Origin::Tool)))?;
        self.next_step(now)
    }

    fn answered(&mut self, now: Now, answer: Answer, took: Duration) -> Result<Effect> {
        self.summarized = false;
        self.used.iterations += 1;
        self.account(&answer, took, "answer", 1);
        let limits = &self.settings.config.limits;
        let most_calls = limits.max_calls_per_answer as usize;
        let (text, mut calls) = self.calls_of(&answer);
        let dropped = calls.len().saturating_sub(most_calls);
        calls.truncate(most_calls);
        let step = self.history.next_seq;
        self.name_calls(step, &mut calls);
        let body = AnswerBody {
            text,
            calls: calls.clone(),
            model: answer.model,
            stop: answer.stop,
            usage: answer.usage,
            rehearsed: answer.rehearsed,
        };
        let origin = self.history.origin;
        self.append(steps::new(StepKind::Answer, &body, origin))?;
        if calls.is_empty() {
            return self.silent(now, &body);
        }
        let last = calls.len() - 1;
        let cut_off = answer.stop == Stop::Length;
        let mut planned = VecDeque::new();
        for (index, call) in calls.iter().enumerate() {
            planned.push_back(self.plan_call(step, index, call, cut_off && index == last, None));
        }
        self.batch = Some(Batch { calls: planned });
        if dropped > 0 {
            let text = format!(
                "Only the first {most_calls} calls of your answer were taken; {dropped} more were not run \
                 (limits.max_calls_per_answer)."
            );
            self.untold.push((text, Why::Limit));
        }
        self.advance(now)
    }

    /// Text and calls of an answer; calls that stand in the text are taken out of it.
    fn calls_of(&self, answer: &Answer) -> (String, Vec<ToolCall>) {
        if answer.calls.is_empty() {
            let known = |name: &str| self.toolbox.get(name).is_some() || super::control::NAMES.contains(&name);
            if let Some(found) = parse::written_calls(&answer.text, &known) {
                return found;
            }
        }
        (answer.text.clone(), answer.calls.clone())
    }

    /// Gives calls ids that are unique within the conversation and names that every protocol takes.
    fn name_calls(&self, step: i64, calls: &mut [ToolCall]) {
        for index in 0..calls.len() {
            let id = calls[index].id.trim().to_owned();
            let plain = id.len() <= 64 && id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
            let taken = calls[..index].iter().any(|call| call.id == id) || self.history.has_call(&id);
            let call = &mut calls[index];
            call.id = if id.is_empty() || !plain || taken { format!("call_{step}_{index}") } else { id };
            call.name = parse::tool_name(&call.name);
        }
    }

    /// An answer without a call ends nothing by itself.
    fn silent(&mut self, now: Now, answer: &AnswerBody) -> Result<Effect> {
        if answer.stop == Stop::Refused {
            let reason = format!("the model refused: {}", segment::cut(&answer.text, 500));
            return self.finish(Outcome::NeedsReview { needs: NeedsWhat::Review, reason });
        }
        if self.history.silent_answers() >= SILENT {
            let said = segment::cut(&answer.text, 2000);
            let reason = format!("the model answered {SILENT} times without calling a tool; it said last: {said}");
            return self.finish(Outcome::NeedsReview { needs: NeedsWhat::Review, reason });
        }
        let text = if answer.stop == Stop::Length {
            include_str!("../prompts/cut-off.md")
        } else if answer.text.trim().is_empty() {
            include_str!("../prompts/empty-answer.md")
        } else {
            include_str!("../prompts/no-call.md")
        };
        self.note(text.trim().to_owned(), Why::NoCall, Origin::Host)?;
        self.next_step(now)
    }

    /// Goes on with the calls of the last answer, in their order.
    fn advance(&mut self, now: Now) -> Result<Effect> {
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
                    return self.finish(outcome);
                }
                What::Approve { approval, outcome } => {
                    self.batch = None;
                    self.out.approval = Some(*approval);
                    return self.finish(outcome);
                }
                What::Run(run) => {
                    if now.stopping {
                        self.batch = None;
                        return self.finish(Outcome::Released);
                    }
                    if now.elapsed >= self.settings.max_time {
                        self.batch = None;
                        let outcome = self.out_of_time();
                        return self.finish(outcome);
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
                    if answer_unsaved || self.unsaved >= SLOW {
                        self.after = After::Run(runs);
                        return Ok(self.commit(None, None));
                    }
                    return Ok(Effect::Run(runs));
                }
            }
        }
    }

    fn ran(&mut self, ran: Ran) -> Result<()> {
        let Some((_, open)) = self.history.open_calls() else { return Ok(()) };
        let Some((_, call)) = open.into_iter().find(|(index, _)| *index == ran.index) else { return Ok(()) };
        self.unsaved += ran.took;
        let tool_origin = self.toolbox.get(&call.name).map_or(Origin::Tool, |tool| tool.result_origin);
        let (ok, whole) = match ran.result {
            Ok(text) => (true, text),
            Err(error) => (false, error.to_string()),
        };
        let most = self.settings.config.limits.max_result_chars as usize;
        let shown = super::cache::shown(&whole, ran.cached.as_ref(), most);
        let body = ResultBody {
            index: ran.index,
            call_id: call.id.clone(),
            name: call.name.clone(),
            ok,
            text: super::cache::stored(&whole, ran.cached.as_ref(), most),
            cached: ran.cached,
            hash: parse::hex(&whole)[..16].to_owned(),
            loaded: Vec::new(),
        };
        self.log_result(&body, Some(ran.took));
        self.append(steps::new(StepKind::Result, &body, tool_origin))?;
        self.history.whole.insert(call.id, shown);
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one result")]
    fn result(
        &mut self,
        index: usize,
        call_id: String,
        name: String,
        ok: bool,
        text: String,
        loaded: Vec<String>,
        origin: Origin,
    ) -> Result<()> {
        let hash = parse::hex(&text)[..16].to_owned();
        let body = ResultBody { index, call_id, name, ok, text, cached: None, hash, loaded };
        self.log_result(&body, None);
        self.append(steps::new(StepKind::Result, &body, origin))
    }

    fn log_result(&mut self, body: &ResultBody, took: Option<Duration>) {
        let value = serde_json::from_str(&body.text).unwrap_or_else(|_| body.text.clone().into());
        self.out.logs.push(Row {
            event_type: if body.ok { "tool_result" } else { "error" },
            tool_name: Some(body.name.clone()),
            output: Some(plan::for_log(&value)),
            took,
            ..Row::default()
        });
    }

    fn note(&mut self, text: String, why: Why, origin: Origin) -> Result<()> {
        self.append(steps::new(StepKind::Note, &NoteBody { text, why, seen_item: None }, origin))
    }

    /// Takes a step up and has it stored with the next commit.
    fn append(&mut self, step: NewStep) -> Result<()> {
        self.history.push(&step)?;
        self.out.steps.push(step);
        Ok(())
    }

    /// Counts what an answer used and settles what was reserved for it.
    fn account(&mut self, answer: &Answer, took: Duration, action: &str, iterations: i64) {
        let reserved = self.reserved.take();
        let nanos = price::settle(answer, reserved.map_or(0, |reserved| reserved.nanos));
        // A provider that does not count is counted by characters, four to a token.
        let tokens = answer.usage.map_or_else(
            || {
                (answer.text.len() as u64 + answer.calls.iter().map(|call| call.arguments.len() as u64).sum::<u64>())
                    / 4
            },
            |usage| usage.total_tokens.max(usage.input_tokens + usage.output_tokens),
        );
        self.used.tokens += tokens;
        let tokens = i64::try_from(tokens).unwrap_or(i64::MAX);
        self.out.usage.calls += 1;
        self.out.usage.tokens += tokens;
        self.out.usage.cost_nanos += nanos;
        self.out.usage.iterations += iterations;
        self.out.settle = reserved.map(|reserved| Settle { id: reserved.id, nanos, tokens });
        let calls: Vec<_> = answer.calls.iter().map(|call| call.name.as_str()).collect();
        let mut output = json!({ "text": segment::cut(&answer.text, 2000), "tool_calls": calls, "stop": answer.stop });
        if answer.rehearsed {
            output["rehearsed"] = true.into();
        }
        self.out.logs.push(Row {
            event_type: "llm_response",
            tool_action: Some(action.to_owned()),
            input: Some(json!({ "model": answer.model })),
            output: Some(output),
            tokens: answer.usage.map(|usage| {
                json!({
                    "prompt_tokens": usage.input_tokens,
                    "completion_tokens": usage.output_tokens,
                    "total_tokens": usage.total_tokens,
                    "cost_nanos": nanos,
                })
            }),
            took: Some(took),
            ..Row::default()
        });
    }

    /// Hands over what has gathered.
    fn commit(&mut self, inject: Option<Inject>, ask: Option<Arc<Request>>) -> Effect {
        self.unsaved = Duration::ZERO;
        let mut commit = std::mem::take(&mut self.out);
        commit.inject = inject;
        commit.ask = ask;
        Effect::Commit(Box::new(commit))
    }
}

/// Characters of a request without its messages.
fn fixed_chars(request: &Request) -> usize {
    let bare = Request { messages: Vec::new(), ..request.clone() };
    usize::try_from(bare.chars()).unwrap_or(usize::MAX)
}
