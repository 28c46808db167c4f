//! What an answer brings: its calls, its cost, and the results of the calls.

use std::{collections::VecDeque, time::Duration};

use serde_json::json;

use super::{
    SILENT, Turn,
    effects::{Effect, Now, Ran, Row, Settle},
    plan::{self, Batch},
};
use crate::{
    agent::{
        cache, control, parse, segment,
        steps::{self, AnswerBody, ResultBody, Why},
    },
    error::Result,
    jobs::{NeedsWhat, Outcome, steps::StepKind},
    llm::{Answer, Request, Stop, ToolCall, price},
    policy::Origin,
};

impl Turn {
    pub(super) fn answered(&mut self, now: Now, answer: Answer) -> Result<Effect> {
        self.summarized = false;
        self.used.iterations += 1;
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
    pub(super) fn calls_of(&self, answer: &Answer) -> (String, Vec<ToolCall>) {
        if answer.calls.is_empty() {
            let known = |name: &str| self.toolbox.get(name).is_some() || control::NAMES.contains(&name);
            if let Some(found) = parse::written_calls(&answer.text, &known) {
                return found;
            }
        }
        (answer.text.clone(), answer.calls.clone())
    }

    /// Gives calls ids that are unique within the conversation and names that every protocol takes.
    pub(super) fn name_calls(&self, step: i64, calls: &mut [ToolCall]) {
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
    pub(super) fn silent(&mut self, now: Now, answer: &AnswerBody) -> Result<Effect> {
        if answer.stop == Stop::Refused {
            let reason = format!("the model refused: {}", segment::cut(&answer.text, 500));
            return Ok(self.finish(Outcome::NeedsReview { needs: NeedsWhat::Review, reason }));
        }
        if self.history.silent_answers() >= SILENT {
            let said = segment::cut(&answer.text, 2000);
            let reason = format!("the model answered {SILENT} times without calling a tool; it said last: {said}");
            return Ok(self.finish(Outcome::NeedsReview { needs: NeedsWhat::Review, reason }));
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

    /// Counts what an answer used, and the attempts before it that were `lost`, and settles what was reserved.
    pub(super) fn account(
        &mut self,
        request: &Request,
        answer: &Answer,
        took: Duration,
        lost: u32,
        action: &str,
        iterations: i64,
    ) {
        let reserved = self.reserved.take();
        let reserved_nanos = reserved.map_or(0, |reserved| reserved.nanos);
        let nanos = price::settle(answer, reserved_nanos).saturating_add(price::lost(lost, reserved_nanos));
        let counted = answer.usage.map(|usage| usage.total_tokens.max(usage.input_tokens + usage.output_tokens));
        let tokens = counted.filter(|tokens| *tokens > 0).unwrap_or_else(|| price::uncounted_tokens(request, answer));
        self.used.tokens += tokens;
        let tokens = i64::try_from(tokens).unwrap_or(i64::MAX);
        self.out.usage.calls += 1;
        self.out.usage.tokens += tokens;
        self.out.usage.cost_nanos += nanos;
        self.out.usage.iterations += iterations;
        self.out.settle =
            reserved.map(|reserved| Settle { id: reserved.id, model: answer.model.clone(), nanos, tokens });
        let calls: Vec<_> = answer.calls.iter().map(|call| call.name.as_str()).collect();
        let mut output = json!({ "text": segment::cut(&answer.text, 2000), "tool_calls": calls, "stop": answer.stop });
        if answer.rehearsed {
            output["rehearsed"] = true.into();
        }
        if lost > 0 {
            output["lost_attempts"] = lost.into();
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

    pub(super) fn ran(&mut self, ran: Ran) -> Result<()> {
        let Some((_, open)) = self.history.open_calls() else { return Ok(()) };
        let Some((_, call)) = open.into_iter().find(|(index, _)| *index == ran.index) else { return Ok(()) };
        self.unsaved += ran.took;
        self.used.tokens += ran.tokens;
        let (ok, whole) = match ran.result {
            Ok(text) => (true, text),
            Err(error) => (false, error.to_string()),
        };
        let most = self.settings.config.limits.max_result_chars as usize;
        let shown = cache::shown(&whole, ran.cached.as_ref(), most);
        let body = ResultBody {
            index: ran.index,
            call_id: call.id.clone(),
            name: call.name.clone(),
            ok,
            text: cache::stored(&whole, ran.cached.as_ref(), most),
            cached: ran.cached,
            hash: parse::hex(&whole)[..16].to_owned(),
            loaded: Vec::new(),
        };
        self.log_result(&body, Some(ran.took));
        self.append(steps::new(StepKind::Result, &body, ran.origin))?;
        self.history.whole.insert(call.id, shown);
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one result")]
    pub(super) fn result(
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

    pub(super) fn log_result(&mut self, body: &ResultBody, took: Option<Duration>) {
        let mut value: serde_json::Value =
            serde_json::from_str(&body.text).unwrap_or_else(|_| body.text.clone().into());
        if body.name == control::GET_TOOL_SPECS && body.ok {
            value = json!({ "loaded": body.loaded, "invalid": value["invalid"] });
        }
        self.out.logs.push(Row {
            event_type: if body.ok { "tool_result" } else { "error" },
            tool_name: Some(body.name.clone()),
            output: Some(plan::for_log(&value)),
            took,
            ..Row::default()
        });
    }
}
