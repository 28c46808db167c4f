//! A mail that comes back is told to the job that sent it.

use assistant_api::{EffectId, JobId};
use assistant_mail::protocol::Report;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};
use serde_json::json;

use crate::{error::Result, ledger, store::types::RowExt as _};

/// The mail that a report is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounced {
    pub outbox_id: i64,
    pub job_id: Option<JobId>,
    /// What is said of it; `None`: nothing that anybody has to know, such as that it takes longer.
    pub text: Option<String>,
}

/// Takes up what a server says of a mail (RFC 3464), in the transaction that decides about the report; `None`: it is about
/// no mail of ours. Whoever knows a message id can write such a report, so nothing of it is believed but which of our own
/// recipients it names, and a number.
pub fn bounced(conn: &Connection, now: Timestamp, report: &Report) -> Result<Option<Bounced>> {
    let Some(message_id) = &report.message_id else { return Ok(None) };
    let found = conn
        .prepare_cached(
            "SELECT id, effect_id, job_id, to_addresses, cc_addresses, bounce FROM outbox WHERE message_id = ?1",
        )?
        .query_row([message_id], |row| {
            let mut recipients: Vec<String> = row.json("to_addresses")?;
            recipients.extend(row.json::<Vec<String>>("cc_addresses")?);
            let job_id: Option<i64> = row.col("job_id")?;
            let known: Option<String> = row.col("bounce")?;
            Ok((row.col("id")?, EffectId(row.col("effect_id")?), job_id.map(JobId), recipients, known))
        })
        .optional()?;
    let Some((outbox_id, effect_id, job_id, recipients, known)) = found else { return Ok(None) };
    let of_ours = |recipient: &str| recipients.iter().find(|own| own.eq_ignore_ascii_case(recipient.trim()));
    let failed: Vec<String> = report
        .recipients
        .iter()
        .filter(|delivery| delivery.action.eq_ignore_ascii_case("failed"))
        .filter_map(|delivery| Some(format!("{} could not be reached{}", of_ours(&delivery.recipient)?, number(&delivery.status))))
        .collect();
    if failed.is_empty() {
        return Ok(Some(Bounced { outbox_id, job_id, text: None }));
    }
    let text = failed.join("; ");
    if known.as_deref() != Some(&text) {
        conn.prepare_cached("UPDATE outbox SET bounce = ?2 WHERE id = ?1")?.execute((outbox_id, &text))?;
        // The event of it is what tells the job, or the owner if that has ended.
        ledger::note(conn, now, effect_id, &json!({ "bounce": text, "told": false }))?;
    }
    Ok(Some(Bounced { outbox_id, job_id, text: Some(text) }))
}

/// A status such as `5.1.1`, if it is one (RFC 3463).
fn number(status: &str) -> String {
    let status = status.trim();
    let parts: Vec<_> = status.split('.').collect();
    let digits = |part: &&str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    if parts.len() == 3 && parts.iter().all(digits) { format!(" ({status})") } else { String::new() }
}
