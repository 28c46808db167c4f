//! Notices a job that goes round in circles: the same call with the same result, or many steps without anything new.
//!
//! The first finding is a warning to the model; the next one, which needs half as much, ends the run.

use std::collections::{HashMap, HashSet};

use super::{config::LoopDetector, history::Entry, parse, steps::Why};

/// What was noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Tell the model.
    Warn(String),
    /// End the run; the text says why.
    Stop(String),
}

/// What is known of a conversation so far; each entry is looked at once, when it comes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Watch {
    /// Arguments of the calls of the last answer.
    arguments: Vec<String>,
    /// How often each call gave each result.
    times: HashMap<(String, String), u32>,
    /// The one that happened most often.
    same: Option<(String, u32)>,
    /// Every good result that was ever seen.
    known: HashSet<String>,
    /// Steps since the last new one.
    idle: u32,
    warned: bool,
}

impl Watch {
    /// Takes an entry up. What a person says starts the count anew.
    pub(crate) fn take(&mut self, entry: &Entry) {
        match entry {
            Entry::Answer(answer) => {
                self.idle += 1;
                self.arguments = answer.calls.iter().map(|call| call.arguments.clone()).collect();
            }
            Entry::Result(result) => {
                let arguments = self.arguments.get(result.index).cloned().unwrap_or_default();
                self.result(&result.name, &arguments, &result.hash, result.ok);
            }
            Entry::Note(note) => match note.why {
                Why::Instruction | Why::NewContext | Why::Resumed => self.restart(false),
                Why::Loop => self.restart(true),
                Why::NoCall | Why::Limit | Why::Claim => {}
            },
        }
    }

    /// Judges what it has seen.
    pub(crate) fn judge(&self, config: &LoopDetector) -> Option<Finding> {
        if !config.enabled {
            return None;
        }
        let most = |limit: u32| if self.warned { limit.div_ceil(2) } else { limit }.max(2);
        let same = self.same.as_ref().filter(|(_, times)| *times >= most(config.same_call));
        let finding = if let Some((name, times)) = same {
            format!("{name} was called {times} times with the same arguments and the same result")
        } else if self.idle >= most(config.no_progress) {
            format!("{} steps brought nothing new", self.idle)
        } else {
            return None;
        };
        Some(if self.warned {
            Finding::Stop(format!("stalled: {finding}, after a warning"))
        } else {
            Finding::Warn(finding)
        })
    }

    fn result(&mut self, name: &str, arguments: &str, hash: &str, ok: bool) {
        let arguments = parse::arguments(arguments, false)
            .map_or_else(|_| arguments.to_owned(), |object| parse::canonical(&object.into()));
        let times = self.times.entry((format!("{name} {arguments}"), hash.to_owned())).or_default();
        *times += 1;
        if self.same.as_ref().is_none_or(|(_, most)| *times > *most) {
            self.same = Some((name.to_owned(), *times));
        }
        // An error is no progress, however new its words are.
        if ok && self.known.insert(format!("{name} {hash}")) {
            self.idle = 0;
        }
    }

    fn restart(&mut self, warned: bool) {
        self.times.clear();
        self.same = None;
        self.idle = 0;
        self.warned = warned;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        agent::steps::{AnswerBody, NoteBody, ResultBody},
        llm::{Stop, ToolCall},
    };

    fn step(watch: &mut Watch, arguments: &str, hash: &str, ok: bool) {
        let call = ToolCall { id: "c".into(), name: "t".into(), arguments: arguments.into() };
        watch.take(&Entry::Answer(AnswerBody {
            text: String::new(),
            calls: vec![call],
            model: "m".into(),
            stop: Stop::Calls,
            rehearsed: false,
        }));
        let text = json!({ "hash": hash }).to_string();
        let (call_id, name, hash) = ("c".into(), "t".into(), hash.to_owned());
        let result = ResultBody { index: 0, call_id, name, ok, text, cached: None, hash, loaded: Vec::new() };
        watch.take(&Entry::Result(result));
    }

    fn note(watch: &mut Watch, why: Why) {
        watch.take(&Entry::Note(NoteBody { text: String::new(), why, seen_item: None }));
    }

    #[test]
    fn what_is_known_grows_with_each_entry_and_people_start_it_anew() {
        let config = LoopDetector { enabled: true, same_call: 4, no_progress: 6 };
        let mut watch = Watch::default();
        for _ in 0..3 {
            // The same call, however it is written.
            step(&mut watch, r#"{"a":1,"b":2}"#, "same", true);
            assert_eq!(watch.judge(&config), None);
        }
        step(&mut watch, r#"{ "b": 2, "a": 1 }"#, "same", true);
        assert!(matches!(watch.judge(&config), Some(Finding::Warn(_))));
        let mut told = watch.clone();
        note(&mut told, Why::Instruction);
        assert_eq!(told.judge(&config), None);
        note(&mut watch, Why::Loop);
        assert_eq!(watch.judge(&config), None);
        step(&mut watch, r#"{"a":1,"b":2}"#, "same", true);
        step(&mut watch, r#"{"a":1,"b":2}"#, "same", true);
        assert!(matches!(watch.judge(&config), Some(Finding::Stop(_))), "half as much");
        assert_eq!(watch.judge(&LoopDetector { enabled: false, ..config }), None);
        let mut errors = Watch::default();
        for number in 0..6 {
            step(&mut errors, &json!({ "a": number }).to_string(), &number.to_string(), false);
        }
        assert!(matches!(errors.judge(&config), Some(Finding::Warn(_))), "an error is no progress");
    }
}
