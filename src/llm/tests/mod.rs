//! Providers against a server on loopback.

mod answers;
mod chains;
mod lost;
mod network;
mod probes;
mod refusals;
pub(crate) mod searches;
pub(crate) mod server;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;

use super::*;
use crate::config::{Config, Environment, SecretName, Secrets, value::Seconds};
use server::{Play, Server};

/// What OpenAI-compatible servers send for a short answer.
const HELLO: &str = "data: {\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Grüß\"},\"finish_reason\":null}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\" Gott\"},\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":3,\"total_tokens\":14}}\n\ndata: [DONE]\n\n";

fn config(server: &Server) -> Config {
    let mut config = Config::default();
    config.llm.base_url = Some(server.url("/v1"));
    config.llm.model = Some("m".into());
    config.llm.retries = 0;
    config.llm.retry_backoff = Seconds(Duration::from_millis(2));
    config.limits.rate_limit_backoff_seconds = Seconds(Duration::from_millis(3));
    config
}

fn build_from(config: &Config) -> Arc<dyn Llm> {
    build(config, &Secrets::default(), &Environment::default())
}

fn hello() -> Request {
    Request::new("Be brief.", vec![Message::User { text: "Hello".into() }])
}

async fn ask(config: &Config) -> Result<Answer, LlmError> {
    build_from(config).ask(&hello(), None).await
}

fn tool(name: &str) -> ToolSpec {
    ToolSpec { name: name.into(), description: format!("does {name}"), parameters: json!({ "type": "object" }) }
}

/// Keeps the deltas of a call, as text.
fn watch() -> (OnDelta, Arc<Mutex<String>>) {
    let seen = Arc::new(Mutex::new(String::new()));
    let kept = Arc::clone(&seen);
    let on_delta: OnDelta = Arc::new(move |delta| {
        let text = match delta {
            Delta::Text(text) => text,
            Delta::Call(name) => format!("<{name}>"),
            Delta::Reset => "<reset>".into(),
        };
        kept.lock().unwrap().push_str(&text);
    });
    (on_delta, seen)
}
