//! How a run ends when the model does not end it: limits, money, models that do not answer.

use std::time::Duration;

use serde_json::json;

use super::{
    After, Turn,
    effects::{Effect, Inject, Now, Row, Settle},
};
use crate::{
    agent::{
        claims::{self, Done},
        history::{Entry, Placed},
        steps::Why,
    },
    error::Result,
    jobs::{
        NeedsWhat, Outcome,
        spend::{Cap, OverCap},
    },
    llm::{LlmError, price},
    policy::Origin,
};

/// Calls before the last one from which the model may ask for more.
const LAST_CALLS: u64 = 3;

impl Turn {
    /// The outcome when this run may not ask again.
    pub(super) fn limit_reached(&self, now: Now) -> Option<Outcome> {
        let limits = |reason: &str| Some(Outcome::NeedsReview { needs: NeedsWhat::Limits, reason: reason.to_owned() });
        if now.elapsed >= self.settings.max_time {
            Some(self.out_of_time())
        } else if self.used.tokens >= self.settings.max_tokens {
            limits("token budget exceeded")
        } else if self.used.iterations >= self.settings.max_iterations {
            limits("max iterations reached")
        } else {
            None
        }
    }

    /// Whether the model may ask for more room.
    pub(super) fn near_limit(&self) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "a share of a limit")]
        let share = self.used.tokens as f64 / self.settings.max_tokens.max(1) as f64;
        share >= self.settings.config.limits.limit_approach_factor
            || self.used.iterations + LAST_CALLS >= self.settings.max_iterations
    }

    pub(super) fn out_of_time(&self) -> Outcome {
        let seconds = self.settings.max_time.as_secs();
        Outcome::NeedsReview {
            needs: NeedsWhat::Time,
            reason: format!(
                "the run took longer than {seconds} s (limits.max_run_seconds); queued again, the job goes on where it \
                 is, with as much time again"
            ),
        }
    }

    pub(super) fn too_large(&self, chars: usize) -> Outcome {
        let max = self.room().max_chars;
        let too_long = format!("the prompt is too long even with everything shortened: {chars} of {max} characters");
        if self.squeezed.is_some() {
            let reason = format!("{too_long}, and the model refused a longer one; choose a model that takes more");
            return Outcome::NeedsReview { needs: NeedsWhat::Model, reason };
        }
        Outcome::NeedsReview {
            needs: NeedsWhat::Prompt,
            reason: format!(
                "{too_long} (limits.max_prompt_chars); set a higher limit, if the model takes it, and queue the job again"
            ),
        }
    }

    pub(super) fn over_budget(over: &OverCap) -> Outcome {
        let way_out = match over.which {
            Cap::Day => "raise it, or requeue the job after midnight UTC",
            Cap::Job => "raise it, or give this job more (assistantctl job review ID --max-cost DOLLARS)",
        };
        Outcome::NeedsReview { needs: NeedsWhat::Budget, reason: format!("{over}; {way_out}") }
    }

    /// The model did not answer.
    pub(super) fn not_answered(
        &mut self,
        now: Now,
        error: LlmError,
        took: Duration,
        lost: u32,
        asked: &After,
    ) -> Result<Effect> {
        self.failed_call(&error, took, lost, "answer");
        if let (LlmError::ContextTooLong { .. }, After::Ask(request), None) = (&error, asked, self.squeezed) {
            let chars = usize::try_from(request.chars()).unwrap_or(usize::MAX);
            self.squeezed = Some(chars / 2);
            self.summarized = false;
            return self.next_step(now);
        }
        let outcome = self.outcome_of(error);
        Ok(self.finish(outcome))
    }

    fn outcome_of(&self, error: LlmError) -> Outcome {
        let text = error.to_string();
        match error {
            LlmError::NotConfigured(reason) => Outcome::NeedsReview { needs: NeedsWhat::Model, reason },
            LlmError::Auth { .. } | LlmError::Payment { .. } | LlmError::Forbidden(_) | LlmError::Rejected { .. } => {
                Outcome::NeedsReview {
                    needs: NeedsWhat::Model,
                    reason: format!("{text}; `assistantctl models test` shows whether it is mended"),
                }
            }
            LlmError::ContextTooLong { .. } => Outcome::NeedsReview {
                needs: NeedsWhat::Prompt,
                reason: format!(
                    "{text}, even after it was shortened; set a lower limits.max_prompt_chars, or another model, and \
                     queue the job again"
                ),
            },
            LlmError::RateLimited { retry_after, .. } => {
                let pause = self.settings.config.limits.rate_limit_backoff_seconds.0;
                Outcome::Retry { error: text, after: Some(retry_after.unwrap_or(pause)), permanent: false }
            }
            LlmError::Unavailable { retry_after, .. } => {
                Outcome::Retry { error: text, after: retry_after, permanent: false }
            }
            LlmError::Protocol { .. } | LlmError::Deadline { .. } => {
                Outcome::Retry { error: text, after: None, permanent: false }
            }
        }
    }

    /// Writes a call down that failed.
    pub(super) fn failed_call(&mut self, error: &LlmError, took: Duration, lost: u32, action: &str) {
        self.settle_lost(lost);
        let mut output = json!({ "error": error.to_string(), "temporary": error.is_temporary() });
        if lost > 0 {
            output["lost_attempts"] = lost.into();
        }
        self.out.logs.push(Row {
            event_type: "error",
            tool_action: Some(action.to_owned()),
            output: Some(output),
            took: Some(took),
            ..Row::default()
        });
    }

    /// Settles a call without an answer: what was refused cost nothing, each lost attempt counts as reserved.
    pub(super) fn settle_lost(&mut self, lost: u32) {
        if let Some(reserved) = self.reserved.take() {
            let nanos = price::lost(lost, reserved.nanos);
            self.out.settle = Some(Settle { id: reserved.id, model: String::new(), nanos, tokens: 0 });
            self.out.usage.cost_nanos += nanos;
        }
    }

    /// Ends, unless the answer says what nothing shows: it goes back to the model once, and is marked after that.
    pub(super) fn truthfully(&mut self, now: Now, outcome: Outcome, done: Option<&Done>) -> Result<Effect> {
        let (Outcome::Completed { summary, mut response }, Some(done)) = (outcome.clone(), done) else {
            return Ok(Effect::Finish(outcome));
        };
        let unproven = claims::unproven(&response, done);
        if unproven.is_empty() {
            return Ok(Effect::Finish(outcome));
        }
        let objected = |placed: &Placed| matches!(&placed.entry, Entry::Note(note) if note.why == Why::Claim);
        if self.history.entries.iter().any(objected) || self.limit_reached(now).is_some() {
            response.push_str(&claims::mark(&unproven));
            return Ok(Effect::Finish(Outcome::Completed { summary, response }));
        }
        self.batch = None;
        self.note(claims::objection(&unproven), Why::Claim, Origin::Host)?;
        self.next_step(now)
    }

    /// Stores what there is, then ends. An end that something new could change is looked at once more.
    pub(super) fn finish(&mut self, outcome: Outcome) -> Effect {
        let by_model = matches!(
            outcome,
            Outcome::Completed { .. } | Outcome::Failed { .. } | Outcome::NeedsReview { needs: NeedsWhat::Answer, .. }
        );
        if self.out.is_empty() && !by_model {
            return Effect::Finish(outcome);
        }
        self.after = After::Finish(outcome);
        self.commit(by_model.then_some(Inject::End), None)
    }
}
