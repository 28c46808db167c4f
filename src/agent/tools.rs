//! Tools: one struct per tool. Its fields are the arguments, its doc comment is what the model reads, `run` is what it
//! does, and one line in its subsystem's `TOOLS` registers it.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    config::Config,
    cx::Cx,
    error::{Error, ErrorKind, Result},
    jobs::Lease,
    llm::{BoxFuture, ToolSpec},
    policy::{Access, Origin},
};
use assistant_api::{
    JobId,
    effects::{Effect, EffectState},
};

/// What a call knows of the job that it belongs to.
#[derive(Clone, Debug)]
pub struct Call {
    pub job_id: JobId,
    /// An effect is begun only while this is held, checked in the transaction that writes the effect down: a job that was
    /// cancelled or taken back does nothing more.
    pub lease: Lease,
    /// Unique within the job and the same when a resumed run repeats the call: `<step seq>:<index>`.
    pub key: Arc<str>,
    /// The least trusted origin that reached the model before this call.
    pub origin: Origin,
    /// The policy rule that let it pass.
    pub rule: Arc<str>,
    /// SHA-256 of tool name and resolved arguments, hexadecimal.
    pub args_hash: Arc<str>,
    /// What the call uses at a model.
    pub tokens: Tokens,
}

/// Tokens that a tool call used at a model: they count against the run's as those of its own answers do.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Arc<AtomicU64>);

impl Tokens {
    /// So many more.
    pub fn add(&self, tokens: u64) {
        self.0.fetch_add(tokens, Ordering::Relaxed);
    }

    /// So many so far.
    pub fn used(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One tool.
pub trait Tool: DeserializeOwned + JsonSchema + Send + 'static {
    /// `noun_verb`.
    const NAME: &'static str;
    /// What kind of thing it does; decides policy and concurrency.
    const ACCESS: Access;
    /// The guardrail group whose text is given when it is loaded, such as `Files`.
    const GROUP: &'static str;
    /// The origin of what it returns, unless [`Tool::origin`] says another one.
    const RESULT_ORIGIN: Origin = Origin::Tool;
    /// What the system prompt says where it does not exist, so that a model does not look for it: why, and what to do
    /// without.
    const ABSENT: Option<&'static str> = None;
    /// What the model gets, as JSON.
    type Output: Serialize + Send;

    /// Where this output came from: text that came from others keeps its origin, whatever tool hands it over.
    fn origin(_output: &Self::Output) -> Origin {
        Self::RESULT_ORIGIN
    }

    /// Whether it exists as the daemon is configured: one that does not is in no catalogue and cannot be called.
    fn exists(_cx: &Cx) -> bool {
        true
    }

    /// How long a call with these arguments may take; `None`: `limits.tool_timeout_default_seconds`.
    fn time_limit(_arguments: &Value, _config: &Config) -> Option<Duration> {
        None
    }

    /// Does it. An error is told to the model; it never ends the run.
    fn run(self, cx: &Cx, call: &Call) -> impl Future<Output = Result<Self::Output>> + Send;

    /// Whether its effects go on without the run that prepared them, over restarts too: a loop of its own brings them to
    /// their end. A call that is repeated after a crash takes up what there is.
    const LASTING: bool = false;

    /// Finds out what became of an effect of this tool that a crash left `dispatched`. A tool that cannot tell leaves it
    /// `unknown`, and a person decides; it is never blindly done again.
    fn reconcile(_cx: &Cx, _effect: &Effect) -> impl Future<Output = Result<EffectState>> + Send {
        async { Ok(EffectState::Unknown) }
    }
}

/// What a call gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// What the model gets.
    pub value: Value,
    /// Where it came from.
    pub origin: Origin,
}

type Run = fn(Cx, Call, Value) -> BoxFuture<'static, Result<Output>>;
type Reconcile = for<'a> fn(&'a Cx, &'a Effect) -> BoxFuture<'a, Result<EffectState>>;

/// A tool with its types erased, so that it can stand in a list.
pub struct ToolDef {
    pub name: &'static str,
    pub access: Access,
    pub group: &'static str,
    /// Of its errors, and of its results unless they carry another one.
    pub result_origin: Origin,
    pub schema: fn() -> Value,
    /// [`Tool::exists`]
    pub exists: fn(&Cx) -> bool,
    /// [`Tool::LASTING`]
    pub lasting: bool,
    /// [`Tool::ABSENT`]
    pub absent: Option<&'static str>,
    /// [`Tool::time_limit`]
    pub time_limit: fn(&Value, &Config) -> Option<Duration>,
    pub run: Run,
    pub reconcile: Reconcile,
}

impl ToolDef {
    /// Erases the types of a tool.
    pub const fn of<T: Tool>() -> Self {
        Self {
            name: T::NAME,
            access: T::ACCESS,
            group: T::GROUP,
            result_origin: T::RESULT_ORIGIN,
            schema: schema_of::<T>,
            exists: T::exists,
            lasting: T::LASTING,
            absent: T::ABSENT,
            time_limit: T::time_limit,
            run: run::<T>,
            reconcile: |cx, effect| Box::pin(T::reconcile(cx, effect)),
        }
    }

    /// What a model is told of it.
    pub fn spec(&self) -> ToolSpec {
        spec_of(self.name, (self.schema)())
    }
}

/// A schema's description is the tool's.
pub(super) fn spec_of(name: &str, mut parameters: Value) -> ToolSpec {
    let description = parameters
        .as_object_mut()
        .and_then(|object| object.remove("description"))
        .and_then(|text| text.as_str().map(str::to_owned))
        .unwrap_or_default();
    ToolSpec { name: name.to_owned(), description, parameters }
}

/// The JSON Schema of a tool's arguments, its doc comment as the description.
pub(super) fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.remove("title");
    schema.to_value()
}

fn run<T: Tool>(cx: Cx, call: Call, arguments: Value) -> BoxFuture<'static, Result<Output>> {
    Box::pin(async move {
        let tool: T = serde_json::from_value(arguments)
            .map_err(|err| Error::validation(format!("the arguments of {} do not fit: {err}", T::NAME)))?;
        let output = tool.run(&cx, &call).await?;
        let origin = T::origin(&output);
        Ok(Output { value: serde_json::to_value(output).map_err(Error::internal)?, origin })
    })
}

/// What the model is told of an error: the one place that maps kinds to words for it.
pub fn error_result(error: &Error) -> Value {
    let text = match error.kind() {
        ErrorKind::Internal => "internal error; the details are in the journal. Try another way, or call task_failed",
        _ => error.message(),
    };
    let mut result = serde_json::json!({ "error": text, "kind": error.kind().as_str() });
    if let Some(field) = error.field_name() {
        result["field"] = field.into();
    }
    if let Some(hint) = error.hint_text() {
        result["hint"] = hint.into();
    }
    result
}
