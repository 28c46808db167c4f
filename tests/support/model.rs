//! A model server on loopback: it speaks the OpenAI protocol, thinks no time at all, and answers by a script.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Bytes, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

/// What the scripted model says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    pub(crate) text: String,
    /// Names and arguments.
    pub(crate) calls: Vec<(String, Value)>,
    /// Time before the first byte.
    pub(crate) delay: Duration,
}

impl Reply {
    /// Calls one tool.
    pub(crate) fn call(name: &str, arguments: Value) -> Self {
        Self::default().and(name, arguments)
    }

    /// Calls one more tool.
    pub(crate) fn and(mut self, name: &str, arguments: Value) -> Self {
        self.calls.push((name.to_owned(), arguments));
        self
    }

    /// Ends the job.
    pub(crate) fn complete(response: &str) -> Self {
        Self::call("task_complete", json!({"summary": response, "response": response}))
    }
}

/// One request, as the script sees it.
pub(crate) struct Asked {
    pub(crate) body: Value,
}

impl Asked {
    /// How many answers of this script the conversation holds already: ids of calls tell their turn.
    pub(crate) fn turn(&self) -> usize {
        let messages = self.body["messages"].as_array().map_or(&[][..], Vec::as_slice);
        let turns = messages.iter().filter_map(|message| {
            let id = message["tool_call_id"].as_str()?;
            id.strip_prefix("turn-")?.split('-').next()?.parse::<usize>().ok()
        });
        turns.max().map_or(0, |turn| turn + 1)
    }

    /// Everything the model is told, as text.
    pub(crate) fn text(&self) -> String {
        self.body["messages"].to_string()
    }

    /// The number after `word` in the conversation: tells the jobs of a test apart.
    pub(crate) fn number_after(&self, word: &str) -> Option<u64> {
        let text = self.text();
        let rest = &text[text.find(word)? + word.len()..];
        rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
    }
}

/// What was asked, and how much of it at the same time.
#[derive(Default)]
pub(crate) struct Tally {
    /// Requests in all.
    pub(crate) requests: u64,
    /// Requests per key (see [`Script`]) and turn.
    pub(crate) turns: HashMap<(u64, usize), u64>,
    in_flight: HashMap<u64, u32>,
    /// Keys that had two requests in flight at once.
    pub(crate) overlaps: Vec<u64>,
}

/// The script: a key that tells conversations apart, and the answer.
pub(crate) type Script = dyn Fn(&Asked) -> (u64, Reply) + Send + Sync;

/// A running server; it ends when dropped.
pub(crate) struct ModelServer {
    address: SocketAddr,
    tally: Arc<Mutex<Tally>>,
    _accept: JoinSet<()>,
}

impl ModelServer {
    /// Listens on a free port of the loopback interface.
    pub(crate) async fn start(script: impl Fn(&Asked) -> (u64, Reply) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let script: Arc<Script> = Arc::new(script);
        let tally = Arc::new(Mutex::new(Tally::default()));
        let mut accept = JoinSet::new();
        accept.spawn(serve(listener, script, Arc::clone(&tally)));
        Self { address, tally, _accept: accept }
    }

    /// For `llm.base_url`.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// What was asked so far.
    pub(crate) fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve(listener: TcpListener, script: Arc<Script>, tally: Arc<Mutex<Tally>>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        while connections.try_join_next().is_some() {}
        let (script, tally) = (Arc::clone(&script), Arc::clone(&tally));
        connections.spawn(async move {
            let service = service_fn(move |request| answer(request, Arc::clone(&script), Arc::clone(&tally)));
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Counts a request for as long as it lives: one that the daemon gave up is dropped with its connection.
struct InFlight(u64, Arc<Mutex<Tally>>);

impl InFlight {
    fn begin(key: u64, turn: usize, tally: Arc<Mutex<Tally>>) -> Self {
        {
            let mut now = tally.lock().unwrap_or_else(PoisonError::into_inner);
            now.requests += 1;
            *now.turns.entry((key, turn)).or_default() += 1;
            let running = now.in_flight.entry(key).or_default();
            *running += 1;
            if *running > 1 {
                now.overlaps.push(key);
            }
        }
        Self(key, tally)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut now = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = now.in_flight.get_mut(&self.0) {
            *running -= 1;
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    script: Arc<Script>,
    tally: Arc<Mutex<Tally>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if !request.uri().path().ends_with("/chat/completions") {
        let body = json!({"object": "list", "data": [{"id": "scripted", "object": "model"}]}).to_string();
        return Ok(Response::new(Full::new(body.into())));
    }
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let asked = Asked { body: serde_json::from_slice(&body).unwrap_or_default() };
    let turn = asked.turn();
    let (key, reply) = script(&asked);
    let in_flight = InFlight::begin(key, turn, tally);
    if !reply.delay.is_zero() {
        tokio::time::sleep(reply.delay).await;
    }
    drop(in_flight);
    let stream = asked.body["stream"].as_bool().unwrap_or(false);
    let (kind, body) =
        if stream { ("text/event-stream", streamed(&reply, turn)) } else { ("application/json", whole(&reply, turn)) };
    Ok(Response::builder().header("content-type", kind).body(Full::new(body.into())).unwrap())
}

fn calls(reply: &Reply, turn: usize) -> Vec<Value> {
    let call = |(index, (name, arguments)): (usize, &(String, Value))| {
        json!({
            "index": index,
            "id": format!("turn-{turn}-{index}"),
            "type": "function",
            "function": {"name": name, "arguments": arguments.to_string()},
        })
    };
    reply.calls.iter().enumerate().map(call).collect()
}

fn usage() -> Value {
    json!({"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110})
}

fn finish(reply: &Reply) -> &'static str {
    if reply.calls.is_empty() { "stop" } else { "tool_calls" }
}

fn whole(reply: &Reply, turn: usize) -> String {
    let mut message = json!({"role": "assistant", "content": reply.text});
    if !reply.calls.is_empty() {
        message["tool_calls"] = calls(reply, turn).into();
    }
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "model": "scripted", "usage": usage(),
        "choices": [{"index": 0, "message": message, "finish_reason": finish(reply)}],
    })
    .to_string()
}

fn streamed(reply: &Reply, turn: usize) -> String {
    let chunk = |delta: Value, finish: Option<&str>, usage: Value| {
        let chunk = json!({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "scripted", "usage": usage,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        });
        format!("data: {chunk}\n\n")
    };
    let mut body = chunk(json!({"role": "assistant", "content": reply.text}), None, Value::Null);
    for call in calls(reply, turn) {
        body += &chunk(json!({"tool_calls": [call]}), None, Value::Null);
    }
    body += &chunk(json!({}), Some(finish(reply)), usage());
    body + "data: [DONE]\n\n"
}
