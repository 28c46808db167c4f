//! SQL of the effect ledger; every change of state is compare-and-set.

use assistant_api::{
    EffectId, JobId,
    effects::{Effect, EffectState},
};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row};
use serde_json::{Value, json};

use super::{Filter, NewEffect, Open};
use crate::{
    error::{Error, Result},
    events,
    store::types::{RowExt as _, micros, to_json},
};

macro_rules! columns {
    () => {
        "id, job_id, call_key, tool, target, args_hash, origin, rule, state, detail, prepared_at, dispatched_at, \
         settled_at"
    };
}

fn from_state(text: &str) -> rusqlite::Result<EffectState> {
    text.parse()
        .map_err(|err: String| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, err.into()))
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Effect> {
    let state = from_state(row.get_ref("state")?.as_str()?)?;
    Ok(Effect {
        id: EffectId(row.col("id")?),
        job_id: row.col::<Option<i64>>("job_id")?.map(JobId),
        tool: row.col("tool")?,
        target: row.col("target")?,
        args_hash: row.col("args_hash")?,
        origin: row.col("origin")?,
        state,
        rule: row.col("rule")?,
        detail: row.json("detail")?,
        prepared_at: row.time("prepared_at")?,
        dispatched_at: row.opt_time("dispatched_at")?,
        settled_at: row.opt_time("settled_at")?,
    })
}

/// Writes an effect down before it is done. A call whose effect `failed` may be made again by a resumed run: it takes the
/// old row over.
///
/// # Errors
/// `conflict` when the job's call already has an effect in another state: look at it with [`by_call`] first.
pub fn prepare(conn: &Connection, now: Timestamp, new: &NewEffect) -> Result<EffectId> {
    let values = (
        new.job_id.map(|id| id.0),
        &new.call_key,
        &new.tool,
        &new.target,
        &new.args_hash,
        new.origin.as_str(),
        &new.rule,
        to_json(&new.detail)?,
        micros(now),
    );
    let id = conn
        .prepare_cached(
            "INSERT INTO effects (job_id, call_key, tool, target, args_hash, origin, rule, state, detail, prepared_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'prepared', ?8, ?9) \
             ON CONFLICT (job_id, call_key) WHERE call_key IS NOT NULL DO UPDATE SET tool = excluded.tool, \
             target = excluded.target, args_hash = excluded.args_hash, origin = excluded.origin, \
             rule = excluded.rule, state = 'prepared', detail = excluded.detail, prepared_at = excluded.prepared_at, \
             dispatched_at = NULL, settled_at = NULL WHERE effects.state = 'failed' RETURNING id",
        )?
        .query_row(values, |row| row.get(0).map(EffectId))
        .optional()?
        .ok_or_else(|| Error::conflict(format!("this call of {} is in the ledger already", new.tool)))?;
    emit(conn, now, id, new.job_id, EffectState::Prepared)?;
    Ok(id)
}

fn emit(conn: &Connection, now: Timestamp, id: EffectId, job_id: Option<JobId>, state: EffectState) -> Result<()> {
    events::emit(conn, now, "effect.state", job_id, &json!({ "effect_id": id, "state": state })).map(drop)
}

/// `prepared -> dispatched`: from here on it may have happened.
///
/// # Errors
/// `conflict` when it is in another state.
pub fn dispatch(conn: &Connection, now: Timestamp, id: EffectId) -> Result<()> {
    let changed = conn
        .prepare_cached(
            "UPDATE effects SET state = 'dispatched', dispatched_at = ?2 WHERE id = ?1 AND state = 'prepared' \
             RETURNING job_id",
        )?
        .query_row((id.0, micros(now)), |row| row.get::<_, Option<i64>>(0))
        .optional()?;
    // No event: the states before and after follow at once, and nobody can act on the one in between.
    match changed {
        Some(_) => Ok(()),
        None => Err(refused(conn, id, EffectState::Dispatched)),
    }
}

/// `dispatched -> prepared`: it certainly did not happen, and will be tried again. A mail that a server refused for the
/// time being is one.
///
/// # Errors
/// `conflict` when it is in another state.
pub fn postpone(conn: &Connection, id: EffectId) -> Result<()> {
    let changed = conn
        .prepare_cached(
            "UPDATE effects SET state = 'prepared', dispatched_at = NULL WHERE id = ?1 AND state = 'dispatched'",
        )?
        .execute([id.0])?;
    if changed == 1 { Ok(()) } else { Err(refused(conn, id, EffectState::Prepared)) }
}

/// `unknown -> prepared`: a person has it done again, although it may have happened.
///
/// # Errors
/// `conflict` when it is in another state.
pub fn repeat(conn: &Connection, now: Timestamp, id: EffectId, by: &str) -> Result<()> {
    let changed = conn
        .prepare_cached(
            "UPDATE effects SET state = 'prepared', dispatched_at = NULL, settled_at = NULL, \
             detail = json_set(detail, '$.repeated_by', ?2) WHERE id = ?1 AND state = 'unknown' RETURNING job_id",
        )?
        .query_row((id.0, by), |row| row.get::<_, Option<i64>>(0))
        .optional()?;
    match changed {
        Some(job_id) => emit(conn, now, id, job_id.map(JobId), EffectState::Prepared),
        None => Err(refused(conn, id, EffectState::Prepared)),
    }
}

/// Adds to what is kept about an effect, whatever its state, and says so in the event stream.
pub fn note(conn: &Connection, now: Timestamp, id: EffectId, detail: &Value) -> Result<()> {
    let (job_id, state) = conn
        .prepare_cached("UPDATE effects SET detail = json_patch(detail, ?2) WHERE id = ?1 RETURNING job_id, state")?
        .query_row((id.0, to_json(detail)?), |row| {
            Ok((row.get::<_, Option<i64>>(0)?, from_state(row.get_ref(1)?.as_str()?)?))
        })
        .optional()?
        .ok_or_else(|| Error::not_found("effect", id))?;
    emit(conn, now, id, job_id.map(JobId), state)
}

/// Adds to what is kept about an effect, without a word to anybody.
pub fn mark(conn: &Connection, id: EffectId, detail: &Value) -> Result<()> {
    conn.prepare_cached("UPDATE effects SET detail = json_patch(detail, ?2) WHERE id = ?1")?
        .execute((id.0, to_json(detail)?))?;
    Ok(())
}

/// What became of it: to `confirmed`, `failed` or `unknown`, from `prepared`, `dispatched` or `unknown`. The keys of
/// `detail` are added to what is there.
///
/// # Errors
/// `conflict` when it is settled already, `invalid` when `state` is not an end.
pub fn settle(
    conn: &Connection,
    now: Timestamp,
    id: EffectId,
    state: EffectState,
    detail: Option<&Value>,
) -> Result<()> {
    if matches!(state, EffectState::Prepared | EffectState::Dispatched) {
        return Err(Error::invalid("an effect is settled as confirmed, failed or unknown").field("state"));
    }
    let patch = detail.map(to_json).transpose()?;
    let changed = conn
        .prepare_cached(
            "UPDATE effects SET state = ?2, settled_at = ?3, \
             detail = CASE WHEN ?4 IS NULL THEN detail ELSE json_patch(detail, ?4) END \
             WHERE id = ?1 AND state IN ('prepared', 'dispatched', 'unknown') RETURNING job_id",
        )?
        .query_row((id.0, state.as_str(), micros(now), patch), |row| row.get::<_, Option<i64>>(0))
        .optional()?;
    match changed {
        Some(job_id) => emit(conn, now, id, job_id.map(JobId), state),
        None => Err(refused(conn, id, state)),
    }
}

fn refused(conn: &Connection, id: EffectId, wanted: EffectState) -> Error {
    match get(conn, id) {
        Ok(effect) => {
            let (is, wanted) = (effect.state.as_str(), wanted.as_str());
            Error::conflict(format!("effect {id} is {is} and cannot become {wanted}"))
        }
        Err(err) => err,
    }
}

/// One effect, or `not_found`.
pub fn get(conn: &Connection, id: EffectId) -> Result<Effect> {
    conn.prepare_cached(concat!("SELECT ", columns!(), " FROM effects WHERE id = ?1"))?
        .query_row([id.0], from_row)
        .optional()?
        .ok_or_else(|| Error::not_found("effect", id))
}

/// The effect of one call of a job: how a resumed run finds what it had begun.
pub fn by_call(conn: &Connection, job_id: JobId, call_key: &str) -> Result<Option<Effect>> {
    let found = conn
        .prepare_cached(concat!("SELECT ", columns!(), " FROM effects WHERE job_id = ?1 AND call_key = ?2"))?
        .query_row((job_id.0, call_key), from_row)
        .optional()?;
    Ok(found)
}

/// The newest effects of a job, newest first, of all tools.
pub fn for_job(conn: &Connection, job_id: JobId, limit: i64) -> Result<Vec<Effect>> {
    list(conn, &Filter { job_id: Some(job_id), limit, ..Filter::default() })
}

/// A page of effects, newest first.
pub fn list(conn: &Connection, filter: &Filter) -> Result<Vec<Effect>> {
    let before = filter.before.map_or(i64::MAX, |id| id.0);
    let state = filter.state.map(EffectState::as_str);
    let collect = |sql: &str, values: &[&dyn rusqlite::ToSql]| -> Result<Vec<Effect>> {
        Ok(conn.prepare_cached(sql)?.query_map(values, from_row)?.collect::<rusqlite::Result<_>>()?)
    };
    match (filter.job_id, state) {
        (Some(job), None) => collect(
            concat!("SELECT ", columns!(), " FROM effects WHERE job_id = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3"),
            &[&job.0, &before, &filter.limit],
        ),
        (Some(job), Some(state)) => collect(
            concat!(
                "SELECT ",
                columns!(),
                " FROM effects WHERE job_id = ?1 AND id < ?2 AND state = ?4 ORDER BY id DESC LIMIT ?3"
            ),
            &[&job.0, &before, &filter.limit, &state],
        ),
        (None, None) => collect(
            concat!("SELECT ", columns!(), " FROM effects WHERE id < ?1 ORDER BY id DESC LIMIT ?2"),
            &[&before, &filter.limit],
        ),
        // What is open is little, what is settled is most: the one by its own index, the other along all.
        (None, Some(state)) if state == "confirmed" || state == "failed" => collect(
            concat!("SELECT ", columns!(), " FROM effects WHERE state = ?3 AND id < ?1 ORDER BY id DESC LIMIT ?2"),
            &[&before, &filter.limit, &state],
        ),
        (None, Some(state)) => collect(
            concat!(
                "SELECT ",
                columns!(),
                " FROM effects INDEXED BY effects_open WHERE state IN ('prepared', 'dispatched', 'unknown') \
                 AND state = ?3 AND id < ?1 ORDER BY id DESC LIMIT ?2"
            ),
            &[&before, &filter.limit, &state],
        ),
    }
}

/// What a crash may have left, of one job or of all: every `prepared` or `dispatched` effect, oldest first.
pub fn open_effects(conn: &Connection, job_id: Option<JobId>) -> Result<Vec<Open>> {
    let found = conn
        .prepare_cached(concat!(
            "SELECT ",
            columns!(),
            " FROM effects INDEXED BY effects_open WHERE state IN ('prepared', 'dispatched', 'unknown') \
             AND state <> 'unknown' AND (?1 IS NULL OR job_id = ?1) ORDER BY id"
        ))?
        .query_map([job_id.map(|id| id.0)], |row| Ok(Open { effect: from_row(row)?, call_key: row.col("call_key")? }))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(found)
}

/// Workspace paths that the job's confirmed effects left behind, newest first, each once: `detail.written`, or the
/// target where a tool does not say.
pub fn written_paths(conn: &Connection, job_id: JobId) -> Result<Vec<String>> {
    let mut paths: Vec<String> = Vec::new();
    let found: Vec<(String, Option<String>)> = conn
        .prepare_cached(
            "SELECT target, json_extract(detail, '$.written') FROM effects \
             WHERE job_id = ?1 AND state = 'confirmed' ORDER BY id DESC LIMIT 1000",
        )?
        .query_map([job_id.0], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (target, written) in found {
        let written = written.map(|text| serde_json::from_str::<Vec<String>>(&text)).transpose()?;
        for path in written.unwrap_or_else(|| vec![target]) {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
    }
    Ok(paths)
}

/// Settles an effect that is `unknown`, as a person says.
pub(super) fn resolve(conn: &Connection, now: Timestamp, id: EffectId, state: EffectState, by: &str) -> Result<Effect> {
    let effect = get(conn, id)?;
    if effect.state != EffectState::Unknown {
        let message = format!("effect {id} is {}; only an unknown one is resolved by hand", effect.state.as_str());
        return Err(Error::conflict(message));
    }
    settle(conn, now, id, state, Some(&json!({ "resolved_by": by })))?;
    let payload = json!({ "effect_id": id, "state": state, "by": by });
    conn.prepare_cached(
        "INSERT INTO manual_events (event_type, job_id, payload, created_at) VALUES ('effect_resolved', ?1, ?2, ?3)",
    )?
    .execute((effect.job_id.map(|id| id.0), payload.to_string(), micros(now)))?;
    get(conn, id)
}
