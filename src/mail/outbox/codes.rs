//! Codes by which a reply decides: each is for one exact request of one job, and good for one use. Only their hashes are
//! kept.

use assistant_api::{ApprovalId, JobId};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};
use sha2::{Digest as _, Sha256};

use crate::{
    error::{Error, Result},
    store::types::micros,
};

/// Letters and digits that nobody takes for one another; 32 of them, so that every byte gives one without a bias.
const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
/// Groups of a code, and letters of a group: 60 bits.
const GROUPS: usize = 3;
const GROUP: usize = 4;

/// What a job in review waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `answer`, `approval`, `limits`, ... as [`crate::jobs::NeedsWhat`] names them.
    pub what: String,
    pub approval_id: Option<ApprovalId>,
    /// The same as long as exactly the same is asked.
    pub key: String,
}

/// What became of a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redeemed {
    /// It is used up now, and this is what it decides about.
    Valid(Request),
    /// There is no such code for this job.
    Unknown,
    /// It was used before.
    Used,
    /// The job no longer asks for what the code was made for.
    Changed,
}

/// A new code, such as `K7QM-2XWR-9TBA`.
pub(super) fn new() -> Result<String> {
    let mut random = [0; GROUPS * GROUP];
    getrandom::fill(&mut random).map_err(|err| Error::internal(err.to_string()))?;
    let letters: Vec<_> = random.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
    Ok(letters.chunks(GROUP).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join("-"))
}

fn hash(code: &str) -> [u8; 32] {
    let plain: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
    Sha256::digest(plain.to_ascii_uppercase()).into()
}

/// What stands like a code in a text, each once, in its order: there may be several in a quoted conversation.
pub fn find(text: &str) -> Vec<String> {
    let length = GROUPS * (GROUP + 1) - 1;
    let mut found: Vec<String> = Vec::new();
    for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-') {
        let upper = word.to_ascii_uppercase();
        let shaped = upper.len() == length
            && upper.split('-').count() == GROUPS
            && upper.split('-').all(|group| group.len() == GROUP && group.bytes().all(|b| LETTERS.contains(&b)));
        if shaped && !found.contains(&upper) {
            found.push(upper);
        }
    }
    found
}

/// What the job waits for, if it waits for a person.
pub fn request(conn: &Connection, job: JobId) -> Result<Option<Request>> {
    let found: Option<(Option<String>, Option<String>, i64)> = conn
        .prepare_cached("SELECT needs, last_error, step_seq FROM jobs WHERE id = ?1 AND status = 'needs_review'")?
        .query_row([job.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((Some(what), text, step)) = found else { return Ok(None) };
    if what != "approval" {
        let text: String = format!("{:x}", Sha256::digest(text.unwrap_or_default()));
        // The same question asked again is another request.
        return Ok(Some(Request { key: format!("{what}:{step}:{text}"), what, approval_id: None }));
    }
    let approval: Option<(i64, String)> = conn
        .prepare_cached(
            "SELECT id, args_hash FROM approvals WHERE job_id = ?1 AND state = 'pending' ORDER BY id DESC LIMIT 1",
        )?
        .query_row([job.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(approval.map(|(id, args_hash)| Request {
        key: format!("approval:{id}:{args_hash}"),
        what,
        approval_id: Some(ApprovalId(id)),
    }))
}

/// Keeps a code that was told with a mail.
pub(super) fn keep(
    conn: &Connection,
    now: Timestamp,
    code: &str,
    job: JobId,
    request: &Request,
    outbox_id: i64,
) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO mail_codes (hash, job_id, request, outbox_id, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute((hash(code), job.0, &request.key, outbox_id, micros(now)))?;
    Ok(())
}

/// Uses a code for this job, in the transaction that acts on it. Nothing is used up unless it is valid.
pub fn redeem(conn: &Connection, now: Timestamp, job: JobId, code: &str) -> Result<Redeemed> {
    let found: Option<(String, Option<i64>)> = conn
        .prepare_cached("SELECT request, used_at FROM mail_codes WHERE hash = ?1 AND job_id = ?2")?
        .query_row((hash(code), job.0), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((key, used_at)) = found else { return Ok(Redeemed::Unknown) };
    if used_at.is_some() {
        return Ok(Redeemed::Used);
    }
    let Some(request) = request(conn, job)?.filter(|request| request.key == key) else {
        return Ok(Redeemed::Changed);
    };
    conn.prepare_cached("UPDATE mail_codes SET used_at = ?2 WHERE hash = ?1")?.execute((hash(code), micros(now)))?;
    Ok(Redeemed::Valid(request))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn codes_are_found_in_what_people_write() {
        let code = new().unwrap();
        assert_eq!(code.len(), 14);
        for text in [
            format!("Re: [Ada] Approve? [{code}]"),
            format!("> the code is {code}."),
            format!("approve {}", code.to_lowercase()),
            format!("{code} {code}"),
        ] {
            assert_eq!(find(&text), [code.clone()], "{text}");
        }
        assert!(find("AAAA-BBBB AAAA-BBBB-CCC1 AAAA-BBBB-CCCC-DDDD AAAABBBBCCCCDD").is_empty());
        assert_ne!(new().unwrap(), code);
    }

    #[tokio::test]
    async fn a_code_decides_about_one_exact_request_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("assistant.db")).unwrap();
        store
            .write(|tx| {
                let now = Timestamp::UNIX_EPOCH;
                tx.execute_batch(
                    "INSERT INTO jobs (id, thread_id, status, needs, last_error, step_seq, run_at, created_at, updated_at) VALUES
                     (7, 'a', 'needs_review', 'answer', 'which?', 3, 0, 0, 0), (8, 'b', 'needs_review', 'approval', 'x', 3, 0, 0, 0);
                     INSERT INTO approvals (id, job_id, call_key, tool, args, args_hash, reason, rule, state, created_at)
                     VALUES (5, 8, '3:0', 't', '{}', 'aa', 'r', 'r', 'pending', 0);
                     INSERT INTO effects (id, tool, target, args_hash, origin, rule, state, prepared_at)
                     VALUES (1, 'email_send', 't', 'h', 'host', 'r', 'prepared', 0);
                     INSERT INTO outbox (id, effect_id, kind, message_id, from_address, to_addresses, subject, body_text, counted,
                     created_at) VALUES (1, 1, 'question', '<1@x>', 'a@x', '[]', 's', 'b', 0, 0)",
                )?;
                let (seven, eight) = (JobId(7), JobId(8));
                let make = |job| {
                    let code = new()?;
                    keep(tx, now, &code, job, &request(tx, job)?.unwrap(), 1)?;
                    Ok::<_, Error>(code)
                };
                let (question, approval) = (make(seven)?, make(eight)?);
                assert_eq!(redeem(tx, now, eight, &question)?, Redeemed::Unknown, "of another job");
                assert_eq!(redeem(tx, now, seven, "AAAA-AAAA-AAAA")?, Redeemed::Unknown);
                let Redeemed::Valid(asked) = redeem(tx, now, seven, &question.to_lowercase())? else { panic!() };
                assert_eq!(asked.what, "answer");
                assert_eq!(redeem(tx, now, seven, &question)?, Redeemed::Used, "replayed");

                tx.execute("UPDATE approvals SET args_hash = 'bb'", [])?;
                assert_eq!(redeem(tx, now, eight, &approval)?, Redeemed::Changed, "another call");
                tx.execute("UPDATE approvals SET args_hash = 'aa'", [])?;
                let Redeemed::Valid(asked) = redeem(tx, now, eight, &approval)? else { panic!() };
                assert_eq!(asked.approval_id, Some(ApprovalId(5)));

                let late = make(seven)?;
                tx.execute("UPDATE jobs SET step_seq = 9 WHERE id = 7", [])?;
                assert_eq!(redeem(tx, now, seven, &late)?, Redeemed::Changed, "asked again since");
                tx.execute("UPDATE jobs SET status = 'running' WHERE id = 7", [])?;
                assert_eq!(redeem(tx, now, seven, &late)?, Redeemed::Changed, "it asks nothing any more");
                Ok(())
            })
            .await
            .unwrap();
    }
}
