//! The job's context: the first message of a conversation, and what is told later.

use std::fmt::Write as _;

use assistant_api::{effects::Effect, jobs::Job};
use jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;

use crate::{
    agent::{
        segment::{self, Fence},
        steps::{self, NoteBody, PromptBody, Why},
        store::Item,
    },
    jobs::{
        instructions::{Instruction, InstructionKind},
        steps::{NewStep, StepKind},
    },
    policy::Origin,
};

/// Characters up to which an older item of the thread is given whole.
const SHORT_ITEM: usize = 1200;
/// Characters of an older item that is not.
const ITEM_PREVIEW: usize = 600;
/// Items of a thread that are given.
pub(crate) const ITEMS: i64 = 10;
/// Items that news are made of.
pub(crate) const NEWS: i64 = 3;
/// Effects that are listed.
pub(crate) const EFFECTS: i64 = 40;

/// What the first message is made of.
pub(crate) struct Context<'a> {
    pub job: &'a Job,
    /// Oldest first; the last one is what the job is about now.
    pub items: &'a [Item],
    /// Newest first.
    pub effects: &'a [Effect],
    /// What people told the job in earlier epochs.
    pub told: &'a [(String, Origin)],
    /// Whether an ended job starts over.
    pub again: bool,
    /// The least trusted origin of the job's earlier epochs.
    pub earlier_origin: Origin,
    pub now: Timestamp,
    pub zone: &'a TimeZone,
    pub max_body_chars: usize,
}

/// The first step: the system prompt and the job's context.
pub(crate) fn first(context: &Context<'_>, system: String, fence: &Fence) -> NewStep {
    let mut origin = least(context.items.iter().map(|item| item.origin).chain(context.told.iter().map(|told| told.1)));
    if context.again {
        origin = origin.least(context.earlier_origin);
    }
    let body = PromptBody {
        user: Some(user(context, fence)),
        nonce: fence.nonce().to_owned(),
        seen_item: context.items.iter().map(|item| item.id).max().unwrap_or(0),
        tools: false,
    };
    NewStep { text: Some(system), ..steps::new(StepKind::Prompt, &body, origin) }
}

/// Another system prompt for a conversation that has begun.
pub(crate) fn replaced(system: String) -> NewStep {
    NewStep { text: Some(system), ..steps::new(StepKind::Prompt, &PromptBody::default(), Origin::Host) }
}

/// What the model may be told of the tools.
pub(crate) fn tools(specs: String) -> NewStep {
    let body = PromptBody { tools: true, ..PromptBody::default() };
    NewStep { text: Some(specs), ..steps::new(StepKind::Prompt, &body, Origin::Host) }
}

fn user(context: &Context<'_>, fence: &Fence) -> String {
    // Nothing that others wrote stands outside of a fence, not even a title or an address.
    let job = context.job;
    let mut text = format!("Job {}. {}\n", job.id, clock(context.now, context.zone));
    if context.items.last().is_none_or(|item| item.subject != job.task_summary) {
        let origin = least(context.items.iter().map(|item| item.origin)).least(context.earlier_origin);
        let _ = writeln!(text, "{}", fence.wrap("title", origin, &segment::line(&job.task_summary, 240)));
    }
    text.push_str(requirement(context.items));
    text.push_str("\n\n");
    let last = context.items.len().saturating_sub(1);
    for (at, item) in context.items.iter().enumerate() {
        let label = if at == last { "The task:" } else { "Earlier in this thread:" };
        let most = if at == last { context.max_body_chars } else { SHORT_ITEM };
        let _ = writeln!(text, "{label}\n{}\n", item_text(item, at == last, most, fence));
    }
    if let Some(attached) = attached(context.items, fence) {
        let _ = writeln!(text, "{attached}\n");
    }
    if !context.told.is_empty() {
        text.push_str("You were told before:\n");
        for (told, origin) in context.told {
            let _ = writeln!(text, "{}\n", fence.wrap("instruction", *origin, &segment::cut(told, SHORT_ITEM)));
        }
    }
    if context.again {
        text.push_str(&earlier_answer(context, fence));
    }
    if let Some(done) = effects(context.effects, fence) {
        text.push_str(&done);
    }
    text.trim_end().to_owned()
}

/// Who waits for the result.
fn requirement(items: &[Item]) -> &'static str {
    let from = items.last().map_or("", |item| item.from.as_str());
    if from.is_empty() || from.to_ascii_lowercase().ends_with("@local") {
        "The `response` of task_complete is the final answer; nothing else has to be sent to anybody."
    } else {
        "The `response` of task_complete is what the sender of the task gets."
    }
}

fn least(origins: impl Iterator<Item = Origin>) -> Origin {
    origins.fold(Origin::Owner, Origin::least)
}

/// The attachments of items, one per line.
fn attached(items: &[Item], fence: &Fence) -> Option<String> {
    let lines: Vec<_> = items
        .iter()
        .flat_map(|item| &item.attachments)
        .filter_map(attachment)
        .map(|line| format!("- {line}"))
        .collect();
    if lines.is_empty() {
        return None;
    }
    let origin = least(items.iter().filter(|item| !item.attachments.is_empty()).map(|item| item.origin));
    let all =
        items.iter().flat_map(|item| &item.attachments).all(|value| value.is_string() || value["path"].is_string());
    let lead =
        if all { "Attached, in the workspace:" } else { "Attached; what is readable has its path in the workspace:" };
    Some(format!("{lead}\n{}", fence.wrap("attachments", origin, &lines.join("\n"))))
}

fn item_text(item: &Item, whole: bool, most: usize, fence: &Fence) -> String {
    let body = if whole || segment::chars(&item.body) <= most {
        segment::cut(item.body.trim_end(), most)
    } else {
        segment::cut(&item.body, ITEM_PREVIEW)
    };
    let head = format!(
        "From: {}\nTo: {}\nSubject: {}\nReceived: {}\n\n{body}",
        segment::line(&item.from, 200),
        segment::line(&item.to.join(", "), 400),
        segment::line(&item.subject, 240),
        item.received_at,
    );
    fence.wrap("thread item", item.origin, &head)
}

/// One attachment as it is named: its path, or what is known of it.
fn attachment(value: &Value) -> Option<String> {
    let path = value.as_str().or_else(|| value["path"].as_str()).or_else(|| value["filename"].as_str())?;
    let mut line = segment::line(path, 500);
    match (value["kind"].as_str(), value["size_bytes"].as_u64()) {
        (Some("directory"), _) => line.push_str(" (directory)"),
        (_, Some(bytes)) => {
            let _ = write!(line, " ({bytes} bytes)");
        }
        _ => {}
    }
    let said = |key: &str| value[key].as_str().map(|text| segment::line(text, 300));
    match (value["path"].as_str(), said("filename"), said("error")) {
        (Some(_), Some(name), _) if value["artifact_id"].is_i64() => {
            let _ = write!(line, ", the text of {name}");
        }
        (None, _, Some(error)) => {
            let _ = write!(line, ", not readable: {error}");
        }
        (None, _, None) if value["conversion_status"] == "pending" => line.push_str(", not readable yet"),
        _ => {}
    }
    Some(line)
}

fn earlier_answer(context: &Context<'_>, fence: &Fence) -> String {
    let metadata = &context.job.metadata;
    let Some(answer) = metadata.get("final_response").and_then(Value::as_str) else {
        return match &context.job.last_error {
            Some(error) => format!(
                "This job ran before and ended without a result:\n{}\n\n",
                fence.wrap("earlier end", Origin::Tool.least(context.earlier_origin), &segment::cut(error, SHORT_ITEM))
            ),
            None => String::new(),
        };
    };
    format!(
        "This job was answered before, and now it runs again; take the earlier answer into account:\n{}\n\n",
        fence.wrap(
            "earlier answer",
            Origin::Tool.least(context.earlier_origin),
            &segment::cut(answer, context.max_body_chars)
        )
    )
}

/// What the job has done that outlives it, newest first.
fn effects(effects: &[Effect], fence: &Fence) -> Option<String> {
    if effects.is_empty() {
        return None;
    }
    let origin = effects.iter().filter_map(|effect| effect.origin.parse().ok()).fold(Origin::Host, Origin::least);
    let lines: Vec<_> = effects
        .iter()
        .map(|effect| {
            let target = segment::line(&effect.target, 300);
            format!("{} {} {target} ({})", effect.prepared_at, effect.tool, effect.state.as_str())
        })
        .collect();
    Some(format!(
        "What this job has done already, newest first. Do not repeat any of it:\n{}\n\n",
        fence.wrap("ledger", origin, &lines.join("\n"))
    ))
}

/// The time, as it is told.
fn clock(now: Timestamp, zone: &TimeZone) -> String {
    let local = now.to_zoned(zone.clone());
    format!(
        "It is {} UTC; {} in {}.",
        now.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M"),
        local.strftime("%A, %Y-%m-%d %H:%M"),
        zone.iana_name().unwrap_or("the local zone"),
    )
}

/// What the model is told when a run goes on after a stop.
pub(crate) fn resumed(now: Timestamp, zone: &TimeZone, done: &[Effect], fence: &Fence) -> String {
    let mut text = format!("The work on this job goes on after a pause. {}", clock(now, zone));
    if let Some(done) = effects(done, fence) {
        text.push_str("\n\n");
        text.push_str(done.trim_end());
    }
    text
}

const NOT_ENDED: &str =
    "It came in before the job ended, so the job goes on. Take it into account and end the job again.";

/// What people told the job, one note each; `at_end`: while the run was about to end.
pub(crate) fn instruction_notes(instructions: &[Instruction], at_end: bool, fence: &Fence) -> Vec<NewStep> {
    instructions
        .iter()
        .map(|instruction| {
            let (lead, what) = match instruction.kind {
                InstructionKind::Answer => ("The answer to your question:", "answer"),
                InstructionKind::Override => ("The job was looked at and may go on:", "instruction"),
                InstructionKind::Instruction => ("You are told while you work:", "instruction"),
            };
            let mut text = format!("{lead}\n{}", fence.wrap(what, instruction.origin, &instruction.text));
            if at_end {
                text.push('\n');
                text.push_str(NOT_ENDED);
            }
            note(text, Why::Instruction, None, instruction.origin)
        })
        .collect()
}

/// What is new in the thread, the newest item whole up to `most` characters; `at_end`: it came in while the run was
/// about to end.
pub(crate) fn news_note(items: &[Item], at_end: bool, fence: &Fence, most: usize) -> Option<NewStep> {
    let newest = items.iter().map(|item| item.id).max()?;
    let origin = least(items.iter().map(|item| item.origin));
    let mut text = String::from("New in the thread of this job:");
    for item in items {
        let whole = item.id == newest;
        text.push_str("\n\n");
        text.push_str(&item_text(item, whole, if whole { most } else { SHORT_ITEM }, fence));
    }
    if let Some(attached) = attached(items, fence) {
        text.push_str("\n\n");
        text.push_str(&attached);
    }
    if at_end {
        text.push_str("\n\n");
        text.push_str(NOT_ENDED);
    }
    Some(note(text, Why::NewContext, Some(newest), origin))
}

fn note(text: String, why: Why, seen_item: Option<i64>, origin: Origin) -> NewStep {
    steps::new(StepKind::Note, &NoteBody { text, why, seen_item }, origin)
}
