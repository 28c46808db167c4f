//! What a model may ask about jobs and the time. Only what a job was about and what came of it: never another job's
//! conversation, log or cached tool results.

use assistant_api::{JobId, jobs::JobStatus};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    store::{row, search, thread},
    when,
};
use crate::{
    agent::tools::{Call, Tool, ToolDef},
    cx::Cx,
    error::{Error, Result},
    policy::{Access, Origin},
};

pub(super) const TOOLS: &[ToolDef] =
    &[ToolDef::of::<CurrentTime>(), ToolDef::of::<JobSearch>(), ToolDef::of::<JobRead>()];

const MAX_QUERY: usize = 200;
/// Characters of each text of a job that is read.
const MAX_TEXT: usize = 4000;

/// Tells the current date, time and weekday, in the configured zone and in UTC. Use it instead of guessing.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CurrentTime {}

#[derive(Serialize)]
struct Now {
    /// RFC 3339 with offset and zone.
    local: String,
    date: String,
    time: String,
    weekday: String,
    time_zone: String,
    utc: Timestamp,
}

impl Tool for CurrentTime {
    const NAME: &'static str = "current_time";
    const ACCESS: Access = Access::Read;
    const GROUP: &'static str = "Context";
    const RESULT_ORIGIN: Origin = Origin::Host;
    type Output = Now;

    async fn run(self, cx: &Cx, _call: &Call) -> Result<Now> {
        let name = cx.config.load().app.timezone.clone();
        let utc = cx.clock.now();
        let local = utc.to_zoned(when::zone(&name));
        Ok(Now {
            date: local.strftime("%F").to_string(),
            time: local.strftime("%T").to_string(),
            weekday: local.strftime("%A").to_string(),
            time_zone: local.time_zone().iana_name().unwrap_or("UTC").to_owned(),
            local: local.to_string(),
            utc,
        })
    }
}

/// Finds earlier and present jobs by words in their subject or result, newest first.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct JobSearch {
    /// Words that all have to occur.
    query: String,
    /// Only jobs of this status.
    #[serde(default)]
    status: Option<JobStatus>,
    /// 1 to 50, default 10.
    #[serde(default)]
    limit: Option<i64>,
}

#[derive(Serialize)]
struct Found {
    query: String,
    results: Vec<search::Hit>,
    result_count: usize,
    /// The search looks at the newest jobs only; `false`: there are older ones that it did not look at.
    complete: bool,
    /// The least trusted of the jobs that were found.
    #[serde(skip)]
    origin: Origin,
}

impl Tool for JobSearch {
    const NAME: &'static str = "job_search";
    const ACCESS: Access = Access::Read;
    const GROUP: &'static str = "Context";
    type Output = Found;

    fn origin(found: &Found) -> Origin {
        found.origin
    }

    async fn run(self, cx: &Cx, _call: &Call) -> Result<Found> {
        let words: Vec<String> = self.query.split_whitespace().map(str::to_lowercase).collect();
        if words.is_empty() || self.query.chars().count() > MAX_QUERY {
            return Err(Error::validation(format!("query takes 1 to {MAX_QUERY} characters")).field("query"));
        }
        let limit = self.limit.unwrap_or(10).clamp(1, 50);
        let status = self.status;
        let (results, complete, origin) = cx
            .store
            .read(move |conn| {
                let (results, complete) = search::find(conn, &words, status, limit)?;
                let mut origin = Self::RESULT_ORIGIN;
                for hit in &results {
                    origin = origin.least(search::origin(conn, hit.id)?);
                }
                Ok((results, complete, origin))
            })
            .await?;
        Ok(Found { query: self.query, result_count: results.len(), results, complete, origin })
    }
}

/// Reads what one job was about, where it stands and what it answered.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct JobRead {
    /// The number of the job.
    job_id: i64,
}

#[derive(Serialize)]
struct Known {
    id: JobId,
    thread_id: String,
    task_summary: String,
    status: JobStatus,
    priority: i64,
    attempts: i64,
    subject: Option<String>,
    task: Option<String>,
    final_response: Option<String>,
    last_error: Option<String>,
    run_at: Timestamp,
    created_at: Timestamp,
    updated_at: Timestamp,
    completed_at: Option<Timestamp>,
    #[serde(skip)]
    origin: Origin,
}

impl Tool for JobRead {
    const NAME: &'static str = "job_read";
    const ACCESS: Access = Access::Read;
    const GROUP: &'static str = "Context";
    type Output = Known;

    fn origin(known: &Known) -> Origin {
        known.origin
    }

    async fn run(self, cx: &Cx, _call: &Call) -> Result<Known> {
        let id = JobId(self.job_id);
        let (job, email, origin) = cx
            .store
            .read(move |conn| {
                let job = row::get(conn, id)?;
                let email = job.trigger_email_id.map(|id| thread::email(conn, id)).transpose()?.flatten();
                Ok((job, email, search::origin(conn, id)?))
            })
            .await?;
        let response = job.metadata.get("final_response").and_then(|value| value.as_str());
        let (subject, task) = email.map_or((None, None), |email| (Some(email.subject), email.body_text));
        Ok(Known {
            id: job.id,
            thread_id: job.thread_id,
            task_summary: job.task_summary,
            status: job.status,
            priority: job.priority,
            attempts: job.attempts,
            subject,
            task: task.as_deref().map(cut),
            final_response: response.map(cut),
            last_error: job.last_error.as_deref().map(cut),
            run_at: job.run_at,
            created_at: job.created_at,
            updated_at: job.updated_at,
            completed_at: job.completed_at,
            origin,
        })
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}… [{} characters in all]", &text[..end], text.chars().count()),
        None => text.to_owned(),
    }
}
