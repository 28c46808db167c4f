//! Finding jobs by words. Walks the newest jobs, a bounded number of them, in small pages.

use assistant_api::{JobId, jobs::JobStatus};
use jiff::Timestamp;
use rusqlite::Connection;
use serde::Serialize;

use super::row;
use crate::{error::Result, policy::Origin, store::types::RowExt as _};

/// Jobs that one search looks at.
const LOOKED_AT: i64 = 5000;
/// Characters of a result that are shown.
const SNIPPET: usize = 300;

/// A job that has all the words.
#[derive(Debug, Serialize)]
pub struct Hit {
    pub id: JobId,
    pub status: JobStatus,
    pub subject: Option<String>,
    pub task_summary: String,
    /// The beginning of the answer.
    pub final_response: Option<String>,
    pub created_at: Timestamp,
    pub completed_at: Option<Timestamp>,
}

/// The least trusted origin of what a job was told in any of its runs, and so of what it has to say.
pub fn origin(conn: &Connection, id: JobId) -> Result<Origin> {
    let origins: Vec<String> = conn
        .prepare_cached(
            "SELECT DISTINCT origin FROM steps WHERE job_id = ?1 UNION \
             SELECT emails.origin FROM jobs JOIN emails ON emails.id = jobs.trigger_email_id WHERE jobs.id = ?1",
        )?
        .query_map([id.0], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let least = origins.iter().map(|origin| origin.parse().unwrap_or(Origin::Stranger)).max();
    Ok(least.unwrap_or(Origin::Tool).least(Origin::Tool))
}

/// At most `limit` of the newest jobs whose subject, summary or answer has all of `words` (lower case), and whether
/// every job was looked at.
pub fn find(conn: &Connection, words: &[String], status: Option<JobStatus>, limit: i64) -> Result<(Vec<Hit>, bool)> {
    let mut select = conn.prepare_cached(
        "SELECT jobs.id, jobs.status, task_summary, json_extract(metadata, '$.final_response') AS response, \
         jobs.created_at, completed_at, emails.subject AS subject \
         FROM jobs LEFT JOIN emails ON emails.id = jobs.trigger_email_id ORDER BY jobs.id DESC LIMIT ?1",
    )?;
    let mut rows = select.query([LOOKED_AT + 1])?;
    let (mut hits, mut seen) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        seen += 1;
        if seen > LOOKED_AT {
            return Ok((hits, false));
        }
        let hit = Hit {
            id: JobId(row.col("id")?),
            status: row::status(row)?,
            subject: row.col("subject")?,
            task_summary: row.col("task_summary")?,
            final_response: row.col("response")?,
            created_at: row.time("created_at")?,
            completed_at: row.opt_time("completed_at")?,
        };
        if status.is_none_or(|wanted| wanted == hit.status) && hit.has(words) {
            hits.push(hit.shortened());
            if i64::try_from(hits.len()).is_ok_and(|found| found >= limit) {
                let complete = rows.next()?.is_none();
                return Ok((hits, complete));
            }
        }
    }
    Ok((hits, true))
}

impl Hit {
    fn has(&self, words: &[String]) -> bool {
        let texts = [self.subject.as_deref(), Some(&*self.task_summary), self.final_response.as_deref()];
        let text = texts.into_iter().flatten().collect::<Vec<_>>().join("\n").to_lowercase();
        words.iter().all(|word| text.contains(word))
    }

    fn shortened(mut self) -> Self {
        if let Some(response) = &mut self.final_response
            && let Some((end, _)) = response.char_indices().nth(SNIPPET)
        {
            response.truncate(end);
            response.push('…');
        }
        self
    }
}
