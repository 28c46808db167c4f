//! One model at one host, asked once.

use std::{sync::Arc, time::Duration};

use reqwest::Method;

use super::{
    Answer, LlmError, ModelInfo, OnDelta, Request, Role, anthropic,
    attempts::Attempt,
    breaker::Breaker,
    discover::Name,
    failure::Said,
    net::{self, Host, NetError, Reply},
    openai::{self, Dialect},
    price::{self, Price, Prices},
    search, sse,
    wire::{Decoder, Quirks, Sampling},
};
use crate::config::SecretName;

/// What a host speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    OpenAi(Dialect),
    Anthropic,
}

/// One model.
pub(super) struct Model {
    /// `main`, `fallback`, `small` or `search`.
    pub(super) role: &'static str,
    /// As in `llm.provider`.
    pub(super) provider: &'static str,
    pub(super) protocol: Protocol,
    pub(super) name: Name,
    pub(super) host: Arc<Host>,
    pub(super) breaker: Breaker,
    pub(super) quirks: Quirks,
    pub(super) defaults: Sampling,
    pub(super) request_timeout: Duration,
    pub(super) prices: Prices,
    /// `search.price_usd`
    pub(super) search_price: Option<f64>,
    /// Why it cannot be asked as it is configured.
    pub(super) problem: Option<String>,
    /// The secret without which it cannot be asked.
    pub(super) missing: Option<SecretName>,
}

/// Bytes of a refusal that are read for its reason.
const REFUSAL_BYTES: usize = 16 << 10;

impl Model {
    /// Asks once, within `llm.request_timeout`.
    pub(super) async fn ask(&self, request: &Request, on_delta: Option<&OnDelta>) -> Result<Answer, LlmError> {
        if let Some(problem) = &self.problem {
            return Err(LlmError::NotConfigured(problem.clone()));
        }
        let answer = async {
            let name = self.name.get(&self.host).await?;
            self.converse(&name, request, on_delta).await.inspect_err(|err| {
                if matches!(err, LlmError::Rejected { .. }) {
                    self.name.forget();
                }
            })
        };
        tokio::time::timeout(self.request_timeout, answer).await.unwrap_or_else(|_| {
            Err(LlmError::Unavailable {
                model: self.label(),
                reason: format!("no complete answer within {} s", net::seconds(self.request_timeout)),
                retry_after: None,
            })
        })
    }

    async fn converse(&self, name: &str, request: &Request, on_delta: Option<&OnDelta>) -> Result<Answer, LlmError> {
        let redact = |text: &str| self.host.redact(text);
        let mut again = 0..Quirks::COUNT;
        loop {
            let said = match self.send(name, request).await.map_err(|err| err.error(name))? {
                Ok((reply, attempt)) => return self.read(name, request, reply, attempt, on_delta).await,
                Err(said) => said,
            };
            if again.next().is_none() || !self.quirks.learn(&said) {
                return Err(said.error(name, redact));
            }
            tracing::debug!(model = name, status = said.status, "a parameter is not taken, asking without it");
        }
    }

    /// Sends it: an answer has begun, or it was refused, which costs nothing.
    async fn send<'a>(&self, name: &str, request: &'a Request) -> Result<Result<(Reply, Attempt<'a>), Said>, NetError> {
        let sampling = Sampling {
            max_tokens: request.max_tokens.unwrap_or(self.defaults.max_tokens),
            temperature: request.temperature.unwrap_or(self.defaults.temperature),
        };
        let (path, body) = match self.protocol {
            Protocol::OpenAi(dialect) => (openai::PATH, openai::body(request, name, sampling, dialect, &self.quirks)),
            Protocol::Anthropic => (anthropic::PATH, anthropic::body(request, name, sampling, &self.quirks)),
        };
        let free = self.price_of(name) == Some(Price::FREE) && self.per_search(request.search.is_some()) == 0;
        let attempt = request.attempts.begin(free);
        let body = body.to_string().into_bytes();
        match self.host.send(Method::POST, self.host.url(path), Some(body)).await {
            Ok(reply) if (200..300).contains(&reply.status) => Ok(Ok((reply, attempt))),
            Ok(reply) => {
                attempt.known();
                let (status, headers) = (reply.status, reply.headers.clone());
                Ok(Err(Said::response(status, &headers, &reply.beginning(REFUSAL_BYTES).await)))
            }
            Err(err) => {
                if matches!(err, NetError::Forbidden(_) | NetError::NoConnection(_)) {
                    attempt.known();
                }
                Err(err)
            }
        }
    }

    /// Reads an answer: an event stream, or one JSON object from servers that do not stream.
    async fn read(
        &self,
        name: &str,
        request: &Request,
        mut reply: Reply,
        attempt: Attempt<'_>,
        on_delta: Option<&OnDelta>,
    ) -> Result<Answer, LlmError> {
        let redact = |text: &str| self.host.redact(text);
        let turn =
            request.messages.iter().filter(|message| matches!(message, super::Message::Assistant { .. })).count();
        let mut decoder: Box<dyn Decoder> = match self.protocol {
            Protocol::OpenAi(_) => Box::new(openai::Stream::new(turn)),
            Protocol::Anthropic => Box::new(anthropic::Stream::default()),
        };
        let mut first = reply.chunk().await.map_err(|err| err.error(name))?.unwrap_or_default();
        while first.iter().all(u8::is_ascii_whitespace)
            && let Some(more) = reply.chunk().await.map_err(|err| err.error(name))?
        {
            first = more;
        }
        if first.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{') {
            let mut body = first.to_vec();
            body.extend(reply.bytes().await.map_err(|err| err.error(name))?);
            decoder.whole(&body, on_delta).map_err(|fault| fault.error(name, redact))?;
        } else {
            let limit = usize::try_from(self.host.max_answer_bytes()).unwrap_or(usize::MAX);
            let mut stream = sse::Decoder::new(limit);
            let mut events = Vec::new();
            let too_long = |_| NetError::TooLarge(self.host.max_answer_bytes()).error(name);
            let mut chunk = Some(first);
            while let Some(bytes) = chunk {
                stream.push(&bytes, &mut events).map_err(too_long)?;
                for event in events.drain(..) {
                    decoder.event(&event, on_delta).map_err(|fault| fault.error(name, redact))?;
                }
                if decoder.is_done() {
                    break;
                }
                chunk = reply.chunk().await.map_err(|err| err.error(name))?;
            }
            if decoder.is_done() {
                reply.finish().await;
            } else {
                stream.end(&mut events).map_err(too_long)?;
                for event in events {
                    decoder.event(&event, on_delta).map_err(|fault| fault.error(name, redact))?;
                }
            }
        }
        let mut answer = decoder.finish().map_err(|fault| fault.error(name, redact))?;
        if answer.model.is_empty() {
            name.clone_into(&mut answer.model);
        }
        attempt.known();
        let (usage, per_search) = (answer.usage.as_ref(), self.per_search(request.search.is_some()));
        let tokens = price::known_cost(self.price_of(name), usage);
        answer.cost_nanos = price::known_cost_with_searches(tokens, usage, answer.found.searches, per_search);
        Ok(answer)
    }

    /// Configured, or nothing where nothing is paid.
    fn price_of(&self, name: &str) -> Option<Price> {
        self.prices.get(name).or_else(|| self.host.is_local().then_some(Price::FREE))
    }

    /// Nano-dollars of one search, if there are any: configured, nothing where nothing is paid, or the provider's.
    fn per_search(&self, searches: bool) -> i64 {
        let name = self.name.known();
        let free = name.is_some_and(|name| self.price_of(&name) == Some(Price::FREE));
        match (searches, self.search_price, self.protocol) {
            (false, ..) => 0,
            (true, Some(dollars), _) => price::nanos(dollars),
            (true, None, _) if free => 0,
            (true, None, Protocol::Anthropic) => price::nanos(search::ANTHROPIC_USD),
            (true, None, Protocol::OpenAi(_)) => price::nanos(search::OPENROUTER_USD),
        }
    }

    /// Its name, or what is known of it.
    pub(super) fn label(&self) -> String {
        self.name.known().unwrap_or_else(|| format!("the first model of {}", self.host.name()))
    }

    /// One that was only guessed at counts once it has been found.
    pub(super) fn is_there(&self) -> bool {
        !self.name.is_a_guess() || self.name.known().is_some()
    }

    pub(super) fn info(&self) -> ModelInfo {
        let model = self.name.known();
        let closed = self.breaker.closed_for();
        let paused = closed.as_ref().map(|(left, _)| *left);
        let open = closed.map(|(left, last)| {
            let last = last.map_or_else(String::new, |last| format!(": {last}"));
            format!("left alone for {} s{last}", left.as_secs().max(1))
        });
        let record = self.breaker.record();
        ModelInfo {
            paused,
            failed: record.failed,
            recent: record.recent.into(),
            in_a_row: self.breaker.in_a_row(),
            answered: record.answered,
            role: self.role.to_owned(),
            provider: self.provider.to_owned(),
            price: model
                .as_deref()
                .map_or_else(|| self.host.is_local().then_some(Price::FREE), |name| self.price_of(name)),
            model: model.unwrap_or_default(),
            base_url: self.host.base().to_string(),
            host: self.host.name(),
            local: self.host.is_local(),
            search_nanos: self.per_search(self.role == Role::Search.as_str()),
            problem: self.problem.clone().or_else(|| self.name.problem()).or(open),
            missing: self.missing,
        }
    }
}
