//! One real call to a model, to see whether it answers and whether it can call tools.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use assistant_api::status::{ModelPrice, ModelTest, Server};
use serde_json::json;

use super::{
    Answer, LlmError, Message, ModelInfo, Request, ToolSpec,
    model::Model,
    net::{Host, NetError},
};

/// How long one model has; a local one may have to be loaded first.
const PATIENCE: Duration = Duration::from_mins(2);

/// Tokens that the answer may have: some models think before they call.
const MAX_TOKENS: u32 = 512;

/// The question: small, and only right with a call.
pub(super) fn request() -> Request {
    let tool = ToolSpec {
        name: "report_word".into(),
        description: "Reports one word.".into(),
        parameters: json!({
            "type": "object",
            "properties": { "word": { "type": "string", "description": "The word." } },
            "required": ["word"],
            "additionalProperties": false,
        }),
    };
    let text = "Call the tool report_word with the word \"ready\". Do nothing else.";
    Request {
        tools: vec![tool],
        max_tokens: Some(MAX_TOKENS),
        timeout: Some(PATIENCE),
        ..Request::new("You check a connection.", vec![Message::User { text: text.into() }])
    }
}

/// Asks every model once, all at the same time, whatever their circuits say.
pub(super) async fn all(models: impl Iterator<Item = &Arc<Model>>) -> Vec<ModelTest> {
    futures_util::future::join_all(models.map(|model| one(model))).await
}

/// Connects to every host, all at the same time.
pub(super) async fn reach(hosts: &[Arc<Host>]) -> Vec<Server> {
    let one = async |host: &Arc<Host>| {
        let begun = Instant::now();
        let problem = host.reach().await.err().map(|err| match err {
            NetError::Forbidden(why) | NetError::NoConnection(why) | NetError::Broken(why) => why,
            NetError::TooLarge(_) => "its answer is too large".to_owned(),
        });
        let took = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        let latency_ms = problem.is_none().then_some(took);
        Server { purpose: "model".into(), host: host.name(), latency_ms, problem }
    };
    futures_util::future::join_all(hosts.iter().map(one)).await
}

async fn one(model: &Model) -> ModelTest {
    let begun = Instant::now();
    let answer = tokio::time::timeout(PATIENCE, model.ask(&request(), None)).await;
    let answer = answer.unwrap_or(Err(LlmError::Deadline { seconds: PATIENCE.as_secs() }));
    if answer.is_ok() {
        model.breaker.reset();
    }
    report(model.info(), &answer, begun.elapsed())
}

/// What came of it.
pub(super) fn report(info: ModelInfo, answer: &Result<Answer, LlmError>, took: Duration) -> ModelTest {
    let (tools, problem) = match answer {
        Ok(answer) => {
            let called = answer.calls.iter().any(|call| call.name == "report_word");
            let odd = (!called).then(|| "it answered without calling the tool that it was asked to call".to_owned());
            (Some(called), odd)
        }
        Err(err) => (None, Some(err.to_string())),
    };
    #[expect(clippy::cast_precision_loss, reason = "nano-dollars of one call")]
    let cost = answer.as_ref().ok().and_then(|answer| answer.cost_nanos).map(|nanos| nanos as f64 / 1e9);
    ModelTest {
        role: info.role,
        provider: info.provider,
        model: info.model,
        host: info.host,
        ok: answer.is_ok(),
        latency_ms: answer.is_ok().then(|| i64::try_from(took.as_millis()).unwrap_or(i64::MAX)),
        tools,
        price: info.price.map(ModelPrice::from),
        cost,
        problem,
    }
}
