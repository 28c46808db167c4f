//! OpenAI-compatible chat completions: the answer, streamed or whole.

use serde::Deserialize;
use serde_json::Value;

use super::super::{
    Answer, Delta, OnDelta, Source, Stop, ToolCall, Usage,
    failure::Said,
    sse::Event,
    wire::{Decoder, Fault},
};

/// Puts an answer together. Everything that a server may leave out is optional.
#[derive(Debug, Default)]
pub(in crate::llm) struct Stream {
    /// What ids are made of where the server gives none.
    turn: usize,
    answer: Answer,
    calls: Vec<Slot>,
    /// [`Chunk::citations`] of the last chunk that had some.
    citations: Vec<Value>,
    finish: Option<String>,
    refused: bool,
    done: bool,
}

/// A call that is being put together.
#[derive(Debug, Default)]
struct Slot {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

#[derive(Deserialize)]
struct Chunk {
    model: Option<String>,
    choices: Option<Vec<Choice>>,
    usage: Option<UsageBody>,
    error: Option<Value>,
    /// Addresses only, as Perplexity's own protocol has them.
    citations: Option<Vec<Value>>,
}

#[derive(Deserialize)]
struct Choice {
    index: Option<u64>,
    /// Of a stream.
    delta: Option<Part>,
    /// Of a whole answer.
    message: Option<Part>,
    finish_reason: Option<String>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Part {
    content: Option<Value>,
    refusal: Option<String>,
    tool_calls: Option<Vec<CallPart>>,
    annotations: Option<Vec<Value>>,
}

#[derive(Deserialize)]
struct CallPart {
    index: Option<u64>,
    id: Option<String>,
    function: Option<Function>,
}

#[derive(Deserialize)]
struct Function {
    name: Option<String>,
    /// JSON as text; some servers send the object itself.
    arguments: Option<Value>,
}

#[derive(Deserialize)]
struct UsageBody {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    total_tokens: Option<u64>,
    cost: Option<f64>,
    prompt_tokens_details: Option<PromptDetails>,
    server_tool_use: Option<ServerToolUse>,
}

#[derive(Deserialize)]
struct ServerToolUse {
    web_search_requests: Option<u64>,
}

#[derive(Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u64>,
}

impl Stream {
    /// For the answer with this number in its conversation.
    pub(in crate::llm) fn new(turn: usize) -> Self {
        Self { turn, ..Self::default() }
    }

    fn chunk(&mut self, json: &[u8], on_delta: Option<&OnDelta>) -> Result<(), Fault> {
        let chunk: Chunk = serde_json::from_slice(json).map_err(|err| Fault::malformed(&err))?;
        if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
            return Err(Fault::Said(Said::within(&error)));
        }
        if let Some(model) = chunk.model.filter(|model| !model.is_empty()) {
            self.answer.model = model;
        }
        if let Some(citations) = chunk.citations.filter(|citations| !citations.is_empty()) {
            self.citations = citations;
        }
        if let Some(usage) = chunk.usage {
            let searches = usage.server_tool_use.as_ref().and_then(|usage| usage.web_search_requests);
            self.answer.found.searches = searches.or(self.answer.found.searches);
            self.answer.usage = Some(usage.into());
        }
        for choice in chunk.choices.into_iter().flatten().filter(|choice| choice.index.unwrap_or(0) == 0) {
            if let Some(error) = choice.error.filter(|error| !error.is_null()) {
                return Err(Fault::Said(Said::within(&error)));
            }
            for part in [choice.delta, choice.message].into_iter().flatten() {
                self.part(part, on_delta);
            }
            self.finish = choice.finish_reason.or(self.finish.take());
        }
        Ok(())
    }

    fn part(&mut self, part: Part, on_delta: Option<&OnDelta>) {
        let refusal = part.refusal.filter(|text| !text.is_empty());
        self.refused |= refusal.is_some();
        for text in [part.content.map(|content| text_of(&content)), refusal].into_iter().flatten() {
            if !text.is_empty() {
                self.answer.text.push_str(&text);
                if let Some(on_delta) = on_delta {
                    on_delta(Delta::Text(text));
                }
            }
        }
        for annotation in part.annotations.iter().flatten() {
            self.answer.found.annotate(annotation);
        }
        for call in part.tool_calls.into_iter().flatten() {
            self.call(call, on_delta);
        }
    }

    fn call(&mut self, part: CallPart, on_delta: Option<&OnDelta>) {
        let id = part.id.unwrap_or_default();
        let (name, arguments) = part.function.map_or((None, None), |function| (function.name, function.arguments));
        let name = name.unwrap_or_default();
        let at = self.slot(part.index, &id, !name.is_empty()).unwrap_or_else(|| {
            self.calls.push(Slot { index: part.index, ..Slot::default() });
            self.calls.len() - 1
        });
        let slot = &mut self.calls[at];
        if slot.id.is_empty() {
            slot.id = id;
        }
        // Some servers repeat the name in every piece.
        if slot.name.is_empty() && !name.is_empty() {
            slot.name.clone_from(&name);
            if let Some(on_delta) = on_delta {
                on_delta(Delta::Call(name));
            }
        }
        match arguments {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => slot.arguments.push_str(&text),
            Some(object) => slot.arguments = object.to_string(),
        }
    }

    /// The call that a piece belongs to, if it has begun: by index, else by id, else the last one.
    ///
    /// A piece with a name and another id begins a new call even if its index is taken: some servers count every call 0.
    fn slot(&self, index: Option<u64>, id: &str, named: bool) -> Option<usize> {
        let other = |slot: &Slot| named && !id.is_empty() && !slot.id.is_empty() && slot.id != id;
        if index.is_some() {
            return self.calls.iter().rposition(|slot| slot.index == index).filter(|at| !other(&self.calls[*at]));
        }
        if !id.is_empty() {
            return self.calls.iter().rposition(|slot| slot.id == id).filter(|at| {
                // The same id and a name again is another call of a server that does not know ids.
                !(named && serde_json::from_str::<Value>(&self.calls[*at].arguments).is_ok())
            });
        }
        if named { None } else { self.calls.len().checked_sub(1) }
    }
}

impl Decoder for Stream {
    fn event(&mut self, event: &Event, on_delta: Option<&OnDelta>) -> Result<(), Fault> {
        let data = event.data.trim();
        if data == "[DONE]" {
            self.done = true;
        } else if !self.done && !data.is_empty() {
            self.chunk(data.as_bytes(), on_delta)?;
        }
        Ok(())
    }

    fn whole(&mut self, body: &[u8], on_delta: Option<&OnDelta>) -> Result<(), Fault> {
        self.chunk(body, on_delta)?;
        self.done = self.finish.is_some() || !self.calls.is_empty() || !self.answer.text.is_empty();
        if self.done { Ok(()) } else { Err(Fault::Protocol("an answer without a message".into())) }
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn finish(self: Box<Self>) -> Result<Answer, Fault> {
        if self.finish.is_none() && !self.done {
            return Err(Fault::Ended);
        }
        let mut answer = self.answer;
        if answer.found.sources.is_empty() {
            let sources = self.citations.iter().filter_map(|url| url.as_str());
            answer.found.sources = sources.map(|url| Source { url: url.to_owned(), ..Source::default() }).collect();
        }
        let mut ids = std::collections::HashSet::new();
        for (at, slot) in self.calls.into_iter().enumerate() {
            if slot.name.is_empty() {
                return Err(Fault::Protocol("a tool call without a name".into()));
            }
            let usable = !slot.id.is_empty() && ids.insert(slot.id.clone());
            let id = if usable { slot.id } else { format!("call_{}_{at}", self.turn) };
            let arguments = if slot.arguments.trim().is_empty() { "{}".to_owned() } else { slot.arguments };
            answer.calls.push(ToolCall { id, name: slot.name, arguments });
        }
        answer.stop = match self.finish.as_deref() {
            Some("error") => return Err(Fault::Ended),
            Some("length") => Stop::Length,
            Some("content_filter") => Stop::Refused,
            _ if self.refused => Stop::Refused,
            _ if !answer.calls.is_empty() => Stop::Calls,
            _ => Stop::End,
        };
        Ok(answer)
    }
}

impl From<UsageBody> for Usage {
    fn from(body: UsageBody) -> Self {
        let (input, output) = (body.prompt_tokens.unwrap_or(0), body.completion_tokens.unwrap_or(0));
        Self {
            input_tokens: input,
            output_tokens: output,
            total_tokens: body.total_tokens.unwrap_or(0).max(input.saturating_add(output)),
            cost_usd: body.cost,
            cached_tokens: body.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0).min(input),
            cache_write_tokens: 0,
        }
    }
}

/// Content is a text, or a list of parts of which some are text.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
        _ => String::new(),
    }
}
