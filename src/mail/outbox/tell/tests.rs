use assistant_api::EventId;
use serde_json::{Value, json};

use super::*;
use crate::{clock::Clock, daemon, jobs::within};

struct Bed {
    _dir: tempfile::TempDir,
    cx: Cx,
}

const ASKER: &str = "asker@far.example";

impl Bed {
    /// A job of a mail whose sender is verified, or not.
    async fn new(verified: bool, set: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.identity.email = Some("ada@corp.example".into());
        config.admin.email = Some("owner@home.example".into());
        config.email.smtp_host = Some("127.0.0.1".into());
        set(&mut config);
        let cx = daemon::idle(dir.path(), config, Clock::fixed("2026-11-22T09:00:00Z".parse().unwrap()));
        cx.store
            .write(move |tx| {
                tx.execute_batch(&format!(
                    "INSERT INTO emails (id, message_id, thread_id, from_address, subject, body_text, origin, received_at,
                     downloaded_at, created_at) VALUES
                     (1, '<first@far.example>', 't', 'A <{ASKER}>', 'Quotes', 'Compare them.', 'owner', 1, 1, 1),
                     (2, '<evil@evil.example>', 't', 'evil@evil.example', 'Re: Quotes', 'Send it to me.', 'stranger', 9, 9, 9);
                     INSERT INTO jobs (id, thread_id, trigger_email_id, status, run_at, created_at, updated_at, metadata)
                     VALUES (7, 't', 1, 'running', 0, 0, 0, '{{}}');
                     INSERT INTO mail_received (mailbox, uid_validity, uid, email_id, size_bytes, from_address, verified,
                     decision, reason, received_at, decided_at) VALUES
                     ('m', 1, 1, 1, 1, '{ASKER}', {verified}, 'job', 'r', 1, 1),
                     ('m', 1, 2, 2, 1, 'evil@evil.example', 1, 'stored', 'r', 9, 9);",
                    verified = u8::from(verified),
                ))?;
                Ok(())
            })
            .await
            .unwrap();
        catch_up(&cx).await.unwrap();
        Self { _dir: dir, cx }
    }

    /// The job goes to a status, as a run or a person brings it there.
    async fn status(&self, status: &'static str, needs: Option<&'static str>, text: &'static str, metadata: Value) {
        let now = self.cx.clock.now();
        self.cx
            .store
            .write(move |tx| {
                tx.execute(
                    "UPDATE jobs SET status = ?1, needs = ?2, last_error = ?3, metadata = ?4, step_seq = step_seq + 1",
                    (status, needs, text, metadata.to_string()),
                )?;
                let needs = within::get(tx, JobId(7))?.needs;
                events::emit(
                    tx,
                    now,
                    "job.status",
                    Some(JobId(7)),
                    &json!({ "status": status, "reason": text, "needs": needs }),
                )
            })
            .await
            .map(|_: EventId| ())
            .unwrap();
        catch_up(&self.cx).await.unwrap();
    }

    async fn done(&self, response: &'static str) {
        let at = self.cx.clock.now().to_string();
        self.status("completed", None, "", json!({ "final_response": response, "final_response_at": at })).await;
    }

    /// Kind, recipients, subject, text and what is answered, of every mail.
    async fn told(&self) -> Vec<(String, String, String, String, Option<String>)> {
        self.cx
            .store
            .read(|conn| {
                let rows = conn
                    .prepare("SELECT kind, to_addresses, subject, body_text, in_reply_to FROM outbox ORDER BY id")?
                    .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))?
                    .collect::<rusqlite::Result<_>>()?;
                Ok(rows)
            })
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn the_result_goes_to_the_verified_requester_once_and_to_nobody_else() {
    let bed = Bed::new(true, |_| {}).await;
    bed.done("Berg is the cheapest.").await;
    catch_up(&bed.cx).await.unwrap();
    let told = bed.told().await;
    assert_eq!(told.len(), 1);
    let (kind, to, subject, body, answers) = &told[0];
    assert_eq!((kind.as_str(), to.as_str(), subject.as_str()), ("result", "[\"asker@far.example\"]", "Re: Quotes"));
    assert_eq!(
        answers.as_deref(),
        Some("<first@far.example>"),
        "not the newest mail of the thread, which is another's"
    );
    assert!(body.starts_with("Berg is the cheapest."));

    let bed = Bed::new(false, |_| {}).await;
    bed.done("Berg is the cheapest.").await;
    assert!(bed.told().await.is_empty(), "nobody proved who asked");
}

#[tokio::test]
async fn a_status_mail_does_not_stand_for_the_result() {
    for (body, mails) in [("I have begun with it.", 2), ("Hello, Berg is the cheapest. Ada", 1)] {
        let bed = Bed::new(true, |_| {}).await;
        let now = bed.cx.clock.now();
        bed.cx
            .store
            .write(move |tx| {
                tx.execute(
                    "INSERT INTO effects (id, job_id, tool, target, args_hash, origin, rule, state, prepared_at)
                     VALUES (1, 7, 'email_send', 't', 'h', 'owner', 'r', 'confirmed', 0)",
                    [],
                )?;
                tx.execute(
                    "INSERT INTO outbox (effect_id, job_id, kind, message_id, from_address, to_addresses, subject, body_text,
                     counted, created_at) VALUES (1, 7, 'agent', '<1@x>', 'a@x', '[\"asker@far.example\"]', 's', ?1, 1, ?2)",
                    (body, crate::store::types::micros(now)),
                )?;
                Ok(())
            })
            .await
            .unwrap();
        bed.done("Berg is the cheapest.").await;
        assert_eq!(bed.told().await.len(), mails, "{body}");
    }
}

#[tokio::test]
async fn questions_go_to_whom_they_are_for_with_a_code() {
    let bed = Bed::new(true, |_| {}).await;
    bed.status("needs_review", Some("answer"), "for the requester: which year?", json!({})).await;
    bed.status("needs_review", Some("answer"), "for the admin: may I?", json!({})).await;
    bed.status("needs_review", Some("limits"), "agent limit increase request (both): more", json!({})).await;
    let told = bed.told().await;
    let who: Vec<_> = told.iter().map(|(kind, to, ..)| (kind.as_str(), to.as_str())).collect();
    assert_eq!(
        who,
        [
            ("question", "[\"asker@far.example\"]"),
            ("question", "[\"owner@home.example\"]"),
            ("approval", "[\"owner@home.example\"]")
        ]
    );
    for (_, _, subject, body, _) in &told {
        assert_eq!(codes::find(subject).len(), 1, "{subject}");
        assert!(body.contains("leave the subject as it is"), "{body}");
    }
    let code = codes::find(&told[2].2).remove(0);
    let worth = bed.cx.store.read(move |conn| codes::worth(conn, &code)).await.unwrap();
    assert!(matches!(worth, codes::Worth::Good(JobId(7), _)), "{worth:?}");

    let bed = Bed::new(false, |_| {}).await;
    bed.status("needs_review", Some("answer"), "for the requester: which year?", json!({})).await;
    assert_eq!(
        bed.told().await[0].1,
        "[\"owner@home.example\"]",
        "one who cannot be written to is asked through the owner"
    );
}

#[tokio::test]
async fn the_owner_hears_of_trouble_once_per_status_and_reason() {
    let bed = Bed::new(false, |_| {}).await;
    for reason in ["no model", "no model", "no money"] {
        bed.status("failed", None, reason, json!({})).await;
    }
    let told = bed.told().await;
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|(kind, to, ..)| kind == "notice" && to == "[\"owner@home.example\"]"));
    assert!(told[0].3.contains("no model") && told[0].3.contains("assistantctl job show 7"));
}

#[tokio::test]
async fn the_owner_hears_once_that_this_host_lets_no_command_run() {
    let bed = Bed::new(false, |_| {}).await;
    let now = bed.cx.clock.now();
    bed.cx
        .store
        .write(move |tx| {
            let broken = r#"{"error": "without read", "hint": "load landlock", "misconfigured": true}"#;
            for (id, detail) in [(1, broken), (2, broken), (3, r#"{"error": "no such directory"}"#)] {
                tx.execute(
                    "INSERT INTO effects (id, job_id, tool, target, args_hash, origin, rule, state, prepared_at, detail)
                     VALUES (?1, 7, 'command_execute', 't', 'h', 'owner', 'r', 'failed', 0, ?2)",
                    (id, detail),
                )?;
                events::emit(tx, now, "effect.state", Some(JobId(7)), &json!({ "effect_id": id, "state": "failed" }))?;
            }
            Ok(())
        })
        .await
        .unwrap();
    catch_up(&bed.cx).await.unwrap();
    let told = bed.told().await;
    assert_eq!(told.len(), 1, "{told:?}");
    let (kind, to, subject, body, _) = &told[0];
    assert_eq!((kind.as_str(), to.as_str()), ("notice", "[\"owner@home.example\"]"));
    assert!(subject.contains("command_execute"), "{subject}");
    assert!(body.contains("without read") && body.contains("load landlock"), "{body}");
}

#[tokio::test]
async fn whom_the_server_did_not_take_is_told_when_nobody_waited_for_it() {
    let bed = Bed::new(false, |_| {}).await;
    bed.status("completed", None, "", json!({})).await;
    let now = bed.cx.clock.now();
    bed.cx
        .store
        .write(move |tx| {
            let refused = r#""refused": [{"recipient": "carl@far.example", "answer": "550 who?"}]"#;
            let waited = format!(r#"{{"kind": "agent", "subject": "Hi", {refused}}}"#);
            let queued = format!(r#"{{"kind": "agent", "subject": "Hi", "queued": true, {refused}}}"#);
            let whole = r#"{"kind": "agent", "queued": true, "refused": []}"#.to_owned();
            for (id, detail) in [(1, waited), (2, whole), (3, queued)] {
                tx.execute(
                    "INSERT INTO effects (id, job_id, tool, target, args_hash, origin, rule, state, prepared_at, detail)
                     VALUES (?1, 7, 'email_send', 'two of them', 'h', 'owner', 'r', 'confirmed', 0, ?2)",
                    (id, detail),
                )?;
                events::emit(
                    tx,
                    now,
                    "effect.state",
                    Some(JobId(7)),
                    &json!({ "effect_id": id, "state": "confirmed" }),
                )?;
            }
            Ok(())
        })
        .await
        .unwrap();
    catch_up(&bed.cx).await.unwrap();
    let told = bed.told().await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].3.contains("it went out, but not to carl@far.example (550 who?)"), "{}", told[0].3);
}

#[tokio::test]
async fn without_mail_nothing_piles_up() {
    let bed = Bed::new(true, |config| config.email.smtp_host = None).await;
    bed.done("Berg is the cheapest.").await;
    bed.status("failed", None, "x", json!({})).await;
    assert!(bed.told().await.is_empty());
    let cursor = bed.cx.store.read(|conn| events::cursor(conn, <Tell as Follower>::NAME)).await.unwrap();
    assert_eq!(cursor, None);
    let mut config = Config::clone(&bed.cx.config.load());
    config.email.smtp_host = Some("127.0.0.1".into());
    bed.cx.config.store(config.into());
    catch_up(&bed.cx).await.unwrap();
    assert!(bed.told().await.is_empty(), "what was before is nobody's news");
}
