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
/// recipients and a number say.
pub(super) fn tell(tx: &Connection, now: Timestamp, outbox_id: i64, message: &Message) -> Result<Option<JobId>> {
    let Some(report) = &message.report else { return Ok(None) };
    let mut text = String::new();
    for one in &report.recipients {
        let diagnostic = one.diagnostic.as_deref().unwrap_or_default();
        let _ = writeln!(text, "{}: {} {} {diagnostic}", one.recipient, one.action, one.status);
    }
    let text: String = text.trim().chars().take(MAX_TEXT).collect();
    let Some(job_id) = store::bounced(tx, outbox_id, &text)? else { return Ok(None) };
    let failed: Vec<&Delivery> = report.recipients.iter().filter(|one| one.action == "failed").collect();
    if failed.is_empty() {
        return Ok(Some(job_id));
    }
    let (effect_id, subject, known) = store::outgoing(tx, outbox_id)?;
    let mut told = format!("A mail that this job sent, {subject:?}, came back.");
    for recipient in known.iter().filter(|known| failed.iter().any(|one| one.recipient == known.to_lowercase())) {
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
