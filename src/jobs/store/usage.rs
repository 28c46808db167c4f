//! Running sums of what a job has used; never summed over logs.

use assistant_api::{JobId, jobs::Usage};
use jiff::Timestamp;
use rusqlite::Connection;

use super::steps::lost;
use crate::{
    error::Result,
    jobs::Lease,
    store::types::{RowExt as _, micros},
};

/// What one step used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageDelta {
    /// Model calls.
    pub calls: i64,
    pub tokens: i64,
    /// Billionths of a US dollar.
    pub cost_nanos: i64,
    pub iterations: i64,
}

/// Adds to the job's sums.
///
/// # Errors
/// `conflict` when the lease is no longer held.
pub fn add(conn: &Connection, now: Timestamp, lease: &Lease, delta: UsageDelta) -> Result<()> {
    let changed = conn
        .prepare_cached(
            "UPDATE jobs SET api_calls = api_calls + ?3, tokens = tokens + ?4, cost_nanos = cost_nanos + ?5, \
             iterations = iterations + ?6, first_usage_at = coalesce(first_usage_at, ?7), last_usage_at = ?7 \
             WHERE id = ?1 AND lease = ?2 AND status = 'running'",
        )?
        .execute((
            lease.job_id.0,
            lease.token,
            delta.calls,
            delta.tokens,
            delta.cost_nanos,
            delta.iterations,
            micros(now),
        ))?;
    if changed == 1 { Ok(()) } else { Err(lost(lease.job_id)) }
}

/// The sums as the API shows them, with the iterations.
pub(in crate::jobs) fn get(conn: &Connection, job_id: JobId) -> Result<(Usage, i64)> {
    let found = conn
        .prepare_cached(
            "SELECT cost_nanos, api_calls, tokens, first_usage_at, last_usage_at, iterations FROM jobs WHERE id = ?1",
        )?
        .query_row([job_id.0], |row| {
            let usage = Usage {
                currency: "USD".into(),
                cost_total: usd(row.col("cost_nanos")?),
                api_call_count: row.col("api_calls")?,
                total_tokens: row.col("tokens")?,
                first_usage_at: row.opt_time("first_usage_at")?,
                last_usage_at: row.opt_time("last_usage_at")?,
            };
            Ok((usage, row.col("iterations")?))
        })?;
    Ok(found)
}

/// Billionths of a US dollar in US dollars.
#[expect(clippy::cast_precision_loss, reason = "for display; money is counted in integers")]
pub fn usd(nanos: i64) -> f64 {
    nanos as f64 / 1e9
}
