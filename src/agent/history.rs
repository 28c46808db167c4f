//! A conversation as its stored steps tell it: what a resumed run continues.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    control,
    detector::Watch,
    segment::Fence,
    steps::{self, AnswerBody, NoteBody, PromptBody, ResultBody, SummaryBody, Why},
};
use crate::{
    error::Result,
    jobs::steps::{NewStep, Step, StepKind},
    llm::ToolCall,
    policy::Origin,
};

/// One thing that the model was told or said.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Entry {
    Answer(AnswerBody),
    Result(ResultBody),
    Note(NoteBody),
}

/// A step of the conversation with its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Placed {
    pub seq: i64,
    pub origin: Origin,
    pub entry: Entry,
}

/// The conversation of one epoch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct History {
    /// The newest system prompt.
    pub system: String,
    /// The newest list of tools, as it is stored.
    pub tools: String,
    /// The job's context: the first message.
    pub(crate) user: String,
    pub fence: Fence,
    /// The newest thread item that was told.
    pub seen_item: i64,
    pub entries: Vec<Placed>,
    /// Stands for the entries up to its `upto`.
    pub summary: Option<(SummaryBody, Origin)>,
    /// Tools that were loaded or called.
    pub loaded: BTreeSet<String>,
    /// The least trusted origin that reached the model.
    pub origin: Origin,
    /// The whole text of results of the last answer that are stored by reference, by call id.
    pub whole: BTreeMap<String, String>,
    /// Notices circles.
    pub watch: Watch,
    /// The number that the next step gets.
    pub next_seq: i64,
}

impl History {
    /// An empty conversation.
    pub(crate) fn new(next_seq: i64) -> Self {
        Self {
            system: String::new(),
            tools: String::new(),
            user: String::new(),
            fence: Fence::new("00000000"),
            seen_item: 0,
            entries: Vec::new(),
            summary: None,
            loaded: BTreeSet::new(),
            origin: Origin::Owner,
            whole: BTreeMap::new(),
            watch: Watch::default(),
            next_seq,
        }
    }

    /// Takes up the stored steps of an epoch.
    pub(crate) fn load(&mut self, stored: &[Step]) -> Result<()> {
        for step in stored {
            let new =
                NewStep { kind: step.kind, body: step.body.clone(), text: step.text.clone(), origin: step.origin };
            self.next_seq = step.seq;
            self.push(&new)?;
        }
        Ok(())
    }

    /// Takes up a step that is stored, or is about to be.
    pub(crate) fn push(&mut self, step: &NewStep) -> Result<()> {
        let seq = self.next_seq;
        self.next_seq += 1;
        self.origin = self.origin.least(step.origin);
        let entry = match step.kind {
            StepKind::Prompt => {
                let body: PromptBody = steps::body(seq, &step.body)?;
                if let Some(text) = &step.text {
                    if body.tools { &mut self.tools } else { &mut self.system }.clone_from(text);
                }
                if let Some(user) = body.user {
                    self.user = user;
                    self.fence = Fence::new(body.nonce);
                    self.seen_item = body.seen_item;
                }
                return Ok(());
            }
            StepKind::Summary => {
                self.summary = Some((steps::body(seq, &step.body)?, step.origin));
                return Ok(());
            }
            StepKind::Answer => {
                let body: AnswerBody = steps::body(seq, &step.body)?;
                let tools =
                    body.calls.iter().map(|call| &call.name).filter(|name| !control::NAMES.contains(&name.as_str()));
                self.loaded.extend(tools.cloned());
                self.whole.clear();
                Entry::Answer(body)
            }
            StepKind::Result => {
                let body: ResultBody = steps::body(seq, &step.body)?;
                self.loaded.extend(body.loaded.iter().cloned());
                Entry::Result(body)
            }
            StepKind::Note => {
                let body: NoteBody = steps::body(seq, &step.body)?;
                self.seen_item = self.seen_item.max(body.seen_item.unwrap_or(0));
                Entry::Note(body)
            }
        };
        self.watch.take(&entry);
        self.entries.push(Placed { seq, origin: step.origin, entry });
        Ok(())
    }

    /// Whether it has a first prompt.
    pub(crate) fn begun(&self) -> bool {
        !self.user.is_empty()
    }

    /// Whether the model has answered already.
    pub(crate) fn answered(&self) -> bool {
        self.entries.iter().any(|placed| matches!(placed.entry, Entry::Answer(_)))
    }

    /// The last answer, if it has calls without a result: its step and the calls with their positions.
    pub(crate) fn open_calls(&self) -> Option<(i64, Vec<(usize, ToolCall)>)> {
        let at = self.entries.iter().rposition(|placed| matches!(placed.entry, Entry::Answer(_)))?;
        let Entry::Answer(answer) = &self.entries[at].entry else { return None };
        let done: BTreeSet<usize> = self.entries[at + 1..]
            .iter()
            .filter_map(|placed| match &placed.entry {
                Entry::Result(result) => Some(result.index),
                _ => None,
            })
            .collect();
        let open: Vec<_> =
            answer.calls.iter().cloned().enumerate().filter(|(index, _)| !done.contains(index)).collect();
        (!open.is_empty()).then_some((self.entries[at].seq, open))
    }

    /// Whether a call of this id was made before.
    pub(crate) fn has_call(&self, id: &str) -> bool {
        self.entries.iter().any(
            |placed| matches!(&placed.entry, Entry::Answer(answer) if answer.calls.iter().any(|call| call.id == id)),
        )
    }

    /// The results that follow the last answer and that no answer has followed: the model has not seen them.
    pub(crate) fn unseen_results(&self) -> impl Iterator<Item = &ResultBody> {
        self.entries
            .iter()
            .rev()
            .map_while(|placed| match &placed.entry {
                Entry::Answer(_) => None,
                Entry::Result(result) => Some(Some(result)),
                Entry::Note(_) => Some(None),
            })
            .flatten()
    }

    /// Answers without a call at the end of the conversation, newest run of them.
    pub(crate) fn silent_answers(&self) -> usize {
        self.entries
            .iter()
            .rev()
            .filter_map(|placed| match &placed.entry {
                Entry::Answer(answer) => Some(answer.calls.is_empty()),
                Entry::Note(note) => (note.why != Why::NoCall).then_some(false),
                Entry::Result(_) => Some(false),
            })
            .take_while(|silent| *silent)
            .count()
    }

    /// Whether a rehearsal took part.
    pub(crate) fn rehearsed(&self) -> bool {
        self.entries.iter().any(|placed| matches!(&placed.entry, Entry::Answer(answer) if answer.rehearsed))
    }
}
