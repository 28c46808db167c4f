//! Money: reserved before a call, settled after it, per UTC day and per job. Amounts are billionths of a US dollar.

use assistant_api::JobId;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};

use super::usage::usd;
use crate::{config::Config, error::Result, jobs::outcome::Overrides, store::types::micros};

/// A reservation that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReservationId(pub i64);

/// The most that may be spent; `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// By all jobs of a UTC day.
    pub day_nanos: Option<i64>,
    /// By one job.
    pub job_nanos: Option<i64>,
}

impl Caps {
    /// Those of the configuration, in which 0 is none.
    pub fn of(config: &Config) -> Self {
        Self { day_nanos: cap(config.limits.max_daily_cost_usd), job_nanos: cap(config.limits.max_job_cost_usd) }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a million dollars fit")]
fn cap(dollars: f64) -> Option<i64> {
    (dollars > 0.0).then_some((dollars * 1e9) as i64)
}

/// A cap that a call would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverCap {
    pub which: Cap,
    pub cap_nanos: i64,
    /// Spent and reserved so far.
    pub used_nanos: i64,
    /// What the call may cost.
    pub wanted_nanos: i64,
}

impl std::fmt::Display for OverCap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (what, key) = match self.which {
            Cap::Day => ("the daily spend cap", "limits.max_daily_cost_usd"),
            Cap::Job => ("the spend cap of one job", "limits.max_job_cost_usd"),
        };
        let (used, cap, wanted) = (dollars(self.used_nanos), dollars(self.cap_nanos), dollars(self.wanted_nanos));
        write!(f, "{what} is reached: {used} of {cap} spent or reserved, and the next call may cost {wanted} ({key})")
    }
}

/// Billionths of a dollar as dollars and cents, with more digits where cents would hide them.
fn dollars(nanos: i64) -> String {
    let digits = if nanos % 10_000_000 == 0 { 2 } else { 4 };
    format!("${:.digits$}", usd(nanos))
}

/// Which cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cap {
    Day,
    Job,
}

/// What has been spent and reserved on the UTC day of `now`.
pub fn today(conn: &Connection, now: Timestamp) -> Result<i64> {
    let sum = conn
        .prepare_cached("SELECT reserved_nanos + settled_nanos FROM spend_days WHERE day = ?1")?
        .query_row([day(now)], |row| row.get(0))
        .optional()?;
    Ok(sum.unwrap_or(0))
}

/// Sets `nanos` aside for one call, unless that would exceed a cap; a job may have one of its own. What costs nothing is
/// never refused.
pub fn reserve(
    conn: &Connection,
    now: Timestamp,
    job_id: JobId,
    nanos: i64,
    caps: Caps,
) -> Result<Result<ReservationId, OverCap>> {
    let nanos = nanos.max(0);
    if nanos > 0 {
        let over = |which, cap: Option<i64>, used: i64| {
            let cap_nanos = cap.filter(|cap| used.saturating_add(nanos) > *cap)?;
            Some(OverCap { which, cap_nanos, used_nanos: used, wanted_nanos: nanos })
        };
        if let Some(over) = over(Cap::Day, caps.day_nanos, today(conn, now)?) {
            return Ok(Err(over));
        }
        let by_job: i64 = conn
            .prepare_cached(
                "SELECT coalesce((SELECT cost_nanos FROM jobs WHERE id = ?1), 0) \
                 + coalesce((SELECT sum(nanos) FROM reservations WHERE job_id = ?1), 0)",
            )?
            .query_row([job_id.0], |row| row.get(0))?;
        if let Some(over) = over(Cap::Job, own_cap(conn, job_id)?.map_or(caps.job_nanos, cap), by_job) {
            return Ok(Err(over));
        }
    }
    let day = day(now);
    conn.prepare_cached(
        "INSERT INTO spend_days (day, reserved_nanos) VALUES (?1, ?2) \
         ON CONFLICT DO UPDATE SET reserved_nanos = reserved_nanos + ?2",
    )?
    .execute((&day, nanos))?;
    conn.prepare_cached("INSERT INTO reservations (job_id, day, nanos, created_at) VALUES (?1, ?2, ?3, ?4)")?
        .execute((job_id.0, &day, nanos, micros(now)))?;
    Ok(Ok(ReservationId(conn.last_insert_rowid())))
}

/// US dollars that this job may cost instead of what is configured. One that was erased meanwhile has none.
fn own_cap(conn: &Connection, job_id: JobId) -> Result<Option<f64>> {
    let metadata = conn
        .prepare_cached("SELECT metadata FROM jobs WHERE id = ?1")?
        .query_row([job_id.0], |row| row.get::<_, String>(0))
        .optional()?;
    let Some(metadata) = metadata else { return Ok(None) };
    Ok(Overrides::of(&serde_json::from_str(&metadata)?)?.max_cost)
}

/// Characters of a model's name, which its provider chooses.
const LONGEST_MODEL: usize = 100;

/// Replaces a reservation by what the call really cost, on the day on which it was reserved. A reservation that is no
/// longer there was settled before; nothing is counted twice. `model` is who answered, empty if nobody did.
pub fn settle(conn: &Connection, id: ReservationId, model: &str, nanos: i64, tokens: i64) -> Result<()> {
    let found: Option<(String, i64)> = conn
        .prepare_cached("DELETE FROM reservations WHERE id = ?1 RETURNING day, nanos")?
        .query_row([id.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if let Some((day, reserved)) = found {
        count(conn, &day, model, reserved, nanos.max(0), tokens)?;
    }
    Ok(())
}

fn count(conn: &Connection, day: &str, model: &str, reserved: i64, settled: i64, tokens: i64) -> Result<()> {
    conn.prepare_cached(
        "UPDATE spend_days SET reserved_nanos = reserved_nanos - ?2, settled_nanos = settled_nanos + ?3, \
         calls = calls + 1, tokens = tokens + ?4 WHERE day = ?1",
    )?
    .execute((day, reserved, settled, tokens))?;
    if settled > 0 {
        let name: String = model.chars().take(LONGEST_MODEL).collect();
        conn.prepare_cached(
            "INSERT INTO spend_models (day, model, nanos) VALUES (?1, ?2, ?3) \
             ON CONFLICT (day, model) DO UPDATE SET nanos = nanos + excluded.nanos",
        )?
        .execute((day, name, settled))?;
    }
    Ok(())
}

/// Settles what the calls of runs that ended in their middle had reserved, of one job or of all. Nobody knows whether
/// the provider charged for them, so they count as what was reserved.
pub fn release_orphans(conn: &Connection, job_id: Option<JobId>) -> Result<usize> {
    let orphans: Vec<(Option<i64>, String, i64)> = match job_id {
        Some(id) => conn
            .prepare_cached("DELETE FROM reservations WHERE job_id = ?1 RETURNING job_id, day, nanos")?
            .query_map([id.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<rusqlite::Result<_>>()?,
        None => conn
            .prepare_cached("DELETE FROM reservations RETURNING job_id, day, nanos")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<rusqlite::Result<_>>()?,
    };
    for (job, day, nanos) in &orphans {
        count(conn, day, "", *nanos, *nanos, 0)?;
        conn.prepare_cached("UPDATE jobs SET cost_nanos = cost_nanos + ?2 WHERE id = ?1")?.execute((job, nanos))?;
    }
    Ok(orphans.len())
}

/// The UTC day, as `2026-11-22`.
fn day(now: Timestamp) -> String {
    now.to_zoned(jiff::tz::TimeZone::UTC).date().to_string()
}
