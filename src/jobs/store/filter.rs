//! Lists of jobs by words, origin and time of creation.
//!
//! Newest first, by id; by time of creation where that is bounded, because a clock may have been set back between two
//! jobs. One page looks at a bounded number of jobs, so that it takes the same time whatever is wanted and however many
//! there are: it may have few jobs or none and still say where to go on.

use assistant_api::{
    JobId,
    jobs::{JobListItem, JobStatus},
};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};
use serde::{Deserialize, Serialize};

use super::list;
use crate::{
    error::Result,
    policy::Origin,
    store::types::{RowExt as _, micros},
};

/// Jobs that one page looks at.
pub const LOOKED_AT: i64 = 2000;

pub(super) const BY_ID: &str = "SELECT created_at, id FROM jobs WHERE id < ?1 ORDER BY id DESC LIMIT ?2";
pub(super) const BY_TIME: &str = "SELECT created_at, id FROM jobs WHERE created_at >= ?1 AND (created_at, id) < (?2, ?3) \
     ORDER BY created_at DESC, id DESC LIMIT ?4";
pub(super) const LOOK: &str = "SELECT jobs.status, emails.origin, emails.subject, emails.from_address, \
     CASE WHEN ?2 THEN task_summary END AS summary, \
     CASE WHEN ?2 THEN json_extract(metadata, '$.final_response') END AS response \
     FROM jobs LEFT JOIN emails ON emails.id = jobs.trigger_email_id WHERE jobs.id = ?1";

/// Which jobs are wanted: those that every part lets through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// One of these; any if empty.
    pub statuses: Vec<JobStatus>,
    /// Asked for by one of these; by anybody if empty.
    pub origins: Vec<Origin>,
    /// All of them, in lower case, in the subject, the sender, the summary or the answer.
    pub words: Vec<String>,
    /// Made at this time or later.
    pub since: Option<Timestamp>,
    /// Made before this time.
    pub until: Option<Timestamp>,
}

impl Filter {
    /// Whether nothing but the status is asked for, which has an index.
    pub fn is_by_status(&self) -> bool {
        self.origins.is_empty() && self.words.is_empty() && !self.is_by_time()
    }

    /// Whether the list is in the order of creation.
    pub fn is_by_time(&self) -> bool {
        self.since.is_some() || self.until.is_some()
    }
}

/// Where a list goes on: at jobs that come after this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place(pub i64, pub JobId);

/// At most `limit` jobs after `after`, and where to go on if there may be more.
pub fn page(
    conn: &Connection,
    filter: &Filter,
    after: Option<Place>,
    limit: usize,
) -> Result<(Vec<JobListItem>, Option<Place>)> {
    let candidates = candidates(conn, filter, after)?;
    let bounded = i64::try_from(candidates.len()).is_ok_and(|found| found == LOOKED_AT);
    let (mut look, mut get) = (conn.prepare_cached(LOOK)?, conn.prepare_cached(list::ONE)?);
    let mut jobs = Vec::new();
    let mut last = None;
    for (index, place) in candidates.iter().enumerate() {
        let wanted = look.query_row((place.1.0, !filter.words.is_empty()), |row| filter.lets_through(row));
        if wanted.optional()?.unwrap_or(false) {
            jobs.extend(get.query_row((place.1.0, list::COUNTED), list::item).optional()?);
        }
        last = Some(*place);
        if jobs.len() == limit {
            return Ok((jobs, last.filter(|_| bounded || index + 1 < candidates.len())));
        }
    }
    Ok((jobs, last.filter(|_| bounded)))
}

fn candidates(conn: &Connection, filter: &Filter, after: Option<Place>) -> Result<Vec<Place>> {
    let place = |row: &rusqlite::Row<'_>| Ok(Place(row.get(0)?, JobId(row.get(1)?)));
    if filter.is_by_time() {
        let since = filter.since.map_or(i64::MIN, micros);
        // Everything that was made in an instant before `until` comes after this.
        let first = Place(filter.until.map_or(i64::MAX, micros), JobId(i64::MIN));
        let after = after.unwrap_or(first);
        let mut find = conn.prepare_cached(BY_TIME)?;
        return Ok(find.query_map((since, after.0, after.1.0, LOOKED_AT), place)?.collect::<rusqlite::Result<_>>()?);
    }
    let after = after.map_or(i64::MAX, |place| place.1.0);
    if filter.statuses.is_empty() {
        let mut find = conn.prepare_cached(BY_ID)?;
        return Ok(find.query_map((after, LOOKED_AT), place)?.collect::<rusqlite::Result<_>>()?);
    }
    let ids = list::ids(conn, &filter.statuses, after, LOOKED_AT)?;
    Ok(ids.into_iter().map(|id| Place(0, JobId(id))).collect())
}

impl Filter {
    fn lets_through(&self, row: &rusqlite::Row<'_>) -> rusqlite::Result<bool> {
        let status: String = row.col("status")?;
        if !self.statuses.is_empty() && !self.statuses.iter().any(|wanted| wanted.as_str() == status) {
            return Ok(false);
        }
        if !self.origins.is_empty() {
            let origin: Option<String> = row.col("origin")?;
            if !self.origins.iter().any(|wanted| origin.as_deref() == Some(wanted.as_str())) {
                return Ok(false);
            }
        }
        if self.words.is_empty() {
            return Ok(true);
        }
        let mut text = String::new();
        for name in ["subject", "from_address", "summary", "response"] {
            text.push_str(&row.col::<Option<String>>(name)?.unwrap_or_default().to_lowercase());
            text.push('\n');
        }
        Ok(self.words.iter().all(|word| text.contains(word.as_str())))
    }
}
