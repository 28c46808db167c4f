//! Which models are asked, from what is configured and which keys are there.
//!
//! The provider is `llm.provider` if it is set; else OpenAI's protocol at `llm.base_url` if that is set; else the one
//! whose key is there (OpenRouter, OpenAI, Anthropic, in this order); else an Ollama on loopback if there is one. A
//! rehearsal never steps in by itself.

use std::sync::Arc;

use reqwest::{
    Url,
    header::{HeaderMap, HeaderName, HeaderValue, REFERER},
};

use super::{
    Answer, BoxFuture, Llm, LlmError, ModelInfo, OnDelta, Request, Role, anthropic,
    breaker::Breaker,
    chain::{Chain, Pauses},
    discover::{Kind, Name},
    model::{Model, Protocol},
    net::{Host, Key, Settings},
    openai::Dialect,
    rehearsal::{self, Rehearsal},
    wire::{Quirks, Sampling},
};
use crate::config::{Config, Environment, SecretName, Secrets};

/// What a job without any model is told.
pub const NOT_CONFIGURED: &str = "no model configured: run sudo assistantctl setup, \
    or by hand set OPENROUTER_API_KEY or another key and restart assistantd; see assistantctl doctor";

/// What searches at OpenRouter when no model is named.
const SEARCH_MODEL: &str = "openai/gpt-4.1-mini";

/// Whose API it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Provider {
    OpenAi,
    OpenRouter,
    Anthropic,
    Ollama,
}

impl Provider {
    const ALL: [Self; 4] = [Self::OpenAi, Self::OpenRouter, Self::Anthropic, Self::Ollama];

    const fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::OpenRouter => "openrouter",
            Self::Anthropic => "anthropic",
            Self::Ollama => "ollama",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|provider| provider.name() == name)
    }

    /// The root of its API.
    const fn base_url(self) -> &'static str {
        match self {
            Self::OpenAi => "https://api.openai.com/v1",
            Self::OpenRouter => "https://openrouter.ai/api/v1",
            Self::Anthropic => "https://api.anthropic.com/v1",
            Self::Ollama => "http://127.0.0.1:11434/v1",
        }
    }

    /// What is asked when no model is named: main, and behind it.
    const fn models(self) -> (Option<&'static str>, Option<&'static str>) {
        match self {
            Self::OpenRouter => (Some("anthropic/claude-sonnet-4.6"), Some("openai/gpt-5.4")),
            Self::OpenAi => (Some("gpt-5.4"), None),
            Self::Anthropic => (Some("claude-sonnet-4-6"), None),
            Self::Ollama => (None, None),
        }
    }

    /// Whether it searches the web for a model.
    const fn searches(self) -> bool {
        matches!(self, Self::OpenRouter | Self::Anthropic)
    }

    const fn key(self) -> Option<SecretName> {
        match self {
            Self::OpenAi => Some(SecretName::OpenAi),
            Self::OpenRouter => Some(SecretName::OpenRouter),
            Self::Anthropic => Some(SecretName::Anthropic),
            Self::Ollama => None,
        }
    }
}

/// Makes the models that the configuration names; `environment` names the proxies.
///
/// Never fails and asks nobody: what is wrong with the configuration is said by [`Llm::models`] and by every answer.
pub fn build(config: &Config, secrets: &Secrets, environment: &Environment) -> Arc<dyn Llm> {
    let unusable = |problem| -> Arc<dyn Llm> { Arc::new(Unusable { problem }) };
    if config.llm.provider.as_deref() == Some(rehearsal::MODEL) {
        return rehearsal(config).map_or_else(unusable, |rehearsal| Arc::new(rehearsal));
    }
    chain(config, secrets, environment).map_or_else(unusable, |chain| Arc::new(chain))
}

/// Whether what `llm.rehearsal_file` names can be played, if it is to be: for `--check` and the start.
///
/// # Errors
/// `validation`, naming the key, when the file is missing, unreadable or no list of scenes.
pub fn check(config: &Config) -> crate::error::Result<()> {
    if config.llm.provider.as_deref() != Some(rehearsal::MODEL) {
        return Ok(());
    }
    rehearsal(config).map(drop).map_err(|problem| {
        crate::error::Error::validation(problem)
            .field("llm.rehearsal_file")
            .hint("give the absolute path of a file of scenes, or remove the key to play the built-in demo")
    })
}

/// The chain of the real models.
pub(super) fn chain(config: &Config, secrets: &Secrets, environment: &Environment) -> Result<Chain, String> {
    Maker::new(config, secrets, environment).chain()
}

fn rehearsal(config: &Config) -> Result<Rehearsal, String> {
    let rehearsal = match &config.llm.rehearsal_file {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|err| format!("llm.rehearsal_file {path} cannot be read: {err}"))?;
            Rehearsal::from_json(&text).map_err(|err| format!("llm.rehearsal_file {path}: {err}"))?
        }
        None => Rehearsal::demo()?,
    };
    Ok(rehearsal.with_max_chars(config.limits.max_prompt_chars.into()))
}

/// What making a chain needs.
struct Maker<'a> {
    config: &'a Config,
    secrets: &'a Secrets,
    settings: Arc<Settings>,
    /// Whose API is at `llm.base_url`.
    own: Option<(Provider, Url)>,
    apis: Vec<Api>,
}

/// One API, so that its models share connections and fail together where they have to.
struct Api {
    provider: Provider,
    host: Arc<Host>,
    /// The key without which it cannot be asked.
    missing: Option<SecretName>,
}

impl<'a> Maker<'a> {
    fn new(config: &'a Config, secrets: &'a Secrets, environment: &Environment) -> Self {
        let settings = Settings::of(config, environment);
        Self { config, secrets, settings: Arc::new(settings), own: None, apis: Vec::new() }
    }

    fn chain(&mut self) -> Result<Chain, String> {
        let llm = &self.config.llm;
        let with_key = |provider: &Provider| provider.key().is_some_and(|key| self.secrets.get(key).is_some());
        let by_key = [Provider::OpenRouter, Provider::OpenAi, Provider::Anthropic].into_iter().find(with_key);
        let at = llm.base_url.as_deref().map(base).transpose().map_err(|fault| format!("llm.base_url {fault}"))?;
        let owner = at.as_ref().and_then(owner);
        let (provider, guess) = match &llm.provider {
            Some(name) => {
                let known = Provider::named(name).ok_or_else(|| {
                    format!("llm.provider is {name:?}: set it to openai, openrouter, anthropic, ollama or rehearsal")
                })?;
                (known, false)
            }
            None if at.is_some() => (Provider::OpenAi, false),
            None => by_key.map_or((Provider::Ollama, true), |provider| (provider, false)),
        };
        // OpenRouter's own address speaks OpenAI's protocol, and more.
        let provider = if (provider, owner) == (Provider::OpenAi, Some(Provider::OpenRouter)) {
            Provider::OpenRouter
        } else {
            provider
        };
        let defaults = if at.is_none() || owner == Some(provider) { provider.models() } else { (None, None) };
        self.own = at.map(|at| (provider, at));
        let main = if let Some(model) = &llm.model {
            self.named("main", provider, model)?
        } else {
            let name = match defaults.0 {
                Some(name) => Name::Given(name.to_owned()),
                None if guess => Name::found(Kind::PerhapsOllama),
                None if provider == Provider::Ollama => Name::found(Kind::Ollama),
                None => Name::found(Kind::Listed),
            };
            self.model("main", provider, name)?
        };
        let main = Arc::new(main);
        let fallback = match (&llm.fallback_model, &llm.model, defaults.1) {
            (Some(model), ..) => Some(self.named("fallback", provider, model)?),
            (None, None, Some(name)) => Some(self.model("fallback", provider, Name::Given(name.to_owned()))?),
            _ => None,
        };
        let small = llm.small_model.as_ref().or(self.config.limits.summarization_model.as_ref());
        let small = small.map(|model| self.named("small", provider, model)).transpose()?;
        let search = self.searcher(provider, main.name.known());
        Ok(Chain {
            search: search.map(Arc::new),
            main: std::iter::once(Arc::clone(&main)).chain(fallback.map(Arc::new)).collect(),
            small: small.map(Arc::new).into_iter().chain([main]).collect(),
            pauses: Pauses {
                turn_timeout: llm.turn_timeout.0,
                retries: llm.retries,
                backoff: llm.retry_backoff.0,
                rate_limit: self.config.limits.rate_limit_backoff_seconds.0,
            },
        })
    }

    /// The model that searches the web: what `search.model` names, else one of a provider that searches and can be asked.
    fn searcher(&mut self, main: Provider, main_model: Option<String>) -> Option<Model> {
        let search = &self.config.search;
        if !search.enabled {
            return None;
        }
        let local_only = self.config.llm.local_only;
        let usable = |maker: &mut Self, provider: Provider| {
            let api = maker.host(provider).ok()?;
            (provider.searches() && api.missing.is_none() && (!local_only || api.host.is_local())).then_some(provider)
        };
        let mut found = || [main, Provider::OpenRouter, Provider::Anthropic].into_iter().find_map(|p| usable(self, p));
        let (provider, name) = match search.model.as_deref() {
            None => {
                let provider = found()?;
                let own = main_model.filter(|_| (main, provider) == (Provider::Anthropic, Provider::Anthropic));
                let listed = if provider == Provider::OpenRouter { SEARCH_MODEL } else { provider.models().0? };
                (provider, own.unwrap_or_else(|| listed.to_owned()))
            }
            Some(name) => match name.split_once(':').and_then(|(other, rest)| Some((Provider::named(other)?, rest))) {
                Some((provider, rest)) => (provider, rest.to_owned()),
                // Only OpenRouter's names have the maker's name before them.
                None if name.contains('/') => (Provider::OpenRouter, name.to_owned()),
                None => (found()?, name.to_owned()),
            },
        };
        let mut model = self.model("search", provider, Name::Given(name)).ok()?;
        model.search_price = search.price_usd;
        if !provider.searches() {
            model.problem = Some(format!("{} does not search the web: set search.model", provider.name()));
        } else if local_only && !model.host.is_local() {
            model.problem = Some("llm.local_only keeps searches of the web from leaving".into());
        }
        Some(model)
    }

    /// A model by its name, which may begin with that of a provider and a colon.
    fn named(&mut self, role: &'static str, provider: Provider, name: &str) -> Result<Model, String> {
        let other = name.split_once(':').and_then(|(other, rest)| Some((Provider::named(other)?, rest)));
        let (provider, name) = other.unwrap_or((provider, name));
        self.model(role, provider, Name::Given(name.to_owned()))
    }

    fn model(&mut self, role: &'static str, provider: Provider, name: Name) -> Result<Model, String> {
        let llm = &self.config.llm;
        let Api { host, missing, .. } = self.host(provider)?;
        let (host, missing) = (Arc::clone(host), *missing);
        let problem = missing.map(|secret| {
            let host = host.base().host_str().unwrap_or_default();
            format!(
                "no key for {host}: sudo assistantctl secret set {secret}, or by hand set {} and restart assistantd",
                secret.env()
            )
        });
        let protocol = match provider {
            Provider::Anthropic => Protocol::Anthropic,
            Provider::OpenRouter => Protocol::OpenAi(Dialect::OpenRouter),
            _ if owner(host.base()) == Some(Provider::OpenAi) => Protocol::OpenAi(Dialect::OpenAi),
            _ => Protocol::OpenAi(Dialect::Plain),
        };
        Ok(Model {
            role,
            provider: provider.name(),
            protocol,
            name,
            host,
            breaker: Breaker::new(llm.circuit_failures, llm.circuit_cooldown.0),
            quirks: Quirks::default(),
            defaults: Sampling { max_tokens: llm.max_tokens_per_call, temperature: llm.temperature },
            request_timeout: llm.request_timeout.0,
            prices: llm.prices.clone(),
            search_price: None,
            problem,
            missing,
        })
    }

    /// The API of a provider, and the key that it lacks.
    fn host(&mut self, provider: Provider) -> Result<&Api, String> {
        if let Some(at) = self.apis.iter().position(|api| api.provider == provider) {
            return Ok(&self.apis[at]);
        }
        let own = self.own.as_ref().filter(|(owner, _)| *owner == provider).map(|(_, url)| url.clone());
        let is_own = own.is_some();
        let base = own.map_or_else(|| base(provider.base_url()), Ok)?;
        // A key goes to the host that it belongs to, and to no other.
        let needed = owner(&base).and_then(Provider::key);
        let given = if is_own { self.secrets.get(SecretName::Llm) } else { None };
        let key = match given.or_else(|| self.secrets.get(needed?)) {
            None => Key::None,
            Some(secret) if provider == Provider::Anthropic => Key::Header(secret),
            Some(secret) => Key::Bearer(secret),
        };
        let missing = needed.filter(|_| matches!(key, Key::None));
        let headers = self.headers(provider, &base);
        let host = Arc::new(Host::new(base, key, headers, Arc::clone(&self.settings)));
        self.apis.push(Api { provider, host, missing });
        Ok(&self.apis[self.apis.len() - 1])
    }

    fn headers(&self, provider: Provider, base: &Url) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut set = |name: HeaderName, text: &str| {
            if let Ok(value) = HeaderValue::from_str(text) {
                headers.insert(name, value);
            }
        };
        if provider == Provider::Anthropic {
            set(HeaderName::from_static("anthropic-version"), anthropic::VERSION);
        } else if owner(base) == Some(Provider::OpenRouter) {
            set(REFERER, &self.config.app.referer_url);
            set(HeaderName::from_static("x-title"), &self.config.app.name);
        }
        headers
    }
}

fn host_of(url: &str) -> Option<String> {
    Url::parse(url).ok()?.host_str().map(str::to_owned)
}

/// The provider whose own, encrypted address this is.
fn owner(base: &Url) -> Option<Provider> {
    Provider::ALL.into_iter().find(|provider| {
        provider.key().is_some()
            && base.scheme() == "https"
            && base.port().is_none()
            && base.host_str() == host_of(provider.base_url()).as_deref()
    })
}

/// The root of an API: `/v1` if no path is given.
fn base(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text.trim()).map_err(|err| format!("is not a URL: {err}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err("must begin with http:// or https:// and a host".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "must not hold a user or a password; set ASSISTANT_LLM_API_KEY or the credential llm-api-key".into()
        );
    }
    url.set_query(None);
    url.set_fragment(None);
    if url.path().trim_matches('/').is_empty() {
        url.set_path("/v1");
    }
    Ok(url)
}

impl Role {
    /// As it stands in configuration and API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Small => "small",
            Self::Search => "search",
        }
    }
}

/// Stands where no model can be made.
struct Unusable {
    problem: String,
}

impl Llm for Unusable {
    fn ask<'a>(&'a self, _: &'a Request, _: Option<OnDelta>) -> BoxFuture<'a, Result<Answer, LlmError>> {
        Box::pin(std::future::ready(Err(LlmError::NotConfigured(self.problem.clone()))))
    }

    fn models(&self) -> Vec<ModelInfo> {
        vec![ModelInfo { role: "main".into(), problem: Some(self.problem.clone()), ..ModelInfo::default() }]
    }
}

#[cfg(test)]
mod tests;
