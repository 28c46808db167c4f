//! What a run of a job is given and what it ends with.

use std::time::Duration;

use assistant_api::{
    JobId,
    jobs::{Job, Metadata},
};
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// The right to write for a job, while the job is `running` and no other worker has taken it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    pub job_id: JobId,
    /// Known only to its holder; another one with every claim.
    pub token: i64,
}

/// A job that a worker has taken.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub job: Job,
    pub lease: Lease,
    /// Steps of this epoch are the conversation; those of earlier ones are history.
    pub epoch: i64,
    /// What a person set for this run.
    pub overrides: Overrides,
}

/// What a job has in its metadata for each of its runs: [`Overrides`] that were given with it.
pub(super) const LIMITS: &str = "limits";
/// What a job has in its metadata for its next run: [`Overrides`] of a review, which win.
pub(super) const REVIEW: &str = "admin_review_override";

/// Limits of a run, from its job or from a review; those of a review end with the run that they were for. Retries after
/// an error, a stop or a crash belong to the same run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Overrides {
    /// Instead of `limits.max_iterations_per_task`.
    #[serde(default, rename = "max_iterations_per_task", skip_serializing_if = "Option::is_none")]
    pub max_iterations: Option<i64>,
    /// Instead of `limits.max_tokens_per_task`.
    #[serde(default, rename = "max_tokens_per_task", skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<i64>,
    /// Instead of `limits.max_job_cost_usd`; whoever reserves money reads it from the job.
    #[serde(default, rename = "max_job_cost_usd", skip_serializing_if = "Option::is_none")]
    pub max_cost: Option<f64>,
    /// What the reviewer wrote. For display: the model gets it as a pending instruction of kind `override`, exactly
    /// once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instruction: Option<String>,
}

impl Overrides {
    /// Those for the next run of a job with this metadata.
    ///
    /// # Errors
    /// `internal` when they cannot be read.
    pub fn of(metadata: &Metadata) -> Result<Self> {
        let read = |name: &str| -> Result<Self> {
            let given = metadata.get(name).cloned().map(serde_json::from_value).transpose()?;
            Ok(given.unwrap_or_default())
        };
        let (review, own) = (read(REVIEW)?, read(LIMITS)?);
        Ok(Self {
            max_iterations: review.max_iterations.or(own.max_iterations),
            max_tokens: review.max_tokens.or(own.max_tokens),
            max_cost: review.max_cost.or(own.max_cost),
            instruction: review.instruction,
        })
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The model is done; `response` is the answer for whoever asked.
    Completed { summary: String, response: String },
    /// The model gave up.
    Failed { reason: String },
    /// A person has to act.
    NeedsReview { needs: NeedsWhat, reason: String },
    /// Other work that the job started has to end first.
    Waiting { reason: String },
    /// An error: run again later while attempts are left. `after`: what the provider asked for. `permanent`: another
    /// attempt cannot help.
    Retry { error: String, after: Option<Duration>, permanent: bool },
    /// The daemon stops: back to the queue, the attempt is not counted.
    Released,
    /// The lease is lost or the job was cancelled: nothing is written.
    Lost,
}

/// What a `needs_review` job needs from a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NeedsWhat {
    /// An answer to a question.
    Answer,
    /// A yes or no to one exact call.
    Approval,
    /// More iterations or tokens.
    Limits,
    /// More time: another run has as much of it again.
    Time,
    /// Another `limits.max_prompt_chars`.
    Prompt,
    /// A model that can be asked.
    Model,
    /// More money, or another day.
    Budget,
    /// A look at what went wrong.
    Review,
}

impl NeedsWhat {
    /// What the text of a question for whoever asked for the job begins with.
    pub const FOR_REQUESTER: &'static str = "for the requester: ";
    /// What the text of a question for the owner begins with; nobody else answers it.
    pub const FOR_ADMIN: &'static str = "for the admin: ";

    /// As it stands on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Approval => "approval",
            Self::Limits => "limits",
            Self::Time => "time",
            Self::Prompt => "prompt",
            Self::Model => "model",
            Self::Budget => "budget",
            Self::Review => "review",
        }
    }
}
