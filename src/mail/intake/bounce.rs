//! Reports about mail that was sent, told to the job that sent it.

use std::fmt::Write as _;

use assistant_api::JobId;
use assistant_mail::protocol::{Delivery, Message};
use jiff::Timestamp;
use rusqlite::Connection;
use serde_json::json;

use super::store;
use crate::{
    error::Result,
    jobs::{self, NewLog, within},
    ledger,
    policy::Origin,
};

const MAX_TEXT: usize = 4000;

/// Writes the report to its mail, and tells the job: an open one goes on with it, one that has ended has it in its log.
///
/// Anybody can write such a report who knows the id of the mail, so that the job gets nothing of it but what the mail's own
/// recipients and a number say, of each recipient once, and once of one whom it does not name.
pub(super) fn tell(tx: &Connection, now: Timestamp, outbox_id: i64, message: &Message) -> Result<Option<JobId>> {
    let Some(report) = &message.report else { return Ok(None) };
    let (before, job_id) = store::bounces(tx, outbox_id)?;
    let Some(job_id) = job_id else { return Ok(None) };
    let (effect_id, subject, known) = store::outgoing(tx, outbox_id)?;
    let failed: Vec<&Delivery> = report.recipients.iter().filter(|one| one.action == "failed").collect();
    let lines = before.as_deref().unwrap_or_default();
    let is_new = |recipient: &str| !lines.lines().any(|line| line.starts_with(&format!("{recipient}: ")));
    let of = |known: &str| failed.iter().find(|one| one.recipient == known.to_lowercase()).copied();
    let lost: Vec<(&str, &Delivery)> =
        known.iter().filter(|known| is_new(known)).filter_map(|known| Some((known.as_str(), of(known)?))).collect();
    // One who is not among its recipients may be where one of them has mail forwarded to.
    let elsewhere = failed.first().filter(|_| before.is_none() && lost.is_empty());
    if lost.is_empty() && elsewhere.is_none() {
        return Ok(Some(job_id));
    }
    let mut text = before.map(|before| before + "\n").unwrap_or_default();
    for (recipient, one) in lost.iter().copied().chain(elsewhere.map(|one| (one.recipient.as_str(), *one))) {
        let diagnostic = one.diagnostic.as_deref().unwrap_or_default();
        let _ = writeln!(text, "{recipient}: {} {} {diagnostic}", one.action, one.status);
    }
    let text: String = text.trim().chars().take(MAX_TEXT).collect();
    store::bounced(tx, outbox_id, &text)?;
    let mut told = format!("A mail that this job sent, {subject:?}, came back.");
    for (recipient, _) in &lost {
        let _ = write!(told, " It did not reach {recipient}.");
    }
    if let Some(status) = failed.iter().map(|one| one.status.as_str()).find(|status| is_status(status)) {
        let _ = write!(told, " The status is {status} (RFC 3463).");
    }
    let job = within::get(tx, job_id)?;
    if job.status.is_open() {
        within::instruct(tx, now, job_id, &told, "mail", Origin::Host)?;
    } else {
        let note = NewLog {
            event_type: "supervisor_note",
            input_data: Some(json!({ "kind": "bounce", "by": "mail", "text": told })),
            ..NewLog::default()
        };
        jobs::log::append(tx, now, job_id, &note)?;
        // The owner hears of it by the event of this.
        ledger::note(tx, now, effect_id, &json!({ "bounce": told }))?;
    }
    Ok(Some(job_id))
}

fn is_status(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    parts.len() == 3
        && parts.iter().all(|part| (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit()))
}
