//! The machine as a table: what happens, and what it wants done. No I/O.

use std::fmt::Write as _;

use assistant_api::{ApprovalId, JobId, effects::EffectState};
use serde_json::Value;

use super::{
    effects::{Known, Ran},
    *,
};
use crate::{
    agent::{
        parse,
        steps::{AnswerBody, PromptBody},
        tests::tools::TOOLS,
    },
    jobs::{
        approvals::{Approval, ApprovalState},
        spend::{Cap, OverCap, ReservationId},
    },
    llm::{Answer, LlmError, Stop, ToolCall, Usage},
};

/// One thing that happens to the machine.
enum Do {
    /// The run begins, with a first prompt.
    Begin,
    /// The commit is stored, with notes of people.
    Stored(&'static [&'static str]),
    /// The commit is stored and money is set aside.
    Reserved,
    OverCap,
    /// The model calls tools: names and arguments.
    Calls(&'static [(&'static str, &'static str)]),
    Says(&'static str),
    /// As `Calls`, cut off by the token limit.
    CutOff(&'static [(&'static str, &'static str)]),
    /// After this many attempts that may have cost something.
    Fails(LlmError, u32),
    /// Completes, after attempts that were lost.
    DoneAfter(u32),
    /// Results of calls, by their index.
    Ran(&'static [usize]),
    /// From now on the daemon stops.
    Stop,
    Deadline(u32),
    /// Time passes.
    Wait(u64),
}
use Do::{
    Begin, Calls, CutOff, Deadline as Late, DoneAfter, Fails, OverCap as Poor, Ran as Gave, Reserved, Says,
    Stop as Halt, Stored, Wait,
};

fn machine(change: impl FnOnce(&mut Config)) -> Turn {
    let mut config = Config::default();
    change(&mut config);
    let settings = Settings {
        requester: None,
        max_iterations: config.limits.max_iterations_per_task.into(),
        max_tokens: config.limits.max_tokens_per_task.into(),
        max_time: config.limits.max_run_seconds.0,
        config: Arc::new(config),
    };
    Turn::new(settings, Arc::new(Toolbox::new(TOOLS)), History::new(1))
}

fn prompt() -> NewStep {
    let body = PromptBody { user: Some("do it".into()), nonce: "0123456789abcdef".into(), ..PromptBody::default() };
    NewStep { text: Some("system".into()), ..steps::new(StepKind::Prompt, &body, Origin::Owner) }
}

fn answer(text: &str, calls: &[(&str, &str)]) -> Answer {
    let calls = calls
        .iter()
        .map(|(name, arguments)| ToolCall { id: String::new(), name: (*name).into(), arguments: (*arguments).into() })
        .collect();
    let usage = Usage { input_tokens: 9, output_tokens: 1, total_tokens: 10, ..Usage::default() };
    Answer { text: text.into(), calls, usage: Some(usage), model: "m".into(), ..Answer::default() }
}

/// Plays what happens and writes down what the machine wants, one line each.
fn trace(turn: &mut Turn, script: Vec<Do>) -> Vec<String> {
    let mut now = Now::default();
    let mut lines = Vec::new();
    for happened in script {
        let event = match happened {
            Begin => Event::Begin(Box::new(Before { prompts: vec![prompt()], ..Before::default() })),
            Stored(notes) => {
                let note = |text: &&str| {
                    let body = NoteBody { text: (*text).into(), why: Why::Instruction, seen_item: None };
                    steps::new(StepKind::Note, &body, Origin::Owner)
                };
                Event::Committed(Committed { notes: notes.iter().map(note).collect(), reserved: None, done: None })
            }
            Reserved => {
                let reservation = Reservation { id: ReservationId(1), nanos: 500 };
                Event::Committed(Committed { notes: Vec::new(), reserved: Some(Ok(reservation)), done: None })
            }
            Poor => {
                let over = OverCap { which: Cap::Day, cap_nanos: 10, used_nanos: 9, wanted_nanos: 2 };
                Event::Committed(Committed { notes: Vec::new(), reserved: Some(Err(over)), done: None })
            }
            Calls(calls) => Event::Answered { answer: Box::new(answer("", calls)), took: Duration::ZERO, lost: 0 },
            CutOff(calls) => {
                let answer = Answer { stop: Stop::Length, ..answer("", calls) };
                Event::Answered { answer: Box::new(answer), took: Duration::ZERO, lost: 0 }
            }
            Says(text) => Event::Answered { answer: Box::new(answer(text, &[])), took: Duration::ZERO, lost: 0 },
            Fails(error, lost) => Event::AskFailed { error, took: Duration::ZERO, lost },
            DoneAfter(lost) => {
                let answer = Answer { cost_nanos: Some(70), ..answer("", &[DONE]) };
                Event::Answered { answer: Box::new(answer), took: Duration::ZERO, lost }
            }
            Gave(indexes) => {
                let ran = |index: &usize| Ran {
                    index: *index,
                    result: Ok(json!({ "index": index }).to_string()),
                    origin: Origin::Tool,
                    cached: None,
                    took: Duration::from_millis(1),
                    tokens: 0,
                };
                Event::Ran(indexes.iter().map(ran).collect())
            }
            Halt => {
                now.stopping = true;
                continue;
            }
            Wait(seconds) => {
                now.elapsed += Duration::from_secs(seconds);
                continue;
            }
            Late(lost) => Event::Deadline { lost },
        };
        lines.push(line(&turn.on(now, event).unwrap()));
    }
    lines
}

fn line(effect: &Effect) -> String {
    match effect {
        Effect::Commit(commit) => {
            let steps: Vec<_> = commit
                .steps
                .iter()
                .map(|step| {
                    let ok = step.kind == StepKind::Result && step.body["ok"] == false;
                    format!("{}{}", step.kind.as_str(), if ok { "!" } else { "" })
                })
                .collect();
            let mut line = format!("store {}", steps.join(" "));
            if let Some(settle) = &commit.settle {
                let _ = write!(line, ", settle {}", settle.nanos);
            }
            if let Some(approval) = &commit.approval {
                let _ = write!(line, ", ask for {} {}", approval.call_key, approval.tool);
            }
            match commit.inject {
                Some(Inject::Step) => line += ", take news",
                Some(Inject::End) => line += ", look for news",
                None => {}
            }
            if commit.ask.is_some() {
                line += ", reserve";
            }
            line
        }
        Effect::Ask(request) => format!("ask {:?} {}", request.role, request.messages.len()),
        Effect::Run(runs) => {
            let runs: Vec<_> = runs.iter().map(|run| format!("{} {}", run.key, run.tool.name)).collect();
            format!("run {}", runs.join(", "))
        }
        Effect::Finish(Outcome::NeedsReview { needs, reason }) => format!("review {}: {reason}", needs.as_str()),
        Effect::Finish(Outcome::Completed { response, .. }) => format!("completed: {response}"),
        Effect::Finish(Outcome::Failed { reason }) => format!("failed: {reason}"),
        Effect::Finish(Outcome::Retry { error, .. }) => format!("retry: {error}"),
        Effect::Finish(outcome) => format!("{outcome:?}").to_lowercase(),
    }
}

const FIRST: &str = "store prompt, take news, reserve";
const OUT_OF_TIME: &str = "review time: the run took longer than 3600 s (limits.max_run_seconds); queued again, the job \
     goes on where it is, with as much time again";
const ECHO: (&str, &str) = ("test_echo", r#"{"text": "a"}"#);
const PUT: (&str, &str) = ("test_put", r#"{"line": "a"}"#);
const DONE: (&str, &str) = ("task_complete", r#"{"summary": "s", "response": "r"}"#);

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_path_through_the_machine() {
    let unavailable = || LlmError::Unavailable { model: "m".into(), reason: "503".into(), retry_after: None };
    let deadline = || LlmError::Deadline { seconds: 3 };
    let cases: Vec<(&str, Vec<Do>, Vec<&str>)> = vec![
        (
            "one answer that completes is stored with its result in one commit",
            vec![Begin, Reserved, Calls(&[DONE]), Stored(&[])],
            vec![FIRST, "ask Main 1", "store answer result, settle 500, look for news", "completed: r"],
        ),
        (
            "what comes in at the end keeps the run alive",
            vec![Begin, Reserved, Calls(&[DONE]), Stored(&["wait"]), Reserved],
            vec![
                FIRST,
                "ask Main 1",
                "store answer result, settle 500, look for news",
                "store , take news, reserve",
                "ask Main 4",
            ],
        ),
        (
            "an answer is stored before its calls run; results go with the next question",
            vec![Begin, Reserved, Calls(&[PUT]), Stored(&[]), Gave(&[0]), Reserved],
            vec![
                FIRST,
                "ask Main 1",
                "store answer, settle 500",
                "run 2:0 test_put",
                "store result, take news, reserve",
                "ask Main 3",
            ],
        ),
        (
            "adjacent reads together, writes alone, in order",
            vec![Begin, Reserved, Calls(&[ECHO, ECHO, PUT, ECHO]), Stored(&[]), Gave(&[0, 1]), Gave(&[2]), Gave(&[3])],
            vec![
                FIRST,
                "ask Main 1",
                "store answer, settle 500",
                "run 2:0 test_echo, 2:1 test_echo",
                "run 2:2 test_put",
                "run 2:3 test_echo",
                "store result result result result, take news, reserve",
            ],
        ),
        (
            "calls that need nothing to run are answered at once",
            vec![
                Begin,
                Reserved,
                Calls(&[("get_tool_specs", r#"{"tools": ["test_echo"]}"#), ("nope", "{}"), ECHO]),
                Stored(&[]),
            ],
            vec![FIRST, "ask Main 1", "store answer result result!, settle 500", "run 2:2 test_echo"],
        ),
        (
            "after a terminal call the rest is not run",
            vec![Begin, Reserved, Calls(&[("task_failed", r#"{"reason": "no"}"#), PUT]), Stored(&[])],
            vec![FIRST, "ask Main 1", "store answer result result!, settle 500, look for news", "failed: no"],
        ),
        (
            "cut-off arguments are explained, what stands before them runs",
            vec![Begin, Reserved, CutOff(&[ECHO, ("test_put", r#"{"line": "aaa"#)]), Stored(&[]), Gave(&[0])],
            vec![
                FIRST,
                "ask Main 1",
                "store answer, settle 500",
                "run 2:0 test_echo",
                "store result result!, take news, reserve",
            ],
        ),
        (
            "text without a call is answered by a note, three times end it",
            vec![Begin, Reserved, Says("a"), Reserved, Says("b"), Reserved, Says("c"), Stored(&[])],
            vec![
                FIRST,
                "ask Main 1",
                "store answer note, settle 500, take news, reserve",
                "ask Main 3",
                "store answer note, settle 500, take news, reserve",
                "ask Main 5",
                "store answer, settle 500",
                "review review: the model answered 3 times without calling a tool; it said last: c",
            ],
        ),
        (
            "no money, no call",
            vec![Begin, Poor],
            vec![
                FIRST,
                "review budget: the daily spend cap is reached: $0.0000 of $0.0000 spent or reserved, and the next call \
                 may cost $0.0000 (limits.max_daily_cost_usd); raise it, or requeue the job after midnight UTC",
            ],
        ),
        (
            "a model that was not reached cost nothing",
            vec![Begin, Reserved, Fails(unavailable(), 0), Stored(&[])],
            vec![FIRST, "ask Main 1", "store , settle 0", "retry: m is not available: 503"],
        ),
        (
            "an answer that broke off counts as reserved",
            vec![Begin, Reserved, Fails(unavailable(), 1), Stored(&[])],
            vec![FIRST, "ask Main 1", "store , settle 500", "retry: m is not available: 503"],
        ),
        (
            "every attempt of a turn that was given up counts as reserved",
            vec![Begin, Reserved, Fails(deadline(), 3), Stored(&[])],
            vec![FIRST, "ask Main 1", "store , settle 1500", "retry: no model answered within 3 s"],
        ),
        (
            "an answer counts what it cost, with the attempts that were lost before it",
            vec![Begin, Reserved, DoneAfter(2), Stored(&[])],
            vec![FIRST, "ask Main 1", "store answer result, settle 1070, look for news", "completed: r"],
        ),
        (
            "news that came with a commit are in the question",
            vec![Begin, Stored(&["use euros"])],
            vec![FIRST, "ask Main 1"],
        ),
        (
            "a stop lets the call in hand end and begins nothing",
            vec![Begin, Reserved, Calls(&[ECHO, PUT]), Stored(&[]), Halt, Gave(&[0]), Stored(&[])],
            vec![FIRST, "ask Main 1", "store answer, settle 500", "run 2:0 test_echo", "store result", "released"],
        ),
        (
            "a stop before the question asks nothing and reserves nothing",
            vec![Begin, Reserved, Calls(&[PUT]), Stored(&[]), Halt, Gave(&[0]), Stored(&[])],
            vec![FIRST, "ask Main 1", "store answer, settle 500", "run 2:0 test_put", "store result", "released"],
        ),
        (
            "the end of the run's time keeps what was done",
            vec![Begin, Reserved, Calls(&[ECHO, PUT]), Stored(&[]), Wait(3601), Gave(&[0]), Stored(&[])],
            vec![FIRST, "ask Main 1", "store answer, settle 500", "run 2:0 test_echo", "store result", OUT_OF_TIME],
        ),
        (
            "a question that is still open at the end of the time counts as reserved",
            vec![Begin, Reserved, Late(1), Stored(&[])],
            vec![FIRST, "ask Main 1", "store , settle 500", OUT_OF_TIME],
        ),
    ];
    for (name, script, expected) in cases {
        assert_eq!(trace(&mut machine(|_| {}), script), expected, "{name}");
    }
}

/// A conversation whose last answer made one call that has no result.
fn interrupted(call: (&str, &str), origin: Origin) -> Turn {
    let mut turn = machine(|_| {});
    let history = &mut turn.history;
    history.push(&prompt()).unwrap();
    let body = AnswerBody {
        text: String::new(),
        calls: vec![ToolCall { id: "c".into(), name: call.0.into(), arguments: call.1.into() }],
        model: "m".into(),
        stop: Stop::Calls,
        rehearsed: false,
    };
    history.push(&steps::new(StepKind::Answer, &body, origin)).unwrap();
    turn
}

fn resume(turn: &mut Turn, known: Known) -> (String, Option<Value>) {
    let before = Before { open: [("2:0".to_owned(), known)].into(), ..Before::default() };
    let effect = turn.on(Now::default(), Event::Begin(Box::new(before))).unwrap();
    let result = match &effect {
        Effect::Commit(commit) => {
            commit.steps.iter().find(|step| step.kind == StepKind::Result).map(|step| step.body["text"].clone())
        }
        _ => None,
    };
    (line(&effect), result)
}

#[test]
fn a_resumed_call_asks_the_ledger_first() {
    let next = "store result, take news, reserve";
    let refused = "store result!, take news, reserve";
    for (call, effect, expected) in [
        (PUT, None, "run 2:0 test_put"),
        (PUT, Some(EffectState::Failed), "run 2:0 test_put"),
        (PUT, Some(EffectState::Confirmed), next),
        (PUT, Some(EffectState::Unknown), refused),
        (PUT, Some(EffectState::Dispatched), refused),
        (ECHO, Some(EffectState::Unknown), "run 2:0 test_echo"),
        (ECHO, None, "run 2:0 test_echo"),
        (DONE, None, "store result, look for news"),
    ] {
        let known = Known { effect, approval: None };
        let (line, _) = resume(&mut interrupted(call, Origin::Owner), known);
        assert_eq!(line, expected, "{call:?} {effect:?}");
    }
}

#[test]
fn an_approval_is_for_one_call_with_these_arguments() {
    let hash = parse::args_hash("test_put", &json!({ "line": "a" }));
    let ask = "store , ask for 2:0 test_put";
    for (state, hash, expected) in [
        (None, "", ask),
        (Some(ApprovalState::Pending), hash.as_str(), ask),
        (Some(ApprovalState::Approved), hash.as_str(), "run 2:0 test_put"),
        (Some(ApprovalState::Approved), "another", ask),
        (Some(ApprovalState::Used), hash.as_str(), "run 2:0 test_put"),
        (Some(ApprovalState::Void), hash.as_str(), ask),
        (Some(ApprovalState::Denied), hash.as_str(), "store result!, take news, reserve"),
    ] {
        let approval = state.map(|state| Approval {
            id: ApprovalId(1),
            job_id: JobId(1),
            call_key: "2:0".into(),
            tool: "test_put".into(),
            args: json!({ "line": "a" }),
            args_hash: hash.to_owned(),
            reason: "web".into(),
            rule: "write-untrusted".into(),
            state,
            created_at: jiff::Timestamp::UNIX_EPOCH,
            decided_at: None,
            decided_by: None,
            decision_reason: Some("no".into()),
        });
        let mut turn = interrupted(PUT, Origin::Web);
        let (line, result) = resume(&mut turn, Known { effect: None, approval });
        assert_eq!(line, expected, "{state:?} {hash}");
        if state == Some(ApprovalState::Denied) {
            assert!(result.unwrap().as_str().unwrap().contains("denied by the owner: no"));
        }
    }
}

#[test]
fn rules_of_the_configuration_deny_and_say_why() {
    let mut turn = machine(|config| {
        let rules: toml::Value =
            toml::from_str(r#"rules = [{ tool = "test_p*", decision = "deny", reason = "not today" }]"#).unwrap();
        config.policy.rules = crate::config::value::Setting::from_toml(&rules["rules"]).unwrap();
    });
    let lines = trace(&mut turn, vec![Begin, Reserved, Calls(&[PUT, ECHO]), Stored(&[])]);
    assert_eq!(lines[2..], ["store answer result!, settle 500", "run 2:1 test_echo"]);
}

#[test]
fn ids_of_calls_are_unique_and_plain() {
    let mut turn = machine(|_| {});
    trace(&mut turn, vec![Begin, Reserved]);
    let mut first = answer("", &[ECHO, ECHO, ECHO]);
    for (call, id) in first.calls.iter_mut().zip(["same", "same", "with space"]) {
        call.id = id.into();
    }
    turn.on(Now::default(), Event::Answered { answer: Box::new(first), took: Duration::ZERO, lost: 0 }).unwrap();
    let (_, open) = turn.history.open_calls().unwrap();
    assert_eq!(open.iter().map(|(_, call)| call.id.as_str()).collect::<Vec<_>>(), ["same", "call_2_1", "call_2_2"]);
}

#[test]
fn a_summary_is_by_rule_when_no_model_writes_it() {
    let mut turn = machine(|config| {
        config.limits.max_prompt_chars = 10_000;
        config.limits.summarization_keep_recent = 2;
    });
    let long = || Fails(LlmError::Unavailable { model: "small".into(), reason: "503".into(), retry_after: None }, 1);
    trace(&mut turn, vec![Begin, Reserved]);
    for _ in 0..3 {
        let call = answer(&"words ".repeat(600), &[ECHO]);
        turn.on(Now::default(), Event::Answered { answer: Box::new(call), took: Duration::ZERO, lost: 0 }).unwrap();
        trace(&mut turn, vec![Stored(&[])]);
        let ran = Ran {
            index: 0,
            result: Ok(json!({ "n": "x".repeat(900) }).to_string()),
            origin: Origin::Tool,
            cached: None,
            took: Duration::ZERO,
            tokens: 0,
        };
        let lines = [line(&turn.on(Now::default(), Event::Ran(vec![ran])).unwrap())];
        if lines[0] == "store result, reserve" {
            let lines = trace(&mut turn, vec![Reserved, long(), Reserved]);
            assert_eq!(lines, ["ask Small 1", "store summary, settle 500, take news, reserve", "ask Main 3"]);
            assert!(!turn.history.summary.as_ref().unwrap().0.by_model);
            return;
        }
        trace(&mut turn, vec![Reserved]);
    }
    panic!("no summary was asked for");
}
