//! The model of a server that is asked which ones it has: Ollama by its own API, others by `GET models`.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    LlmError, NOT_CONFIGURED,
    net::{Host, NetError},
};

/// The name of a model, given or to be found out.
pub(super) enum Name {
    Given(String),
    Found(Discovery),
}

/// How a name is found out, and what came of it.
pub(super) struct Discovery {
    kind: Kind,
    state: Mutex<Result<Option<String>, String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An Ollama that is configured.
    Ollama,
    /// An Ollama that may be there: nothing is configured.
    PerhapsOllama,
    /// Any other server that speaks OpenAI's protocol.
    Listed,
}

/// Models of an Ollama that are looked at for tool support.
const LOOKED_AT: usize = 20;

/// For the whole search; it only asks loopback and private addresses, and servers that were named.
const PATIENCE: Duration = Duration::from_secs(5);

impl Name {
    pub(super) fn found(kind: Kind) -> Self {
        Self::Found(Discovery { kind, state: Mutex::new(Ok(None)) })
    }

    /// The name, found out now if it has to be.
    pub(super) async fn get(&self, host: &Host) -> Result<String, LlmError> {
        let discovery = match self {
            Self::Given(name) => return Ok(name.clone()),
            Self::Found(discovery) => discovery,
        };
        if let Ok(Some(name)) = &*discovery.state() {
            return Ok(name.clone());
        }
        let found = tokio::time::timeout(PATIENCE, discovery.search(host)).await.unwrap_or_else(|_| {
            Err(LlmError::Unavailable {
                model: host.name(),
                reason: "it does not say which models it has".into(),
                retry_after: None,
            })
        });
        *discovery.state() = found.as_ref().map(|name| Some(name.clone())).map_err(ToString::to_string);
        found
    }

    /// The name, if it is known.
    pub(super) fn known(&self) -> Option<String> {
        match self {
            Self::Given(name) => Some(name.clone()),
            Self::Found(discovery) => discovery.state().as_ref().ok().and_then(Clone::clone),
        }
    }

    /// Why it is not known, if it was looked for.
    pub(super) fn problem(&self) -> Option<String> {
        match self {
            Self::Given(_) => None,
            Self::Found(discovery) => discovery.state().as_ref().err().cloned(),
        }
    }

    /// It was refused: it is looked for again at the next request.
    pub(super) fn forget(&self) {
        if let Self::Found(discovery) = self {
            *discovery.state() = Ok(None);
        }
    }

    /// Whether nothing was configured, so that not finding anything is no failure.
    pub(super) fn is_a_guess(&self) -> bool {
        matches!(self, Self::Found(Discovery { kind: Kind::PerhapsOllama, .. }))
    }
}

#[derive(Deserialize)]
struct Tags {
    #[serde(default)]
    models: Vec<Tag>,
}

#[derive(Deserialize)]
struct Tag {
    name: String,
    /// Newer servers say it here already.
    capabilities: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Shown {
    capabilities: Option<Vec<String>>,
    /// Older servers say nothing; a template that lays tools out takes them.
    #[serde(default)]
    template: String,
}

#[derive(Deserialize)]
struct Listed {
    data: Vec<ListedModel>,
}

#[derive(Deserialize)]
struct ListedModel {
    id: String,
}

impl Discovery {
    fn state(&self) -> MutexGuard<'_, Result<Option<String>, String>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn search(&self, host: &Host) -> Result<String, LlmError> {
        let found = match self.kind {
            Kind::Listed => listed(host).await,
            Kind::Ollama | Kind::PerhapsOllama => with_tools(host).await,
        };
        match found {
            Err(LlmError::Unavailable { .. }) if self.kind == Kind::PerhapsOllama => {
                Err(LlmError::NotConfigured(NOT_CONFIGURED.to_owned()))
            }
            found => found,
        }
    }
}

async fn listed(host: &Host) -> Result<String, LlmError> {
    let listed: Listed = ask(host, Method::GET, host.url("models"), None).await?;
    listed
        .data
        .into_iter()
        .map(|model| model.id)
        .next()
        .ok_or_else(|| LlmError::NotConfigured(format!("{} has no model: load one, or set llm.model", host.name())))
}

/// The first model that can call tools, in the server's order: the one that was changed last.
async fn with_tools(host: &Host) -> Result<String, LlmError> {
    let mut url = host.base().clone();
    url.set_path("/api/tags");
    let tags: Tags = ask(host, Method::GET, url.clone(), None).await?;
    url.set_path("/api/show");
    for tag in tags.models.into_iter().take(LOOKED_AT) {
        let able = if let Some(capabilities) = tag.capabilities {
            capabilities.iter().any(|capability| capability == "tools")
        } else {
            let body = json!({ "model": tag.name, "name": tag.name });
            let shown: Shown = ask(host, Method::POST, url.clone(), Some(&body)).await?;
            shown.capabilities.map_or_else(
                || shown.template.contains(".Tools"),
                |capabilities| capabilities.iter().any(|capability| capability == "tools"),
            )
        };
        if able {
            return Ok(tag.name);
        }
    }
    Err(LlmError::NotConfigured(format!(
        "the Ollama at {} has no model that can call tools: run `ollama pull qwen3`, or set llm.model",
        host.name()
    )))
}

async fn ask<T: serde::de::DeserializeOwned>(
    host: &Host,
    method: Method,
    url: reqwest::Url,
    body: Option<&Value>,
) -> Result<T, LlmError> {
    let name = host.name();
    let fault = |err: NetError| err.error(&name);
    let reply = host.send(method, url, body.map(|body| body.to_string().into_bytes())).await.map_err(fault)?;
    let (status, headers) = (reply.status, reply.headers.clone());
    let body = reply.bytes().await.map_err(fault)?;
    if status != 200 {
        return Err(super::failure::Said::response(status, &headers, &body).error(&name, |text| host.redact(text)));
    }
    serde_json::from_slice(&body)
        .map_err(|_| LlmError::Protocol { model: name.clone(), reason: "its list of models cannot be read".into() })
}
