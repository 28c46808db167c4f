//! Does what the machine asks for: writes, asks the model, runs tools. All I/O of a run is here.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use rusqlite::Connection;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    cache, claims, execute,
    history::History,
    prompt,
    segment::Fence,
    store,
    toolbox::Toolbox,
    turn::{
        Settings, Turn,
        effects::{Before, Commit, Committed, Effect, Event, Inject, Known, Now, Ran, Reservation, Row, ToRun},
    },
};
use crate::{
    config::Config,
    crashpoint::{self, Point},
    cx::Cx,
    error::{Error, ErrorKind, Result},
    jobs::{
        self, Claimed, NeedsWhat, Outcome,
        log::NewLog,
        spend::{Caps, OverCap},
        steps::NewStep,
    },
    ledger,
    llm::{Llm, LlmError, Message, ModelInfo, Request, price},
    policy::Origin,
};

/// Runs a claimed job until it ends, pauses or is cancelled.
pub(crate) async fn run(cx: &Cx, claimed: &Claimed, cancel: &CancellationToken) -> Outcome {
    let driven = async {
        // What is not known of the models yet, such as whether one costs nothing, is found out before money is reserved.
        cx.llm.load_full().prepare().await;
        Driver::new(cx, claimed).drive().await
    };
    tokio::select! {
        // The answer of a cancelled run is of no use to anybody, so nothing waits for it.
        biased;
        () = cancel.cancelled() => gone(cx),
        ended = driven => ended.unwrap_or_else(|err| failed(cx, claimed, &err)),
    }
}

fn gone(cx: &Cx) -> Outcome {
    if cx.stop.is_cancelled() { Outcome::Released } else { Outcome::Lost }
}

/// What an error of the daemon itself means for the job.
fn failed(cx: &Cx, claimed: &Claimed, err: &Error) -> Outcome {
    if err.kind() == ErrorKind::Conflict {
        return gone(cx);
    }
    tracing::error!(job_id = claimed.job.id.0, error = err.chain(), "a run failed");
    if let (ErrorKind::Validation, Some(hint)) = (err.kind(), err.hint_text()) {
        let reason = format!("{}; {hint}", err.message());
        return Outcome::NeedsReview { needs: NeedsWhat::Review, reason };
    }
    Outcome::Retry { error: err.message().to_owned(), after: err.retry_delay(), permanent: false }
}

struct Driver<'a> {
    cx: &'a Cx,
    claimed: &'a Claimed,
    config: Arc<Config>,
    llm: Arc<dyn Llm>,
    models: Vec<ModelInfo>,
    started: Instant,
}

impl<'a> Driver<'a> {
    fn new(cx: &'a Cx, claimed: &'a Claimed) -> Self {
        // One configuration and one set of models for the whole run, whatever is reloaded meanwhile.
        let llm = Arc::clone(&**cx.llm.load());
        let models = llm.models();
        Self { cx, claimed, config: cx.config.load_full(), llm, models, started: Instant::now() }
    }

    fn now(&self) -> Now {
        Now { elapsed: self.started.elapsed(), stopping: self.cx.stop.is_cancelled() }
    }

    fn left(&self) -> Duration {
        self.config.limits.max_run_seconds.0.saturating_sub(self.started.elapsed())
    }

    async fn drive(&self) -> Result<Outcome> {
        let (mut turn, before) = self.load().await?;
        let mut event = Event::Begin(Box::new(before));
        loop {
            event = match turn.on(self.now(), event)? {
                Effect::Commit(commit) => {
                    let point = crash_point(&commit);
                    let committed = self.commit(*commit, &turn).await?;
                    if let Some(point) = point {
                        crashpoint::hit(point);
                    }
                    Event::Committed(committed)
                }
                Effect::Ask(request) => self.ask(&request).await,
                Effect::Run(runs) => Event::Ran(self.run_tools(runs).await?),
                Effect::Finish(outcome) => return Ok(outcome),
            };
        }
    }

    /// Reads the conversation so far and what the first step needs.
    async fn load(&self) -> Result<(Turn, Before)> {
        let (cx, config) = (self.cx, Arc::clone(&self.config));
        let toolbox = Toolbox::current(cx);
        let dir = cx.process.sources.paths.config.parent().map(std::path::Path::to_owned);
        let dir = dir.filter(|dir| !dir.as_os_str().is_empty());
        let text = {
            let config = Arc::clone(&config);
            tokio::task::spawn_blocking(move || prompt::agent_text(&config, dir.as_deref()))
                .await
                .map_err(Error::internal)??
        };
        let (system, tools) = (prompt::system(&config, &text, &toolbox), toolbox.stored().to_owned());
        let (job, epoch, now) = (self.claimed.job.clone(), self.claimed.epoch, cx.clock.now());
        let zone = jiff::tz::TimeZone::get(&config.app.timezone).unwrap_or(jiff::tz::TimeZone::UTC);
        let body_chars = config.prompt.max_initial_context_body_chars as usize;
        let (mut history, before, requester) = cx
            .store
            .read(move |conn| {
                let mut history = History::new(store::last_step(conn, job.id)? + 1);
                history.load(&jobs::steps::load(conn, job.id, epoch)?)?;
                let done = ledger::for_job(conn, job.id, prompt::EFFECTS)?;
                let mut before = Before::default();
                if history.begun() {
                    before.resumed = Some(prompt::resumed(now, &zone, &done, &history.fence));
                    if history.system != system {
                        before.prompts.push(prompt::replaced(system));
                    }
                    before.open = known_of(conn, &history, job.id)?;
                } else {
                    let again = epoch > 0;
                    let context = prompt::Context {
                        job: &job,
                        items: &store::items(conn, &job.thread_id, 0, prompt::ITEMS)?,
                        effects: &done,
                        told: &if again { store::told_before(conn, job.id, 20)? } else { Vec::new() },
                        again,
                        earlier_origin: store::least_origin(conn, job.id)?.unwrap_or(Origin::Owner),
                        now,
                        zone: &zone,
                        max_body_chars: body_chars,
                    };
                    before.prompts.push(prompt::first(&context, system, &Fence::new(nonce())));
                }
                if history.tools != tools {
                    before.prompts.push(prompt::tools(tools));
                }
                let requester = jobs::requester(conn, job.id)?.map(|requester| requester.address);
                Ok((history, before, requester))
            })
            .await?;
        let unseen: Vec<_> = history
            .unseen_results()
            .filter_map(|result| Some((result.call_id.clone(), result.cached.clone()?)))
            .collect();
        let most = config.limits.max_result_chars as usize;
        for (call_id, cached) in unseen {
            if let Some(whole) = cache::read(cx, &cached).await {
                history.whole.insert(call_id, cache::shown(&whole, Some(&cached), most));
            }
        }
        Ok((Turn::new(self.settings(requester), toolbox, history), before))
    }

    fn settings(&self, requester: Option<String>) -> Settings {
        let (limits, overrides) = (&self.config.limits, &self.claimed.overrides);
        let chosen = |own: Option<i64>, configured: u32| {
            own.and_then(|own| u64::try_from(own).ok()).filter(|own| *own > 0).unwrap_or(configured.into())
        };
        Settings {
            max_iterations: chosen(overrides.max_iterations, limits.max_iterations_per_task),
            max_tokens: chosen(overrides.max_tokens, limits.max_tokens_per_task),
            max_time: limits.max_run_seconds.0,
            requester,
            config: Arc::clone(&self.config),
        }
    }

    /// One transaction: steps, sums, money, log, and what came in meanwhile.
    async fn commit(&self, commit: Commit, turn: &Turn) -> Result<Committed> {
        let (lease, now, thread_id) = (self.claimed.lease, self.cx.clock.now(), self.claimed.job.thread_id.clone());
        let most = self.config.prompt.max_initial_context_body_chars as usize;
        let (fence, seen_item, next_seq) =
            (turn.history().fence.clone(), turn.history().seen_item, turn.history().next_seq);
        let (config, models) = (Arc::clone(&self.config), self.models.clone());
        let mut committed = self
            .cx
            .store
            .write(move |tx| {
                let conn: &Connection = tx;
                if !commit.steps.is_empty() {
                    let last = jobs::steps::append(conn, now, &lease, &commit.steps)?;
                    if last + 1 != next_seq {
                        return Err(Error::internal(format!("step {last} was stored where {} was due", next_seq - 1)));
                    }
                }
                if commit.usage != jobs::UsageDelta::default() {
                    jobs::usage::add(conn, now, &lease, commit.usage)?;
                }
                if let Some(settle) = &commit.settle {
                    jobs::spend::settle(conn, settle.id, &settle.model, settle.nanos, settle.tokens)?;
                }
                for row in &commit.logs {
                    jobs::log::append(conn, now, lease.job_id, &log_row(row))?;
                }
                for id in &commit.void {
                    jobs::approvals::void_one(conn, now, &lease, *id)?;
                }
                if let Some(approval) = &commit.approval {
                    jobs::approvals::request(conn, now, &lease, approval)?;
                }
                let mut committed = Committed::default();
                if let Some(inject) = commit.inject {
                    if inject == Inject::End {
                        committed.done = Some(claims::done(conn, lease.job_id)?);
                    }
                    committed.notes = take_notes(conn, now, &lease, &thread_id, seen_item, inject, &fence, most)?;
                }
                if let Some(request) = &commit.ask {
                    let reserved = reserve(conn, now, lease.job_id, request, &committed.notes, &models, &config)?;
                    if reserved.is_ok() {
                        let row = request_row(request, committed.notes.len());
                        jobs::log::append(conn, now, lease.job_id, &log_row(&row))?;
                    }
                    committed.reserved = Some(reserved);
                }
                Ok(committed)
            })
            .await?;
        self.cx.wake.announce();
        if let Some(done) = &mut committed.done {
            done.look(self.cx).await?;
        }
        Ok(committed)
    }

    async fn ask(&self, request: &Request) -> Event {
        crashpoint::hit(Point::BeforeModel);
        let asked = Instant::now();
        let answer = tokio::time::timeout(self.left(), self.llm.ask(request, None)).await;
        let (took, lost) = (asked.elapsed(), request.attempts.lost());
        crashpoint::hit(Point::AfterModel);
        match answer {
            Ok(Ok(answer)) => Event::Answered { answer: Box::new(answer), took, lost },
            Ok(Err(error)) => {
                log_failure(self.claimed, &error);
                Event::AskFailed { error, took, lost }
            }
            Err(_) => Event::Deadline { lost },
        }
    }

    /// Runs calls, at most `limits.parallel_reads` at once; results in the order of the calls.
    async fn run_tools(&self, runs: Vec<ToRun>) -> Result<Vec<Ran>> {
        let most = (self.config.limits.parallel_reads as usize).max(1);
        let default = self.config.limits.tool_timeout_default_seconds.0;
        let left = self.left().max(Duration::from_secs(1));
        let lease = self.claimed.lease;
        let mut allowed = Vec::new();
        for run in runs {
            allowed.push((self.use_approval(&run).await?, run));
        }
        let ran = futures_util::stream::iter(allowed)
            .map(|(valid, run)| async move {
                if valid {
                    let limit = (run.tool.time_limit)(&run.arguments, &self.config).unwrap_or(default).min(left);
                    execute::run(self.cx, &self.config, lease, run, limit).await
                } else {
                    execute::not_approved(&run)
                }
            })
            .buffered(most)
            .collect()
            .await;
        // What a tool wrote may have made events.
        self.cx.wake.announce();
        Ok(ran)
    }

    async fn use_approval(&self, run: &ToRun) -> Result<bool> {
        let Some(id) = run.approval else { return Ok(true) };
        let (lease, now, hash) = (self.claimed.lease, self.cx.clock.now(), run.args_hash.clone());
        self.cx.store.write(move |tx| jobs::approvals::use_once(tx, now, &lease, id, &hash)).await
    }
}

/// What the ledger and the approvals know of the calls that have no result.
fn known_of(conn: &Connection, history: &History, job_id: assistant_api::JobId) -> Result<BTreeMap<String, Known>> {
    let Some((step, open)) = history.open_calls() else { return Ok(BTreeMap::new()) };
    open.iter()
        .map(|(index, _)| {
            let key = format!("{step}:{index}");
            let effect = ledger::by_call(conn, job_id, &key)?.map(|effect| effect.state);
            let approval = jobs::approvals::for_call(conn, job_id, &key)?;
            Ok((key, Known { effect, approval }))
        })
        .collect()
}

#[expect(clippy::too_many_arguments, reason = "the parts of one transaction")]
/// Takes up what people and the thread have to say: stored as notes and marked as used, in this transaction.
fn take_notes(
    conn: &Connection,
    now: jiff::Timestamp,
    lease: &jobs::Lease,
    thread_id: &str,
    seen_item: i64,
    inject: Inject,
    fence: &Fence,
    most: usize,
) -> Result<Vec<NewStep>> {
    let at_end = inject == Inject::End;
    let pending = jobs::instructions::pending(conn, lease.job_id)?;
    let mut notes = prompt::instruction_notes(&pending, at_end, fence);
    jobs::clear_new_context(conn, lease)?;
    let items = store::items(conn, thread_id, seen_item, prompt::NEWS)?;
    notes.extend(prompt::news_note(&items, at_end, fence, most));
    if !notes.is_empty() {
        jobs::steps::append(conn, now, lease, &notes)?;
        let used: Vec<_> = pending.iter().map(|instruction| instruction.id).collect();
        jobs::instructions::consume(conn, now, lease, &used)?;
    }
    Ok(notes)
}

/// Sets money aside for a request and what was added to it.
fn reserve(
    conn: &Connection,
    now: jiff::Timestamp,
    job_id: assistant_api::JobId,
    request: &Request,
    notes: &[NewStep],
    models: &[ModelInfo],
    config: &Config,
) -> Result<Result<Reservation, OverCap>> {
    let mut nanos = price::estimate(request, models, config);
    if !notes.is_empty() {
        let mut longer = request.clone();
        longer.messages.extend(notes.iter().map(|note| Message::User { text: note.body.to_string() }));
        nanos = price::estimate(&longer, models, config);
    }
    let reserved = jobs::spend::reserve(conn, now, job_id, nanos, Caps::of(config))?;
    Ok(reserved.map(|id| Reservation { id, nanos }))
}

fn log_row(row: &Row) -> NewLog<'_> {
    NewLog {
        event_type: row.event_type,
        tool_name: row.tool_name.as_deref(),
        tool_action: row.tool_action.as_deref(),
        input_data: row.input.clone(),
        output_data: row.output.clone(),
        tokens_used: row.tokens.clone(),
        duration_ms: row.took.map(|took| i64::try_from(took.as_millis()).unwrap_or(i64::MAX)),
    }
}

fn request_row(request: &Request, notes: usize) -> Row {
    let tools: Vec<_> = request.tools.iter().map(|tool| tool.name.as_str()).collect();
    Row {
        event_type: "llm_request",
        tool_action: Some(if tools.is_empty() { "summary" } else { "answer" }.to_owned()),
        input: Some(serde_json::json!({ "messages": request.messages.len() + notes, "tools": tools })),
        ..Row::default()
    }
}

fn crash_point(commit: &Commit) -> Option<Point> {
    use jobs::StepKind::{Answer, Prompt, Result};
    commit.steps.last().and_then(|step| match step.kind {
        Prompt => Some(Point::PromptStored),
        Answer => Some(Point::AnswerStored),
        Result => Some(Point::ResultsStored),
        _ => None,
    })
}

fn log_failure(claimed: &Claimed, error: &LlmError) {
    tracing::warn!(job_id = claimed.job.id.0, error = %error, "the model did not answer");
}

/// Sixteen hexadecimal digits that nobody can guess: the keys of the standard hash maps come from the system.
fn nonce() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    format!("{:016x}", RandomState::new().hash_one(0))
}
