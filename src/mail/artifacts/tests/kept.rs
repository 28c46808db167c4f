//! Which messages are kept, and for how long.

use std::{collections::BTreeSet, time::Duration};

use crate::mail::artifacts::{purge, register::NOT_ACTED_ON, tidy};
use crate::{
    clock::Clock,
    config::{
        Config,
        value::{Bytes, Days},
    },
    cx::Cx,
    daemon,
    store::types::micros,
};

/// Messages of 10 bytes each: number, decision, days since, and what their attachment is: pending, settled, or waiting.
const MAILS: &[(i64, &str, i64, &str)] = &[
    (1, "job", 0, "ready"),
    (2, "job", 400, "pending"),
    (3, "stored", 400, "waits"),
    (4, "stored", 3, "waits"),
    (5, "loop", 2, "waits"),
    (6, "stored", 1, "ready"),
    (7, "ignored", 0, "waits"),
    (8, "bounce", 0, "none"),
];

async fn filled(dir: &std::path::Path, set: impl FnOnce(&mut Config)) -> Cx {
    let mut config = Config::default();
    set(&mut config);
    let cx = daemon::idle(dir, config, Clock::System);
    let folder = crate::mail::folder(&cx.state_dir);
    std::fs::create_dir_all(&folder).unwrap();
    let now = micros(cx.clock.now());
    cx.store
        .write(move |tx| {
            for (id, decision, days, attachment) in MAILS {
                std::fs::write(folder.join(format!("in-{id}.eml")), "0123456789").unwrap();
                let at = now - days * 86_400_000_000;
                tx.execute(
                    "INSERT INTO emails (id, message_id, thread_id, from_address, to_addresses, subject, body_text, origin, \
                     received_at, downloaded_at, created_at) VALUES (?1, '<' || ?1 || '@x>', 't' || ?1, 'a@x', '[]', 's', 'b', 'contact', ?2, ?2, ?2)",
                    (id, at),
                )?;
                tx.execute(
                    "INSERT INTO mail_received (id, mailbox, uid_validity, uid, email_id, size_bytes, from_address, subject, \
                     headers, decision, reason, raw_name, received_at, decided_at) VALUES (?1, 'm', 1, ?1, ?1, 10, 'a@x', 's', \
                     '[[\"A\",\"b\"]]', ?2, 'r', 'in-' || ?1 || '.eml', ?3, ?3)",
                    (id, decision, at),
                )?;
                let (scan, conversion, error) = match *attachment {
                    "pending" => ("pending", "pending", None),
                    "waits" => ("skipped", "skipped", Some(NOT_ACTED_ON)),
                    "ready" => ("clean", "ready", None),
                    _ => continue,
                };
                tx.execute(
                    "INSERT INTO artifacts (email_id, source_type, source_label, raw_name, part, scan_status, \
                     conversion_status, error, created_at, updated_at) \
                     VALUES (?1, 'attachment', 'a.pdf', 'in-' || ?1 || '.eml', 1, ?2, ?3, ?4, ?5, ?5)",
                    (id, scan, conversion, error, at),
                )?;
            }
            Ok(())
        })
        .await
        .unwrap();
    cx
}

fn files(cx: &Cx) -> BTreeSet<String> {
    let entries = std::fs::read_dir(crate::mail::folder(&cx.state_dir)).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn named(ids: &[i64]) -> BTreeSet<String> {
    ids.iter().map(|id| format!("in-{id}.eml")).collect()
}

#[tokio::test]
async fn a_message_is_kept_while_something_of_it_is_to_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let cx = filled(dir.path(), |_| {}).await;
    // Of the first the attachment is made, the third is too old to be accepted, of the last two nothing waits.
    assert_eq!(tidy(&cx).await.unwrap(), 4);
    assert_eq!(files(&cx), named(&[2, 4, 5, 7]));
    assert_eq!(tidy(&cx).await.unwrap(), 0);
    let named: i64 = cx
        .store
        .read(|conn| {
            let sql =
                "SELECT (SELECT count(raw_name) FROM mail_received) * 10 + (SELECT count(raw_name) FROM artifacts)";
            Ok(conn.query_row(sql, [], |row| row.get(0))?)
        })
        .await
        .unwrap();
    assert_eq!(named, 44, "rows name files that are gone");
    // What belongs to nothing any more goes, even while it waits.
    cx.store.write(|tx| Ok(tx.execute("DELETE FROM emails WHERE id IN (2, 4)", [])?)).await.unwrap();
    assert_eq!(tidy(&cx).await.unwrap(), 2);
    cx.store.close().await;
}

#[tokio::test]
async fn nobody_fills_the_disk_with_mail_that_is_not_acted_on() {
    let dir = tempfile::tempdir().unwrap();
    let cx = filled(dir.path(), |config| config.retention.unused_mail_bytes = Bytes(25)).await;
    tidy(&cx).await.unwrap();
    // The newest of those that wait for a person; what a job waits for is never among them.
    assert_eq!(files(&cx), named(&[2, 7]));
    cx.store.close().await;
}

#[tokio::test]
async fn what_stood_in_unused_mail_is_forgotten_and_that_it_came_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let cx = filled(dir.path(), |config| config.retention.unused_mail_days = Days::new(2)).await;
    let before = cx.clock.now() - Duration::from_hours(36);
    assert_eq!(cx.store.write(move |tx| purge(tx, before, 500)).await.unwrap(), 3);
    assert_eq!(cx.store.write(move |tx| purge(tx, before, 500)).await.unwrap(), 0);
    let (rows, bare, items): (i64, i64, String) = cx
        .store
        .read(|conn| {
            let sql = "SELECT count(*), sum(subject IS NULL AND from_address IS NULL AND headers = '[]'), \
                       (SELECT group_concat(id) FROM emails) FROM mail_received";
            Ok(conn.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?)
        })
        .await
        .unwrap();
    assert_eq!((rows, bare, items.as_str()), (8, 3, "1,2,6,7,8"));
    cx.store.close().await;
}
