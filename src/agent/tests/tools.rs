//! Tools that misbehave in the ways that tools do.

use std::time::Duration;

use assistant_api::effects::EffectState;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    agent::tools::{Call, Tool, ToolDef},
    cx::Cx,
    error::{Error, Result},
    ledger::{self, NewEffect},
    policy::{Access, Origin},
};

pub(in crate::agent) const TOOLS: &[ToolDef] = &[
    ToolDef::of::<Echo>(),
    ToolDef::of::<Slow>(),
    ToolDef::of::<Big>(),
    ToolDef::of::<Page>(),
    ToolDef::of::<Put>(),
    ToolDef::of::<UntilStop>(),
    ToolDef::of::<Panics>(),
    ToolDef::of::<Hangs>(),
    ToolDef::of::<Refuses>(),
    ToolDef::of::<Asks>(),
    ToolDef::of::<Missing>(),
];

/// Give back a text. It changes nothing.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Echo {
    text: String,
    #[serde(default)]
    times: u32,
}

impl Tool for Echo {
    const NAME: &'static str = "test_echo";
    const ACCESS: Access = Access::Read;
    const GROUP: &'static str = "Files";
    type Output = Value;
    async fn run(self, _: &Cx, call: &Call) -> Result<Value> {
        Ok(json!({ "text": self.text, "times": self.times, "key": &*call.key }))
    }
}

/// Take some time.
#[derive(Deserialize, JsonSchema)]
struct Slow {
    ms: u64,
}

impl Tool for Slow {
    const NAME: &'static str = "test_slow";
    const ACCESS: Access = Access::Read;
    const GROUP: &'static str = "Test";
    type Output = Value;
    async fn run(self, cx: &Cx, _: &Call) -> Result<Value> {
        let before = cx.tasks.len();
        tokio::time::sleep(Duration::from_millis(self.ms)).await;
        Ok(json!({ "ms": self.ms, "at_once": before }))
    }
}

/// Give back many characters.
#[derive(Deserialize, JsonSchema)]
struct Big {
    chars: usize,
}

impl Tool for Big {
    const NAME: &'static str = "test_big";
    const ACCESS: Access = Access::Read;
    const GROUP: &'static str = "Test";
    type Output = Value;
    async fn run(self, _: &Cx, _: &Call) -> Result<Value> {
        Ok(json!({ "content": format!("{}END", "x".repeat(self.chars)) }))
    }
}

/// Read a page of the web.
#[derive(Deserialize, JsonSchema)]
struct Page {
    text: String,
    /// Whether a stranger wrote it.
    #[serde(default)]
    strange: bool,
}

impl Tool for Page {
    const NAME: &'static str = "test_page";
    const ACCESS: Access = Access::Read;
    const GROUP: &'static str = "Test";
    const RESULT_ORIGIN: Origin = Origin::Web;
    type Output = Value;
    fn origin(page: &Value) -> Origin {
        if page["strange"] == true { Origin::Stranger } else { Self::RESULT_ORIGIN }
    }
    async fn run(self, _: &Cx, _: &Call) -> Result<Value> {
        Ok(json!({ "page": self.text, "strange": self.strange }))
    }
}

/// Add a line to a file, by way of the ledger. `stall` leaves it under way.
#[derive(Deserialize, JsonSchema)]
struct Put {
    line: String,
    /// `before`: hangs before it is done, `after`: when it is done and settled.
    #[serde(default)]
    stall: Option<String>,
}

impl Tool for Put {
    const NAME: &'static str = "test_put";
    const ACCESS: Access = Access::Write;
    const GROUP: &'static str = "Test";
    type Output = Value;
    async fn run(self, cx: &Cx, call: &Call) -> Result<Value> {
        let (now, new) = (
            cx.clock.now(),
            NewEffect {
                job_id: Some(call.job_id),
                call_key: Some(call.key.to_string()),
                tool: Self::NAME.into(),
                target: self.line.clone(),
                args_hash: call.args_hash.to_string(),
                origin: call.origin,
                rule: call.rule.to_string(),
                detail: json!({}),
            },
        );
        let id = cx
            .store
            .write(move |tx| {
                let id = ledger::prepare(tx, now, &new)?;
                ledger::dispatch(tx, now, id)?;
                Ok(id)
            })
            .await?;
        if self.stall.as_deref() == Some("before") {
            hang(cx).await;
        }
        let path = cx.state_dir.join("workspace/lines");
        let mut lines = std::fs::read_to_string(&path).unwrap_or_default();
        lines.push_str(&self.line);
        lines.push('\n');
        std::fs::write(&path, lines).unwrap();
        cx.store.write(move |tx| ledger::settle(tx, now, id, EffectState::Confirmed, None)).await?;
        if self.stall.as_deref() == Some("after") {
            hang(cx).await;
        }
        Ok(json!({ "put": self.line }))
    }
}

/// Leaves word that it hangs, and hangs.
async fn hang(cx: &Cx) {
    std::fs::write(cx.state_dir.join(HANGS), "").unwrap();
    std::future::pending::<()>().await;
}

/// In the state directory, while a tool hangs or waits.
pub(in crate::agent) const HANGS: &str = "hangs";

/// End when the daemon stops.
#[derive(Deserialize, JsonSchema)]
struct UntilStop {}

impl Tool for UntilStop {
    const NAME: &'static str = "test_until_stop";
    const ACCESS: Access = Access::Read;
    const GROUP: &'static str = "Test";
    type Output = Value;
    async fn run(self, cx: &Cx, _: &Call) -> Result<Value> {
        std::fs::write(cx.state_dir.join(HANGS), "").unwrap();
        cx.stop.cancelled().await;
        Ok(json!({ "stopped": true }))
    }
}

/// Panic.
#[derive(Deserialize, JsonSchema)]
struct Panics {}

impl Tool for Panics {
    const NAME: &'static str = "test_panics";
    const ACCESS: Access = Access::Read;
    const GROUP: &'static str = "Test";
    type Output = Value;
    async fn run(self, _: &Cx, _: &Call) -> Result<Value> {
        panic!("as it was told to")
    }
}

/// Never end.
#[derive(Deserialize, JsonSchema)]
struct Hangs {}

impl Tool for Hangs {
    const NAME: &'static str = "test_hangs";
    const ACCESS: Access = Access::Read;
    const GROUP: &'static str = "Test";
    type Output = Value;
    async fn run(self, _: &Cx, _: &Call) -> Result<Value> {
        std::future::pending().await
    }
}

/// Refuse with a reason.
#[derive(Deserialize, JsonSchema)]
struct Refuses {}

impl Tool for Refuses {
    const NAME: &'static str = "test_refuses";
    const ACCESS: Access = Access::Write;
    const GROUP: &'static str = "Test";
    type Output = Value;
    async fn run(self, _: &Cx, _: &Call) -> Result<Value> {
        Err(Error::conflict("it is a directory").field("path").hint("name a file in it"))
    }
}

/// Ask a model of its own.
#[derive(Deserialize, JsonSchema)]
struct Asks {
    tokens: u64,
}

impl Tool for Asks {
    const NAME: &'static str = "test_asks";
    const ACCESS: Access = Access::Read;
    const GROUP: &'static str = "Test";
    type Output = Value;
    async fn run(self, _: &Cx, call: &Call) -> Result<Value> {
        call.tokens.add(self.tokens);
        Ok(json!({ "number": fastrand::u32(..) }))
    }
}

/// Not there.
#[derive(Deserialize, JsonSchema)]
struct Missing {}

impl Tool for Missing {
    const NAME: &'static str = "test_missing";
    const ACCESS: Access = Access::Read;
    const GROUP: &'static str = "Test";
    const ABSENT: Option<&'static str> = Some("it is switched off, do without");
    type Output = Value;
    fn exists(_: &Cx) -> bool {
        false
    }
    async fn run(self, _: &Cx, _: &Call) -> Result<Value> {
        Ok(Value::Null)
    }
}
