use std::collections::{HashSet, VecDeque};

use proptest::{collection::vec, prelude::*};
use serde_json::json;

use super::*;
use crate::{
    agent::steps::{self, AnswerBody, Cached, NoteBody, PromptBody, ResultBody, SummaryBody, Why},
    jobs::steps::StepKind,
    llm::{Stop, ToolCall},
};

/// What happened at one point of a made-up conversation.
#[derive(Clone, Debug)]
enum Happened {
    /// Characters of the text, and of each call its arguments, its result, and whether that was kept.
    Answer {
        text: usize,
        calls: Vec<(usize, usize, bool)>,
    },
    Note(usize),
}

fn happened() -> impl Strategy<Value = Happened> {
    let size = || prop_oneof![4 => 0..300usize, 2 => 0..5_000usize, 1 => 0..40_000usize];
    let call = (size(), size(), any::<bool>());
    prop_oneof![
        4 => (0..2_000usize, vec(call, 0..6)).prop_map(|(text, calls)| Happened::Answer { text, calls }),
        1 => size().prop_map(Happened::Note),
    ]
}

fn history(user: usize, events: &[Happened]) -> History {
    let mut history = History::new(1);
    let mut push = |kind, body: serde_json::Value, origin| {
        history.push(&steps::new(kind, &body, origin)).unwrap();
        history.next_seq
    };
    let prompt =
        PromptBody { user: Some("u".repeat(user.max(1))), nonce: "0123456789abcdef".into(), ..PromptBody::default() };
    push(StepKind::Prompt, json!(prompt), Origin::Owner);
    let mut whole = Vec::new();
    for (at, event) in events.iter().enumerate() {
        match event {
            Happened::Note(size) => {
                let note = NoteBody { text: "n".repeat(*size), why: Why::Instruction, seen_item: None };
                push(StepKind::Note, json!(note), Origin::Owner);
            }
            Happened::Answer { text, calls } => {
                whole.clear();
                let made = |(index, (arguments, ..)): (usize, &(usize, usize, bool))| ToolCall {
                    id: format!("call_{at}_{index}"),
                    name: "file_write".into(),
                    // Every third is not JSON at all.
                    arguments: if index % 3 == 2 {
                        "{\"cut".repeat(*arguments / 5)
                    } else {
                        json!({ "path": "a", "content": "ä".repeat(*arguments) }).to_string()
                    },
                };
                let answer = AnswerBody {
                    text: "t".repeat(*text),
                    calls: calls.iter().enumerate().map(made).collect(),
                    model: "m".into(),
                    stop: Stop::Calls,
                    rehearsed: false,
                };
                push(StepKind::Answer, json!(answer), Origin::Owner);
                for (index, (_, size, kept)) in calls.iter().enumerate() {
                    let text = "r".repeat(*size);
                    let call_id = format!("call_{at}_{index}");
                    let cached = kept.then(|| Cached { path: "cache/x.json".into(), sha256: String::new(), bytes: 1 });
                    let body = ResultBody {
                        index,
                        call_id: call_id.clone(),
                        name: "file_write".into(),
                        ok: true,
                        text: if *kept { "short".into() } else { text.clone() },
                        cached,
                        hash: String::new(),
                        loaded: Vec::new(),
                    };
                    push(StepKind::Result, json!(body), if *kept { Origin::Web } else { Origin::Tool });
                    whole.push((call_id, text));
                }
            }
        }
    }
    history.whole.extend(whole);
    history
}

/// Roles take turns, every call is answered once and in order, nothing is empty.
fn valid(messages: &[Message]) {
    assert!(matches!(messages.first(), Some(Message::User { .. })));
    let mut open = VecDeque::new();
    let mut ids = HashSet::new();
    let mut users = 0;
    for message in messages {
        users = if matches!(message, Message::User { .. }) { users + 1 } else { 0 };
        assert!(users < 2, "two messages of the user in a row");
        match message {
            Message::Tool { call_id, .. } => assert_eq!(open.pop_front().as_ref(), Some(call_id)),
            Message::User { text } => assert!(open.is_empty() && !text.is_empty()),
            Message::Assistant { text, calls } => {
                assert!(open.is_empty() && (!text.is_empty() || !calls.is_empty()));
                for call in calls {
                    assert!(ids.insert(call.id.clone()));
                    assert!(
                        serde_json::from_str::<serde_json::Map<_, _>>(&call.arguments).is_ok(),
                        "{}",
                        call.arguments
                    );
                    open.push_back(call.id.clone());
                }
            }
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

/// The calls of the last answer are there, unless a later unit is all that fits.
fn keeps_newest(history: &History, messages: &[Message]) {
    let units = units(history);
    let Some(last) = units.last() else { return };
    let text = |messages: &[Message]| serde_json::to_string(messages).unwrap();
    let sent = text(messages);
    for message in last.render(history, Some(40)) {
        match message {
            Message::Tool { call_id, .. } => assert!(sent.contains(&call_id)),
            Message::Assistant { calls, .. } => calls.iter().for_each(|call| assert!(sent.contains(&call.id))),
            Message::User { .. } => assert!(sent.contains('n') || sent.contains("(no answer)")),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_prompt_fits_is_valid_and_keeps_the_newest(
        events in vec(happened(), 0..40),
        user in 1..3_000usize,
        fixed in 0..4_000usize,
        max in 30_000..120_000usize,
        window in 0..12usize,
        keep in 0..12usize,
    ) {
        let mut history = history(user, &events);
        let mut room = Room { max_chars: max, window, keep_recent: keep, max_transcript: 20_000, may_summarize: true };
        let mut summaries = 0;
        let messages = loop {
            match plan(&history, fixed, &room) {
                Plan::Ready(messages) => break messages,
                Plan::TooLarge { chars } => panic!("{chars} of {max} with {fixed} fixed and {user} given"),
                Plan::Summarize { upto, transcript, origin } => {
                    prop_assert!(segment::chars(&transcript) < 20_100);
                    let body = SummaryBody { upto, text: transcript, by_model: true };
                    history.push(&steps::new(StepKind::Summary, &body, origin)).unwrap();
                    summaries += 1;
                    room.may_summarize = summaries < 2;
                }
            }
        };
        prop_assert!(fixed + chars(&messages) <= max);
        valid(&messages);
        keeps_newest(&history, &messages);
    }
}

#[test]
fn an_empty_note_is_not_an_empty_message() {
    let room = Room { max_chars: 40_000, window: 8, keep_recent: 6, max_transcript: 20_000, may_summarize: false };
    let events = [Happened::Answer { text: 1, calls: vec![(1, 1, false)] }, Happened::Note(0)];
    let Plan::Ready(messages) = plan(&history(1, &events), 0, &room) else { panic!("it does not fit") };
    valid(&messages);
    assert!(matches!(messages.last(), Some(Message::User { text }) if text == "(empty)"));
}

#[test]
fn the_prompts_beginning_stays_the_same_for_a_whole_window() {
    let step = Happened::Answer { text: 10, calls: vec![(10, 10, false)] };
    let room = Room { max_chars: 400_000, window: 8, keep_recent: 6, max_transcript: 80_000, may_summarize: true };
    let first = |steps: usize| match plan(&history(50, &vec![step.clone(); steps]), 0, &room) {
        Plan::Ready(messages) => (messages[0].clone(), messages.len()),
        other => panic!("{other:?}"),
    };
    let changes = (1..40).filter(|steps| first(*steps).0 != first(steps - 1).0).count();
    assert_eq!(changes, 3, "in 40 steps with a window of eight");
    assert!((0..40).all(|steps| first(steps).1 <= 33));
}

#[test]
fn the_digest_is_data_with_the_least_origin_and_never_the_systems() {
    let events = vec![Happened::Answer { text: 10, calls: vec![(10, 10, true), (10, 10, false)] }; 12];
    let room = Room { max_chars: 400_000, window: 4, keep_recent: 6, max_transcript: 80_000, may_summarize: true };
    let Plan::Ready(messages) = plan(&history(50, &events), 0, &room) else { panic!() };
    let Message::User { text } = &messages[0] else { panic!() };
    assert!(text.contains("<<<data-0123456789abcdef origin=web what=\"earlier steps\"\n"), "{text}");
    assert!(text.contains("file_write("), "{text}");
}

#[test]
fn what_cannot_be_shortened_is_said() {
    let room = Room { max_chars: 10_000, window: 8, keep_recent: 6, max_transcript: 80_000, may_summarize: true };
    assert!(matches!(plan(&history(9_000, &[]), 2_000, &room), Plan::TooLarge { chars: 11_000 }));
}

#[test]
fn results_are_whole_once_and_short_afterwards() {
    let events = [Happened::Answer { text: 1, calls: vec![(1, 5_000, true)] }];
    let room = Room { max_chars: 400_000, window: 8, keep_recent: 6, max_transcript: 80_000, may_summarize: true };
    let content = |history: &History| {
        let Plan::Ready(messages) = plan(history, 0, &room) else { panic!() };
        messages.into_iter().find_map(|message| match message {
            Message::Tool { content, .. } => Some(content),
            _ => None,
        })
    };
    let mut history = history(50, &events);
    // A note that follows the results does not make them seen.
    let note = NoteBody { text: "n".into(), why: Why::Instruction, seen_item: None };
    history.push(&steps::new(StepKind::Note, &note, Origin::Owner)).unwrap();
    assert!(content(&history).unwrap().contains(&"r".repeat(5_000)));
    let answer =
        AnswerBody { text: "ok".into(), calls: Vec::new(), model: "m".into(), stop: Stop::End, rehearsed: false };
    history.push(&steps::new(StepKind::Answer, &answer, Origin::Owner)).unwrap();
    assert!(content(&history).unwrap().contains("short"));
}
