//! The next question: what it says, what has to be summarized first, and whether it may be asked at all.

use std::sync::Arc;

use super::{
    After, Turn,
    effects::{Effect, Inject, Now},
};
use crate::{
    agent::{
        compact::{self, Plan, Room},
        detector::Finding,
        segment,
        steps::{self, SummaryBody, Why},
    },
    error::Result,
    jobs::{NeedsWhat, Outcome, steps::StepKind},
    llm::{Answer, Message, Request, Role},
    policy::Origin,
};

impl Turn {
    /// Stores what there is and asks the model, unless a bound is reached.
    pub(super) fn next_step(&mut self, now: Now) -> Result<Effect> {
        if now.stopping {
            return Ok(self.finish(Outcome::Released));
        }
        for (text, why) in std::mem::take(&mut self.untold) {
            self.note(text, why, Origin::Host)?;
        }
        if let Some(outcome) = self.limit_reached(now) {
            return Ok(self.finish(outcome));
        }
        match self.history.watch.judge(&self.settings.config.loop_detector) {
            Some(Finding::Warn(what)) => {
                let text = format!(
                    "You may be going round in circles: {what}. Look at what the results say, try another way, ask with \
                     request_input, or end with task_failed. The job is stopped if this goes on."
                );
                self.note(text, Why::Loop, Origin::Host)?;
            }
            Some(Finding::Stop(reason)) => {
                return Ok(self.finish(Outcome::NeedsReview { needs: NeedsWhat::Review, reason }));
            }
            None => {}
        }
        let tools = self.toolbox.offered(&self.history.loaded, self.near_limit());
        let mut request = Request::new(self.history.system.clone(), Vec::new());
        request.tools = tools;
        match compact::plan(&self.history, fixed_chars(&request), &self.room()) {
            Plan::Ready(messages) => {
                request.messages = messages;
                let request = Arc::new(request);
                self.after = After::Ask(Arc::clone(&request));
                Ok(self.commit(Some(Inject::Step), Some(request)))
            }
            Plan::Summarize { upto, transcript, origin } => {
                let request = Arc::new(self.summary_request(&transcript, origin));
                self.after = After::Summarize { request: Arc::clone(&request), upto, transcript, origin };
                Ok(self.commit(None, Some(request)))
            }
            Plan::TooLarge { chars } => {
                let outcome = self.too_large(chars);
                Ok(self.finish(outcome))
            }
        }
    }

    pub(super) fn room(&self) -> Room {
        let limits = &self.settings.config.limits;
        Room {
            max_chars: self.squeezed.unwrap_or(limits.max_prompt_chars as usize),
            window: limits.message_history_window as usize,
            keep_recent: limits.summarization_keep_recent as usize,
            max_transcript: limits.summarization_max_input_chars as usize,
            may_summarize: !self.summarized,
        }
    }

    pub(super) fn summary_request(&self, transcript: &str, origin: Origin) -> Request {
        let limits = &self.settings.config.limits;
        let text = self.history.fence.wrap("transcript", origin, transcript);
        let mut request = Request::new(include_str!("../prompts/summarize.md"), vec![Message::User { text }]);
        request.role = Role::Small;
        request.max_tokens = Some(limits.summarization_max_tokens);
        request.temperature = Some(0.0);
        request.timeout = Some(limits.summarization_timeout_seconds.0);
        request
    }

    /// Stores a summary: the model's, or one by rule when there is none. Either way it is not made again.
    pub(super) fn summary(
        &mut self,
        now: Now,
        answer: Option<&Answer>,
        upto: i64,
        transcript: &str,
        origin: Origin,
    ) -> Result<Effect> {
        self.summarized = true;
        let written = answer.map(|answer| answer.text.trim().to_owned()).filter(|text| !text.is_empty());
        let by_model = written.is_some();
        let most = self.settings.config.limits.summarization_max_tokens as usize * 6;
        let text = written.map_or_else(|| compact::by_rule(transcript, most), |text| segment::cut(&text, most));
        self.append(steps::new(StepKind::Summary, &SummaryBody { upto, text, by_model }, origin.least(Origin::Tool)))?;
        self.next_step(now)
    }
}

/// Characters of a request without its messages.
pub(super) fn fixed_chars(request: &Request) -> usize {
    let bare = Request { messages: Vec::new(), ..request.clone() };
    usize::try_from(bare.chars()).unwrap_or(usize::MAX)
}
