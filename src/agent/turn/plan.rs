//! What is to be done with each call of an answer, decided at once: all of them were written before any result was seen.

use serde_json::{Value, json};

use super::{
    Turn,
    effects::{Known, Row, ToRun},
};
use crate::{
    agent::{
        control::{self, Control},
        history::Entry,
        parse, segment,
        tools::ToolDef,
    },
    jobs::{
        NeedsWhat, Outcome,
        approvals::{Approval, ApprovalState, NewApproval},
    },
    llm::ToolCall,
    policy::{self, Origin, Verdict},
};
use assistant_api::effects::EffectState;

/// The calls of one answer and how far they have come.
pub(super) struct Batch {
    pub(super) calls: std::collections::VecDeque<Planned>,
}

/// One call.
pub(super) struct Planned {
    pub(super) index: usize,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) what: What,
}

/// What is done with it.
pub(super) enum What {
    /// Nothing is run: this is its result.
    Reply {
        result: Value,
        ok: bool,
        loaded: Vec<String>,
    },
    Run(Box<ToRun>),
    /// A person has to see it first.
    Approve {
        approval: Box<NewApproval>,
        outcome: Outcome,
    },
    /// The run ends with it.
    End {
        outcome: Outcome,
        result: Value,
    },
}

impl What {
    fn refuse(result: Value) -> Self {
        Self::Reply { result, ok: false, loaded: Vec::new() }
    }
}

/// Characters of an argument that a log row shows.
const LOGGED: usize = 500;

impl Turn {
    /// Plans one call; `known` is what a former run may have begun of it.
    pub(super) fn plan_call(
        &mut self,
        step: i64,
        index: usize,
        call: &ToolCall,
        cut_off: bool,
        known: Option<&Known>,
    ) -> Planned {
        let what = match parse::arguments(&call.arguments, cut_off) {
            Ok(arguments) => self.understood(step, index, call, arguments, known),
            Err(error) => {
                self.log_call(call, &json!({ "raw_arguments": segment::cut(&call.arguments, 500) }), "none");
                What::refuse(error)
            }
        };
        let goes_by_it = match &what {
            What::Approve { .. } => true,
            What::Run(run) => run.approval.is_some(),
            What::Reply { .. } | What::End { .. } => false,
        };
        let undecided =
            |approval: &&Approval| matches!(approval.state, ApprovalState::Pending | ApprovalState::Approved);
        if let Some(approval) = known.and_then(|known| known.approval.as_ref()).filter(undecided)
            && !goes_by_it
        {
            self.out.void.push(approval.id);
        }
        Planned { index, id: call.id.clone(), name: call.name.clone(), what }
    }

    fn understood(
        &mut self,
        step: i64,
        index: usize,
        call: &ToolCall,
        mut arguments: serde_json::Map<String, Value>,
        known: Option<&Known>,
    ) -> What {
        if let Some(read) = control::read(&call.name, arguments.clone()) {
            self.log_call(call, &Value::Object(arguments), "control");
            return match read {
                Ok(control) => self.control(control),
                Err(error) => What::refuse(error),
            };
        }
        let (Some(tool), Some(schema)) = (self.toolbox.get(&call.name), self.toolbox.schema(&call.name)) else {
            self.log_call(call, &Value::Object(arguments), "none");
            let mut error = json!({ "error": format!("there is no tool {}", call.name), "kind": "not_found" });
            let like = self.toolbox.like(&call.name);
            error["hint"] = if like.is_empty() {
                "the catalogue in the system prompt names every tool".into()
            } else {
                format!("perhaps {}", like.join(", ")).into()
            };
            return What::refuse(error);
        };
        parse::coerce(schema, &mut arguments);
        let arguments = Value::Object(arguments);
        let origin = self.history.origin;
        let decision = policy::decide(
            &self.settings.config.policy.rules,
            tool.name,
            tool.access,
            &arguments,
            origin,
            self.settings.requester.as_deref(),
        );
        self.log_call(call, &arguments, &decision.rule);
        let key = format!("{step}:{index}");
        let args_hash = parse::args_hash(tool.name, &arguments);
        if let Some(what) = begun_before(tool, known) {
            return what;
        }
        let mut run =
            ToRun { index, key, tool, arguments, args_hash, origin, rule: decision.rule.clone(), approval: None };
        match decision.verdict {
            Verdict::Allow => What::Run(Box::new(run)),
            Verdict::Deny(reason) => {
                self.log_policy(&run, "deny", &reason);
                What::refuse(json!({ "error": format!("not allowed: {reason}"), "kind": "forbidden" }))
            }
            Verdict::Ask(reason) => {
                let approval = known.and_then(|known| known.approval.as_ref());
                match approval.filter(|approval| approval.args_hash == run.args_hash) {
                    Some(approval) if approval.state == ApprovalState::Approved => {
                        self.log_policy(&run, "approved", &reason);
                        run.approval = Some(approval.id);
                        What::Run(Box::new(run))
                    }
                    // It was used for this very call, which a crash kept from beginning.
                    Some(approval) if approval.state == ApprovalState::Used => What::Run(Box::new(run)),
                    Some(approval) if approval.state == ApprovalState::Denied => {
                        let why = approval.decision_reason.as_deref().unwrap_or("no reason given");
                        self.log_policy(&run, "denied", why);
                        What::refuse(json!({ "error": format!("denied by the owner: {why}"), "kind": "forbidden" }))
                    }
                    _ => {
                        self.log_policy(&run, "ask", &reason);
                        ask(run, reason)
                    }
                }
            }
        }
    }

    fn control(&mut self, control: Control) -> What {
        match control {
            Control::Load(wanted) => {
                let exists = |name: &str| self.toolbox.group(name);
                let (result, loaded) = control::load_result(&wanted, &exists, &self.history.loaded);
                What::Reply { result, ok: !loaded.is_empty(), loaded }
            }
            Control::Complete(done) => What::End {
                outcome: self.completed(&done.summary, &done.response),
                result: json!({ "status": "accepted" }),
            },
            Control::Fail(failed) => What::End {
                outcome: Outcome::Failed { reason: failed.reason.trim().to_owned() },
                result: json!({ "status": "accepted" }),
            },
            Control::Ask(ask) => What::End {
                outcome: Outcome::NeedsReview { needs: NeedsWhat::Answer, reason: ask.review_reason() },
                result: json!({ "status": "paused", "message": "the question was passed on; the answer follows below" }),
            },
            Control::MoreRoom(more) => What::End {
                outcome: Outcome::NeedsReview { needs: NeedsWhat::Limits, reason: more.review_reason() },
                result: json!({ "status": "paused", "message": "a person decides; the job goes on with what they grant" }),
            },
        }
    }

    /// The end that the model gave a former run, and that a crash kept the job from hearing of. A pause is no such end:
    /// a person has let the job go on since; nor is one that news came after.
    pub(super) fn ended_before(&self) -> Option<Outcome> {
        let entries = &self.history.entries;
        let at = entries.iter().rposition(|placed| matches!(placed.entry, Entry::Answer(_)))?;
        let (Entry::Answer(answer), results) = (&entries[at].entry, &entries[at + 1..]) else { return None };
        if results.iter().any(|placed| matches!(placed.entry, Entry::Note(_))) {
            return None;
        }
        results.iter().find_map(|placed| {
            let Entry::Result(result) = &placed.entry else { return None };
            let call = answer.calls.get(result.index).filter(|_| result.ok)?;
            match control::read(&call.name, parse::arguments(&call.arguments, false).ok()?)?.ok()? {
                Control::Complete(done) => Some(self.completed(&done.summary, &done.response)),
                Control::Fail(failed) => Some(Outcome::Failed { reason: failed.reason.trim().to_owned() }),
                Control::Load(_) | Control::Ask(_) | Control::MoreRoom(_) => None,
            }
        })
    }

    fn completed(&self, summary: &str, response: &str) -> Outcome {
        let (mut summary, mut response) = (segment::line(summary, 500), response.trim().to_owned());
        if self.history.rehearsed() {
            summary = format!("[rehearsed] {summary}");
            response.push_str("\n\n[rehearsed: a recording answered in a model's place]");
        }
        Outcome::Completed { summary, response }
    }

    fn log_call(&mut self, call: &ToolCall, arguments: &Value, rule: &str) {
        self.out.logs.push(Row {
            event_type: "tool_call",
            tool_name: Some(call.name.clone()),
            input: Some(json!({
                "arguments": for_log(arguments),
                "rule": rule,
                "origin": self.history.origin.as_str(),
            })),
            ..Row::default()
        });
    }

    fn log_policy(&mut self, run: &ToRun, verdict: &str, reason: &str) {
        self.out.logs.push(Row {
            event_type: "policy",
            tool_name: Some(run.tool.name.to_owned()),
            tool_action: Some(verdict.to_owned()),
            output: Some(json!({
                "rule": run.rule,
                "origin": run.origin.as_str(),
                "reason": reason,
                "args_hash": run.args_hash,
            })),
            ..Row::default()
        });
    }
}

/// What the ledger says of a call that a former run may have begun; `None`: it can be run.
fn begun_before(tool: &ToolDef, known: Option<&Known>) -> Option<What> {
    let state = known?.effect?;
    // What lasts without a run is taken up by the call itself.
    if tool.access == policy::Access::Read || tool.lasting {
        return None;
    }
    let tool = tool.name;
    match state {
        EffectState::Prepared | EffectState::Failed => None,
        EffectState::Confirmed => Some(What::Reply {
            result: json!({
                "status": "done",
                "message": format!("{tool} was done before the run was interrupted; it was not done again"),
            }),
            ok: true,
            loaded: Vec::new(),
        }),
        EffectState::Dispatched | EffectState::Unknown => Some(What::refuse(json!({
            "error": format!("the run was interrupted while {tool} was under way, and nobody can tell whether it happened; it was not done again"),
            "kind": "unknown_effect",
            "hint": "find out by looking, and do it again only if it certainly did not happen",
        }))),
    }
}

fn ask(run: ToRun, reason: String) -> What {
    let shown = format!("{} {}: {reason}", run.tool.name, segment::cut(&run.arguments.to_string(), 2000));
    What::Approve {
        outcome: Outcome::NeedsReview { needs: NeedsWhat::Approval, reason: shown },
        approval: Box::new(NewApproval {
            call_key: run.key,
            tool: run.tool.name.to_owned(),
            args: run.arguments,
            args_hash: run.args_hash,
            reason,
            rule: run.rule,
        }),
    }
}

/// Arguments with long texts cut.
pub(super) fn for_log(value: &Value) -> Value {
    match value {
        Value::String(text) => segment::cut(text, LOGGED).into(),
        Value::Array(items) => items.iter().take(100).map(for_log).collect(),
        Value::Object(map) => map.iter().map(|(key, item)| (key.clone(), for_log(item))).collect(),
        other => other.clone(),
    }
}

/// Where a result comes from when no tool was run.
pub(super) const REPLY_ORIGIN: Origin = Origin::Host;
