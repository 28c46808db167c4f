//! Plays recorded answers in a model's place and checks every request against the protocol.
//!
//! It runs only when `llm.provider = "rehearsal"` is set and marks every answer. Nothing is kept between requests but
//! counts of scripted failures: which answer is next follows from the conversation alone, so that many jobs can run at
//! the same time and a job that goes on after a crash gets the right one. The format is in `scenes.rs`.

mod check;
mod scenes;
mod template;
mod totals;

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use assistant_api::status::ModelTest;
use sha2::{Digest as _, Sha256};

use super::{
    Answer, BoxFuture, Delta, Found, Llm, LlmError, Message, ModelInfo, OnDelta, Request, Role, Stop, ToolCall, price,
    probe,
};
use scenes::{Scene, Step};

/// The name under which it answers.
pub const MODEL: &str = "rehearsal";

/// The scenes that are played when `llm.rehearsal_file` is unset.
const DEMO: &str = include_str!("../scenes/demo.json");

/// What its call ids begin with; the number of the step follows.
const CALL_PREFIX: &str = "rehearsal-";

/// The provider.
pub struct Rehearsal {
    scenes: Vec<Scene>,
    /// Characters that a prompt may have, tools not counted.
    max_chars: u64,
    /// How often a scripted failure has been played, by conversation and step.
    failures: Mutex<HashMap<([u8; 32], usize), u32>>,
    record: Option<Mutex<Vec<Request>>>,
}

impl Rehearsal {
    /// Reads scenes: one JSON object or one object per line.
    ///
    /// # Errors
    /// Where the text is not a list of scenes.
    pub fn from_json(text: &str) -> Result<Self, String> {
        Ok(Self {
            scenes: scenes::parse(text)?,
            max_chars: u64::MAX,
            failures: Mutex::new(HashMap::new()),
            record: None,
        })
    }

    /// The scenes of the demo.
    ///
    /// # Errors
    /// None, or a test would fail.
    pub fn demo() -> Result<Self, String> {
        Self::from_json(DEMO)
    }

    /// Refuses prompts of more characters.
    #[must_use]
    pub fn with_max_chars(mut self, max_chars: u64) -> Self {
        self.max_chars = max_chars;
        self
    }

    /// Keeps every request, for [`Rehearsal::requests`].
    #[must_use]
    pub fn recording(mut self) -> Self {
        self.record = Some(Mutex::new(Vec::new()));
        self
    }

    /// The requests so far, in the order of their arrival; empty unless it was made [`Rehearsal::recording`].
    pub fn requests(&self) -> Vec<Request> {
        self.record
            .as_ref()
            .map_or_else(Vec::new, |record| record.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    async fn answer(&self, request: &Request, on_delta: Option<OnDelta>) -> Result<Answer, LlmError> {
        if let Some(record) = &self.record {
            record.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
        }
        check::request(request, self.max_chars)
            .map_err(|fault| rejected(format!("the request breaks the protocol: {fault}")))?;
        let scene = self.scenes.iter().find(|scene| scene.matches(request)).ok_or_else(|| {
            rejected("no scene of the rehearsal fits this task; configure a real model, or add a scene to llm.rehearsal_file".into())
        })?;
        let index = next_step(&request.messages);
        let (index, step) = scene
            .step(index)
            .ok_or_else(|| rejected(format!("the scene {:?} has no step {}", scene.name, index + 1)))?;
        let place = || format!("step {} of the scene {:?}", index + 1, scene.name);
        step.expect.check(request).map_err(|fault| rejected(format!("{}: {fault}", place())))?;
        if !step.delay.is_zero() {
            tokio::time::sleep(step.delay).await;
        }
        if let Some(failure) = &step.fail
            && self.count_failure(request, index, failure.times)
        {
            return Err(failure.error());
        }
        let answer = perform(step, index, request).map_err(|fault| rejected(format!("{}: {fault}", place())))?;
        if let Some(on_delta) = on_delta {
            answer.text.split_inclusive(' ').for_each(|word| on_delta(Delta::Text(word.to_owned())));
            answer.calls.iter().for_each(|call| on_delta(Delta::Call(call.name.clone())));
        }
        Ok(answer)
    }

    /// Whether the scripted failure of this step is still due.
    fn count_failure(&self, request: &Request, step: usize, times: u32) -> bool {
        let Some(first) = request.messages.first().and_then(|message| serde_json::to_vec(message).ok()) else {
            return false;
        };
        let conversation: [u8; 32] = Sha256::digest(first).into();
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry((conversation, step)).or_default();
        *count = count.saturating_add(1);
        *count <= times
    }
}

/// Fills the step's templates and gives its calls their ids.
fn perform(step: &Step, index: usize, request: &Request) -> Result<Answer, String> {
    let vars = template::Vars::new(request);
    let mut calls = Vec::new();
    for call in &step.calls {
        let items = match &call.for_each {
            Some(list) => vars.list(list)?.into_iter().map(Some).collect(),
            None => vec![None],
        };
        if !step.any_tool && !request.tools.iter().any(|tool| tool.name == call.name) {
            return Err(format!("the tool {:?} was not offered", call.name));
        }
        for item in items {
            // The count of messages keeps ids apart when a step is repeated.
            let id = format!("{CALL_PREFIX}{index}-{}-{}", request.messages.len(), calls.len());
            let arguments = vars.fill_arguments(&call.arguments, item.as_deref())?;
            calls.push(ToolCall { id, name: call.name.clone(), arguments });
        }
    }
    let by_calls = if calls.is_empty() { Stop::End } else { Stop::Calls };
    Ok(Answer {
        text: vars.fill(&step.text, None)?,
        calls,
        usage: step.usage,
        model: MODEL.to_owned(),
        stop: step.stop.unwrap_or(by_calls),
        rehearsed: true,
        cost_nanos: Some(price::known_cost(Some(price::Price::FREE), step.usage.as_ref()).unwrap_or(0)),
        found: Found::default(),
    })
}

/// The step after the last one that was played: its number is in the ids of its calls; answers without calls are
/// counted.
fn next_step(messages: &[Message]) -> usize {
    let mut answers_since = 0;
    for message in messages.iter().rev() {
        let Message::Assistant { calls, .. } = message else { continue };
        let step =
            calls.first().and_then(|call| call.id.strip_prefix(CALL_PREFIX)?.split('-').next()?.parse::<usize>().ok());
        match step {
            Some(step) => return step + 1 + answers_since,
            None => answers_since += 1,
        }
    }
    answers_since
}

fn rejected(reason: String) -> LlmError {
    LlmError::Rejected { model: MODEL.to_owned(), reason }
}

impl Llm for Rehearsal {
    fn ask<'a>(&'a self, request: &'a Request, on_delta: Option<OnDelta>) -> BoxFuture<'a, Result<Answer, LlmError>> {
        Box::pin(self.answer(request, on_delta))
    }

    fn models(&self) -> Vec<ModelInfo> {
        vec![ModelInfo {
            role: Role::Main.as_str().to_owned(),
            provider: MODEL.to_owned(),
            model: MODEL.to_owned(),
            base_url: String::new(),
            host: "this daemon".to_owned(),
            local: true,
            price: Some(price::Price::FREE),
            ..ModelInfo::default()
        }]
    }

    fn test(&self) -> BoxFuture<'_, Vec<ModelTest>> {
        let answer = Ok(Answer { cost_nanos: Some(0), ..Answer::default() });
        let problem = Some("a rehearsal: recorded answers, no model was asked".to_owned());
        let tests = self.models().into_iter().map(|info| {
            let test = probe::report(info, &answer, std::time::Duration::ZERO);
            ModelTest { tools: None, problem: problem.clone(), ..test }
        });
        Box::pin(std::future::ready(tests.collect()))
    }
}

#[cfg(test)]
mod tests;
