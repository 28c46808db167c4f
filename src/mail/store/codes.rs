//! Codes by which a reply decides about one exact request of a job, once.

use std::fmt::Write as _;

use assistant_api::{ApprovalId, JobId, jobs::Job};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};
use sha2::{Digest as _, Sha256};

use crate::{
    error::{Error, Result},
    jobs::{NeedsWhat, within},
    store::types::{RowExt as _, micros},
};

/// Without characters that look alike.
const ALPHABET: &[u8; 31] = b"23456789ABCDEFGHJKMNPQRSTUVWXYZ";
const GROUP: usize = 4;
const GROUPS: usize = 3;

/// What a job asks for at present, so that a code is good for nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// As in [`crate::jobs::NeedsWhat`].
    pub what: String,
    pub approval_id: Option<ApprovalId>,
    /// The same as long as exactly the same is asked.
    pub(in crate::mail) key: String,
}

/// What the job asks for; `None` when it asks nothing.
pub fn request(conn: &Connection, job: &Job) -> Result<Option<Request>> {
    let Some(needs) = &job.needs else { return Ok(None) };
    let step: i64 =
        conn.prepare_cached("SELECT step_seq FROM jobs WHERE id = ?1")?.query_row([job.id.0], |row| row.get(0))?;
    let call: Option<String> = needs
        .approval_id
        .map(|id| {
            conn.prepare_cached("SELECT args_hash FROM approvals WHERE id = ?1")?.query_row([id.0], |row| row.get(0))
        })
        .transpose()?;
    let about = Sha256::digest(format!("{step}\n{}\n{}", call.unwrap_or_default(), needs.text));
    let key = format!("{}/{}/{}", needs.what, needs.approval_id.map_or(0, |id| id.0), hex(&about));
    Ok(Some(Request { what: needs.what.clone(), approval_id: needs.approval_id, key }))
}

/// A new code for what the job asks for, such as `7KQM-3XPD-W9HT`; `outbox_id` is the mail that carries it.
///
/// # Errors
/// `conflict` when the job asks nothing.
pub fn make(tx: &Connection, now: Timestamp, job_id: JobId, outbox_id: Option<i64>) -> Result<String> {
    let job = within::get(tx, job_id)?;
    let request = request(tx, &job)?
        .ok_or_else(|| Error::conflict(format!("job {job_id} is {} and asks nothing", job.status)))?;
    let code = random()?;
    keep(tx, now, &code, job_id, &request, outbox_id)?;
    Ok(code)
}

/// Keeps a code of [`random`] that stands in a mail already.
pub(in crate::mail) fn keep(
    tx: &Connection,
    now: Timestamp,
    code: &str,
    job_id: JobId,
    request: &Request,
    outbox_id: Option<i64>,
) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO mail_codes (hash, job_id, request, outbox_id, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute((hash(code), job_id.0, &request.key, outbox_id, micros(now)))?;
    Ok(())
}

/// What a code is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Worth {
    /// The job asks exactly this at present.
    Good(JobId, Request),
    /// It was used before.
    Used(JobId, Kind),
    /// The job asks for something else now, or for nothing.
    Void(JobId, Kind),
    /// Nobody made it.
    Unknown,
}

/// What a code was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A question, which any text answers.
    Question,
    /// Something that is approved or denied.
    Decision,
}

impl Request {
    /// What its codes are for.
    pub fn kind(&self) -> Kind {
        kind(&self.what)
    }
}

fn kind(what: &str) -> Kind {
    if what == NeedsWhat::Answer.as_str() { Kind::Question } else { Kind::Decision }
}

/// What a code is worth now; it stays as it is.
pub fn worth(conn: &Connection, code: &str) -> Result<Worth> {
    let found = conn
        .prepare_cached("SELECT job_id, request, used_at FROM mail_codes WHERE hash = ?1")?
        .query_row([hash(code)], |row| {
            let used: Option<i64> = row.col("used_at")?;
            Ok((JobId(row.col("job_id")?), row.col::<String>("request")?, used.is_some()))
        })
        .optional()?;
    let Some((job_id, key, used)) = found else { return Ok(Worth::Unknown) };
    let made_for = kind(key.split('/').next().unwrap_or_default());
    if used {
        return Ok(Worth::Used(job_id, made_for));
    }
    Ok(match request(conn, &within::get(conn, job_id)?)? {
        Some(request) if request.key == key => Worth::Good(job_id, request),
        _ => Worth::Void(job_id, made_for),
    })
}

/// Uses a code up; it is good for nothing from now on.
pub fn use_up(tx: &Connection, now: Timestamp, code: &str) -> Result<()> {
    tx.prepare_cached("UPDATE mail_codes SET used_at = ?2 WHERE hash = ?1")?.execute((hash(code), micros(now)))?;
    Ok(())
}

/// What in a text has the form of a code.
pub fn find(text: &str) -> Vec<String> {
    let length = GROUP * GROUPS + GROUPS - 1;
    let mut found: Vec<String> = text
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
        .filter(|word| word.len() == length)
        .map(str::to_ascii_uppercase)
        .filter(|word| {
            let groups: Vec<&str> = word.split('-').collect();
            let good = |group: &&str| group.len() == GROUP && group.bytes().all(|byte| ALPHABET.contains(&byte));
            groups.len() == GROUPS && groups.iter().all(good)
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

/// A text without its codes and the brackets around them.
pub fn without(text: &str) -> String {
    let mut kept = text.to_owned();
    for code in find(text) {
        // As long in either case: a code is ASCII.
        while let Some(at) = kept.to_ascii_uppercase().find(&code) {
            let (before, after) = (&kept[..at], &kept[at + code.len()..]);
            let (before, after) = match (before.strip_suffix('['), after.strip_prefix(']')) {
                (Some(before), Some(after)) => (before.trim_end_matches(' '), after),
                _ => (before, after),
            };
            kept = format!("{before}{after}");
        }
    }
    kept
}

fn hash(code: &str) -> [u8; 32] {
    Sha256::digest(code.to_ascii_uppercase()).into()
}

/// Bytes as people read them.
pub(in crate::mail) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // a text takes everything
        text
    })
}

/// A new code.
pub(in crate::mail) fn random() -> Result<String> {
    let mut code = String::new();
    while code.len() < GROUP * GROUPS + GROUPS - 1 {
        let mut byte = [0];
        getrandom::fill(&mut byte).map_err(|err| Error::internal(err.to_string()))?;
        // Every character is as likely as any other.
        if let Some(character) = ALPHABET.get(usize::from(byte[0] & 31)) {
            if code.len() % (GROUP + 1) == GROUP {
                code.push('-');
            }
            code.push(char::from(*character));
        }
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_where_they_stand() {
        let code = random().unwrap();
        assert_eq!(code.len(), 14);
        let text = format!("> Re: [{code}] approve\nAAAA-BBBB and {}.", code.to_lowercase());
        assert_eq!(find(&text), std::slice::from_ref(&code));
        assert_ne!(random().unwrap(), code);
        assert!(find("0000-1111-2222 ABCD-EFGH-JKMO").is_empty());
        let low = code.to_lowercase();
        assert_eq!(without(&format!("Re: Paint it [{code}]")), "Re: Paint it");
        assert_eq!(without(&format!("{low}, but be quick, {code}")), ", but be quick, ");
        assert_eq!(without("Ä [x] 7KQM"), "Ä [x] 7KQM");
    }
}
