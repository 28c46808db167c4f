//! Notices a job that goes round in circles: the same call with the same result, or many steps without anything new.
//!
//! The first finding is a warning to the model; the next one, which needs half as much, ends the run.

use std::collections::{HashMap, HashSet};

use super::{
    config::LoopDetector,
    history::{Entry, History},
    parse,
    steps::Why,
};

/// What was noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Tell the model.
    Warn(String),
    /// End the run; the text says why.
    Stop(String),
}

/// Judges the conversation so far. What a person says starts the count anew.
pub(crate) fn judge(history: &History, config: &LoopDetector) -> Option<Finding> {
    if !config.enabled {
        return None;
    }
    let mut watch = Watch::default();
    let mut calls = Vec::new();
    for placed in &history.entries {
        match &placed.entry {
            Entry::Answer(answer) => {
                watch.step();
                calls.clone_from(&answer.calls);
            }
            Entry::Result(result) => {
                let arguments = calls.get(result.index).map_or("", |call| call.arguments.as_str());
                watch.result(&result.name, arguments, &result.hash, result.ok);
            }
            Entry::Note(note) => match note.why {
                Why::Instruction | Why::NewContext | Why::Resumed => watch.restart(false),
                Why::Loop => watch.restart(true),
                Why::NoCall | Why::Limit => {}
            },
        }
    }
    let most = |limit: u32| if watch.warned { limit.div_ceil(2) } else { limit }.max(2);
    let finding = if let Some((name, times)) = watch.same.filter(|(_, times)| *times >= most(config.same_call)) {
        format!("{name} was called {times} times with the same arguments and the same result")
    } else if watch.idle >= most(config.no_progress) {
        format!("{} steps brought nothing new", watch.idle)
    } else {
        return None;
    };
    Some(if watch.warned {
        Finding::Stop(format!("stalled: {finding}, after a warning"))
    } else {
        Finding::Warn(finding)
    })
}

#[derive(Default)]
struct Watch {
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
    fn step(&mut self) {
        self.idle += 1;
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
