//! Anthropic messages: the answer, streamed or whole.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::super::{
    Answer, Delta, OnDelta, Source, Stop, ToolCall, Usage,
    failure::Said,
    sse::Event,
    wire::{Decoder, Fault},
};

/// Puts an answer together.
#[derive(Debug, Default)]
pub(in crate::llm) struct Stream {
    answer: Answer,
    /// Calls by the index of their block.
    calls: BTreeMap<u64, ToolCall>,
    /// Blocks whose input is nobody's business here: searches of the provider's own, and kinds to come.
    theirs: BTreeSet<u64>,
    /// Characters of the text so far, and before each of its blocks.
    chars: u64,
    texts: BTreeMap<u64, u64>,
    /// Citations by the index of the block that they belong to.
    cited: Vec<(u64, Source)>,
    /// The pages that were found.
    pages: Vec<Source>,
    searches: u64,
    usage: Option<UsageBody>,
    stop: Option<String>,
    done: bool,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part {
    MessageStart {
        message: Message,
    },
    ContentBlockStart {
        index: u64,
        content_block: Block,
    },
    ContentBlockDelta {
        index: u64,
        delta: BlockDelta,
    },
    MessageDelta {
        delta: MessageDelta,
        usage: Option<UsageBody>,
    },
    MessageStop,
    Error {
        error: Value,
    },
    /// `ping`, `content_block_stop`, and what is to come.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Message {
    model: Option<String>,
    #[serde(default)]
    content: Vec<Block>,
    stop_reason: Option<String>,
    usage: Option<UsageBody>,
    /// Of a body that is no message.
    error: Option<Value>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text {
        #[serde(default)]
        text: String,
        #[serde(default)]
        citations: Option<Vec<Citation>>,
    },
    ServerToolUse {
        #[serde(default)]
        name: String,
    },
    WebSearchToolResult {
        #[serde(default)]
        content: Value,
    },
    ToolUse {
        id: String,
        name: String,
        #[serde(default)]
        input: Value,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum BlockDelta {
    TextDelta {
        text: String,
    },
    InputJsonDelta {
        partial_json: String,
    },
    CitationsDelta {
        citation: Citation,
    },
    #[serde(other)]
    Other,
}

/// A page of the web; other things can be cited as well, and have no address.
#[derive(Deserialize)]
struct Citation {
    url: Option<String>,
    title: Option<String>,
    cited_text: Option<String>,
}

#[derive(Deserialize)]
struct MessageDelta {
    stop_reason: Option<String>,
}

/// Counts so far: a later one replaces an earlier one.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct UsageBody {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    server_tool_use: Option<ServerToolUse>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct ServerToolUse {
    web_search_requests: Option<u64>,
}

impl Stream {
    fn part(&mut self, part: Part, on_delta: Option<&OnDelta>) -> Result<(), Fault> {
        match part {
            Part::MessageStart { message } => self.message(message, on_delta),
            Part::ContentBlockStart { index, content_block } => self.block(index, content_block, on_delta),
            Part::ContentBlockDelta { index, .. } if self.theirs.contains(&index) => {}
            Part::ContentBlockDelta { index, delta: BlockDelta::CitationsDelta { citation } } => {
                self.cite(index, citation);
            }
            Part::ContentBlockDelta { delta: BlockDelta::TextDelta { text }, .. } => self.text(text, on_delta),
            Part::ContentBlockDelta { index, delta: BlockDelta::InputJsonDelta { partial_json } } => {
                let call = self.calls.get_mut(&index);
                let call = call.ok_or_else(|| Fault::Protocol("arguments of a call that has not begun".into()))?;
                call.arguments.push_str(&partial_json);
            }
            Part::MessageDelta { delta, usage } => {
                self.stop = delta.stop_reason.or(self.stop.take());
                self.count(usage);
            }
            Part::MessageStop => self.done = true,
            Part::Error { error } => return Err(Fault::Said(Said::within(&error))),
            Part::ContentBlockDelta { delta: BlockDelta::Other, .. } | Part::Other => {}
        }
        Ok(())
    }

    fn message(&mut self, message: Message, on_delta: Option<&OnDelta>) {
        self.answer.model = message.model.unwrap_or_default();
        self.count(message.usage);
        self.stop = message.stop_reason.or(self.stop.take());
        for (index, block) in (0..).zip(message.content) {
            self.block(index, block, on_delta);
        }
    }

    fn block(&mut self, index: u64, block: Block, on_delta: Option<&OnDelta>) {
        match block {
            Block::Text { text, citations } => {
                self.texts.insert(index, self.chars);
                self.text(text, on_delta);
                for citation in citations.into_iter().flatten() {
                    self.cite(index, citation);
                }
            }
            Block::ToolUse { id, name, input } => {
                if let Some(on_delta) = on_delta {
                    on_delta(Delta::Call(name.clone()));
                }
                // A stream begins with an empty object and sends the arguments after it.
                let empty = input.as_object().is_none_or(serde_json::Map::is_empty);
                let arguments = if empty { String::new() } else { input.to_string() };
                self.calls.insert(index, ToolCall { id, name, arguments });
            }
            Block::ServerToolUse { name } => {
                self.searches += u64::from(name == "web_search");
                self.theirs.insert(index);
            }
            Block::WebSearchToolResult { content } => {
                self.theirs.insert(index);
                if let Some(code) = content.get("error_code").and_then(Value::as_str) {
                    self.answer.found.fail(code);
                }
                let pages = content.as_array().into_iter().flatten();
                self.pages.extend(pages.filter_map(|page| {
                    let text = |key| page.get(key).and_then(Value::as_str).map(str::to_owned);
                    Some(Source { url: text("url")?, title: text("title").unwrap_or_default(), ..Source::default() })
                }));
            }
            Block::Other => {
                self.theirs.insert(index);
            }
        }
    }

    fn cite(&mut self, index: u64, citation: Citation) {
        let Some(url) = citation.url else { return };
        let (title, content) = (citation.title.unwrap_or_default(), citation.cited_text.unwrap_or_default());
        self.cited.push((index, Source { url, title, content, ..Source::default() }));
    }

    /// The pages that the answer names, with the part of it that rests on each, else those that were found.
    fn sources(&mut self) -> Vec<Source> {
        if self.cited.is_empty() {
            return std::mem::take(&mut self.pages);
        }
        let place = |index: u64| {
            let start = self.texts.get(&index).copied();
            let end = self.texts.range(index + 1..).next().map_or(self.chars, |(_, chars)| *chars);
            (start, start.map(|_| end))
        };
        let cited = self.cited.iter().map(|(index, source)| {
            let (start_index, end_index) = place(*index);
            Source { start_index, end_index, ..source.clone() }
        });
        cited.collect()
    }

    fn text(&mut self, text: String, on_delta: Option<&OnDelta>) {
        if text.is_empty() {
            return;
        }
        self.answer.text.push_str(&text);
        self.chars += text.chars().count() as u64;
        if let Some(on_delta) = on_delta {
            on_delta(Delta::Text(text));
        }
    }

    fn count(&mut self, usage: Option<UsageBody>) {
        let Some(new) = usage else { return };
        let old = self.usage.unwrap_or_default();
        self.usage = Some(UsageBody {
            input_tokens: new.input_tokens.or(old.input_tokens),
            output_tokens: new.output_tokens.or(old.output_tokens),
            cache_creation_input_tokens: new.cache_creation_input_tokens.or(old.cache_creation_input_tokens),
            cache_read_input_tokens: new.cache_read_input_tokens.or(old.cache_read_input_tokens),
            server_tool_use: new.server_tool_use.or(old.server_tool_use),
        });
    }
}

impl Decoder for Stream {
    fn event(&mut self, event: &Event, on_delta: Option<&OnDelta>) -> Result<(), Fault> {
        let part = serde_json::from_str(&event.data).map_err(|err| Fault::malformed(&err))?;
        self.part(part, on_delta)
    }

    fn whole(&mut self, body: &[u8], on_delta: Option<&OnDelta>) -> Result<(), Fault> {
        let message: Message = serde_json::from_slice(body).map_err(|err| Fault::malformed(&err))?;
        if let Some(error) = &message.error {
            return Err(Fault::Said(Said::within(error)));
        }
        self.done = message.stop_reason.is_some();
        self.message(message, on_delta);
        if self.done { Ok(()) } else { Err(Fault::Protocol("an answer without a stop reason".into())) }
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn finish(mut self: Box<Self>) -> Result<Answer, Fault> {
        if !self.done && self.stop.is_none() {
            return Err(Fault::Ended);
        }
        let sources = self.sources();
        let mut answer = self.answer;
        answer.found.sources = sources;
        let counted = self.usage.and_then(|usage| usage.server_tool_use?.web_search_requests);
        answer.found.searches = Some(counted.unwrap_or(self.searches));
        answer.calls = self.calls.into_values().collect();
        for call in &mut answer.calls {
            if call.arguments.trim().is_empty() {
                "{}".clone_into(&mut call.arguments);
            }
        }
        answer.usage = self.usage.map(Usage::from);
        answer.stop = match self.stop.as_deref() {
            // A turn of searches that was paused would have to be asked to go on; what it has said so far is taken.
            Some("max_tokens" | "model_context_window_exceeded" | "pause_turn") => Stop::Length,
            Some("refusal") => Stop::Refused,
            _ if !answer.calls.is_empty() => Stop::Calls,
            _ => Stop::End,
        };
        Ok(answer)
    }
}

impl From<UsageBody> for Usage {
    fn from(body: UsageBody) -> Self {
        let (cached, written) =
            (body.cache_read_input_tokens.unwrap_or(0), body.cache_creation_input_tokens.unwrap_or(0));
        let input = body.input_tokens.unwrap_or(0).saturating_add(cached).saturating_add(written);
        let output = body.output_tokens.unwrap_or(0);
        Self {
            input_tokens: input,
            output_tokens: output,
            total_tokens: input.saturating_add(output),
            cost_usd: None,
            cached_tokens: cached,
            cache_write_tokens: written,
        }
    }
}
