use assistant_api::{
    ErrorKind, Role,
    jobs::{Decision, ReviewOverride},
};

use super::*;
use crate::{
    jobs::{Caps, spend, store, store::filter::Filter},
    ledger::{self, NewEffect},
    policy::Origin,
};

#[tokio::test]
async fn bad_input_names_its_field_and_leaves_nothing() {
    let (cx, _dir) = cx();
    let long = "x".repeat(241);
    let cases = [
        ("subject", new("")),
        ("subject", new("   ")),
        ("subject", new(&long)),
        ("subject", new("two\nlines")),
        ("body", NewJob { body: " \n".into(), ..new("s") }),
        ("priority", NewJob { priority: Some(1001), ..new("s") }),
        ("from_address", NewJob { from_address: Some("a\u{0}b".into()), ..new("s") }),
        ("max_iterations_per_task", NewJob { max_iterations_per_task: Some(0), ..new("s") }),
        ("max_tokens_per_task", NewJob { max_tokens_per_task: Some(100_000_001), ..new("s") }),
        ("run_at", NewJob { run_at: Some("soon".into()), ..new("s") }),
        ("run_in", NewJob { run_in: Some("soon".into()), ..new("s") }),
        ("run_in", NewJob { run_at: Some("2026-12-01T00:00".into()), run_in: Some("1h".into()), ..new("s") }),
    ];
    for (field, new) in cases {
        let err = jobs::create(&cx, new.clone(), "me").await.unwrap_err();
        assert_eq!((err.kind(), err.field_name()), (ErrorKind::Validation, Some(field)), "{new:?}: {err}");
    }
    let list = jobs::list(&cx, Filter::default(), None, 50).await.unwrap();
    assert!(list.jobs.is_empty());
    let exact = jobs::create(&cx, new(&"ü".repeat(240)), "me").await.unwrap();
    assert_eq!(exact.status, JobStatus::Queued);
}

#[tokio::test]
async fn a_from_address_is_data_and_gives_no_rights() {
    let (cx, _dir) = cx();
    let new = NewJob { from_address: Some("stranger@evil.example".into()), ..new("s") };
    let id = jobs::create(&cx, new, "uid:1000").await.unwrap().id;
    let detail = jobs::detail(&cx, id).await.unwrap();
    assert_eq!(detail.trigger_email.unwrap().from_address, "stranger@evil.example");
    let origin: String =
        cx.store.read(|conn| Ok(conn.query_row("SELECT origin FROM emails", [], |row| row.get(0))?)).await.unwrap();
    assert_eq!(origin, Origin::Owner.as_str());
}

#[tokio::test]
async fn lists_page_by_id_and_filter_by_status() {
    let (cx, _dir) = cx();
    let mut ids = Vec::new();
    for number in 0..7 {
        ids.push(submit(&cx, &format!("job {number}")).await);
    }
    jobs::cancel(&cx, ids[1], "me").await.unwrap();
    jobs::cancel(&cx, ids[4], "me").await.unwrap();
    let page = |statuses: &[JobStatus], cursor: Option<String>, limit| {
        let (cx, filter) = (cx.clone(), Filter { statuses: statuses.to_vec(), ..Filter::default() });
        async move { jobs::list(&cx, filter, cursor.as_deref(), limit).await.unwrap() }
    };
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let list = page(&[], cursor, 3).await;
        assert!(list.jobs.len() <= 3);
        seen.extend(list.jobs.iter().map(|item| item.job.id));
        cursor = list.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    ids.reverse();
    assert_eq!(seen, ids);
    let cancelled = page(&[JobStatus::Cancelled], None, 50).await;
    assert_eq!(cancelled.jobs.iter().map(|item| item.job.id).collect::<Vec<_>>(), [ids[2], ids[5]]);
    let both = page(&[JobStatus::Cancelled, JobStatus::Queued, JobStatus::Cancelled], None, 4).await;
    assert_eq!(both.jobs.iter().map(|item| item.job.id).collect::<Vec<_>>(), ids[..4]);
    assert!(both.next_cursor.is_some());
    assert_eq!(both.jobs[0].trigger_subject.as_deref(), Some("job 6"));
    assert_eq!(both.jobs[0].context_email_count, 1);
    assert_eq!(
        jobs::list(&cx, Filter::default(), Some("nonsense"), 5).await.unwrap_err().kind(),
        ErrorKind::Validation
    );
    let counts = cx.store.read(jobs::counts).await.unwrap();
    assert!(counts.contains(&(JobStatus::Queued, 5)) && counts.contains(&(JobStatus::Cancelled, 2)), "{counts:?}");
}

#[tokio::test]
async fn a_detail_has_the_newest_rows_and_a_way_to_the_older_ones() {
    let (cx, _dir) = cx();
    let id = submit(&cx, "long").await;
    let now = cx.clock.now();
    cx.store
        .write(move |tx| {
            for number in 0..600 {
                let input = Some(serde_json::json!({ "number": number }));
                jobs::log::append(
                    tx,
                    now,
                    id,
                    &jobs::NewLog { event_type: "error", input_data: input, ..Default::default() },
                )?;
            }
            Ok(())
        })
        .await
        .unwrap();
    let detail = jobs::detail(&cx, id).await.unwrap();
    assert!(detail.logs_truncated);
    assert_eq!((detail.logs.len(), detail.logs[0].sequence, detail.logs[499].sequence), (500, 101, 600));
    let older = jobs::logs(&cx, id, detail.logs_cursor.as_deref(), 200).await.unwrap();
    assert_eq!((older.logs.len(), older.logs[0].sequence, older.next_cursor), (100, 1, None));
    let polled = jobs::poll(&cx, id, 450).await.unwrap();
    assert_eq!(polled.new_logs.iter().map(|row| row.sequence).collect::<Vec<_>>(), (451..=600).collect::<Vec<_>>());
    assert_eq!(jobs::poll(&cx, id, 0).await.unwrap().new_logs.len(), 200);
    assert!(detail.actions.can_cancel && !detail.actions.can_requeue && !detail.actions.can_answer);
    assert_eq!(jobs::detail(&cx, JobId(99)).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn who_may_say_yes_sees_the_whole_call() {
    let (cx, _dir) = cx();
    let id = submit(&cx, "asks").await;
    let now = cx.clock.now();
    let args = serde_json::json!({ "path": "a", "password": "p", "content": "x".repeat(5000) });
    let asked = args.clone();
    cx.store
        .write(move |tx| {
            let claimed = store::tests::claim_one(tx);
            let approval = jobs::approvals::NewApproval {
                call_key: "2:0".into(),
                tool: "file_write".into(),
                args: asked.clone(),
                args_hash: "hash".into(),
                reason: "text of a stranger".into(),
                rule: "write-untrusted".into(),
            };
            jobs::approvals::request(tx, now, &claimed.lease, &approval)?;
            let outcome =
                jobs::Outcome::NeedsReview { needs: jobs::NeedsWhat::Approval, reason: "file_write {...}".into() };
            store::finish::apply(tx, now, &claimed.lease, &outcome, &store::tests::BACKOFF).map(drop)
        })
        .await
        .unwrap();
    let seen = |role| {
        let cx = cx.clone();
        async move { jobs::api::detail_for(&cx, id, role).await.unwrap().approval }
    };
    let approval = seen(Some(Role::Operator)).await.unwrap();
    assert_eq!((approval.args, approval.args_hash.as_str(), approval.state.as_str()), (args, "hash", "pending"));
    assert!(seen(Some(Role::Admin)).await.is_some());
    assert!(seen(Some(Role::Viewer)).await.is_none());
    assert!(seen(None).await.is_none());
    jobs::approve(&cx, id, Decision::default(), "me").await.unwrap();
    assert!(seen(Some(Role::Operator)).await.is_none());
}

#[tokio::test]
async fn a_held_job_waits_for_its_release() {
    let (cx, _dir) = cx();
    let id = jobs::create(&cx, NewJob { hold: true, ..new("held") }, "me").await.unwrap().id;
    let held = job(&cx, id).await;
    assert_eq!((held.status, held.needs.unwrap().what.as_str()), (JobStatus::Waiting, "release"));
    let err = jobs::release(&cx, id, &["in/a.txt".into()], "me").await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Unavailable, "without a workspace an attachment cannot be looked at: {err}");
    jobs::release(&cx, id, &[], "me").await.unwrap();
    assert_eq!(job(&cx, id).await.status, JobStatus::Queued);
    assert_eq!(jobs::release(&cx, id, &[], "me").await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn an_erase_leaves_nothing_of_a_job_and_its_children() {
    let (cx, _dir) = cx();
    let id = submit(&cx, "secret plan").await;
    let other = submit(&cx, "other").await;
    let now = cx.clock.now();
    let child = cx
        .store
        .write(move |tx| {
            let parent_job_id = Some(id);
            let child = store::create::insert(
                tx,
                now,
                &store::create::Creation { parent_job_id, ..store::tests::creation("secret child") },
            )?;
            let claimed = store::tests::claim_one(tx);
            let step = |text: &str| jobs::NewStep {
                kind: jobs::StepKind::Prompt,
                body: serde_json::json!({}),
                text: Some(text.into()),
                origin: Origin::Owner,
            };
            jobs::steps::append(tx, now, &claimed.lease, &[step("secret prompt"), step("shared prompt")])?;
            let second = store::tests::claim_one(tx);
            assert_eq!(second.job.id, other);
            jobs::steps::append(tx, now, &second.lease, &[step("shared prompt")])?;
            ledger::prepare(
                tx,
                now,
                &NewEffect {
                    job_id: Some(id),
                    call_key: Some("1:0".into()),
                    tool: "file_write".into(),
                    target: "secret.txt".into(),
                    args_hash: String::new(),
                    origin: Origin::Owner,
                    rule: String::new(),
                    detail: serde_json::json!({}),
                },
            )?;
            spend::reserve(tx, now, id, 500, Caps::default())?.unwrap();
            Ok(child.id)
        })
        .await
        .unwrap();
    jobs::instruct(&cx, id, "secret instruction", "me").await.unwrap();

    let erased = jobs::erase(&cx, id).await.unwrap();
    assert_eq!(erased.job_ids, [id, child]);
    assert_eq!((erased.thread_ids.len(), erased.shared_thread_ids.len()), (2, 0));
    for (table, rows) in [("jobs", 2), ("emails", 2), ("steps", 2), ("texts", 1), ("effects", 1)] {
        assert_eq!(erased.deleted[table], rows, "{table}");
    }
    assert!(!erased.deleted.contains_key("approvals"), "zero counts are left out");
    // No table holds anything of it any more; what others share stays.
    let dump: String = cx
        .store
        .read(|conn| {
            let tables: Vec<String> = conn
                .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")?
                .query_map([], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            let mut dump = String::new();
            for table in tables {
                let mut statement = conn.prepare(&format!("SELECT * FROM {table}"))?;
                let columns = statement.column_count();
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    for column in 0..columns {
                        dump.push_str(row.get_ref(column)?.as_str().unwrap_or_default());
                    }
                }
            }
            Ok(dump)
        })
        .await
        .unwrap();
    assert!(!dump.contains("secret"), "{dump}");
    assert!(dump.contains("shared prompt"));
    assert_eq!(job(&cx, other).await.status, JobStatus::Running);
    let spent = cx.store.read(move |conn| spend::today(conn, now)).await.unwrap();
    assert_eq!(spent, 500, "what was spent stays spent");
    assert_eq!(jobs::erase(&cx, id).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s31_reservations_of_many_jobs_never_exceed_a_cap() {
    let (cx, _dir) = cx();
    let caps = Caps { day_nanos: Some(1000), job_nanos: Some(400) };
    let mut runs = Vec::new();
    for number in 0..8 {
        let id = submit(&cx, &format!("spender {number}")).await;
        let cx = cx.clone();
        runs.push(cx.clone().tasks.spawn(async move {
            let now = cx.clock.now();
            let (mut spent, mut refused) = (0, 0);
            for turn in 0..12 {
                let reserved = cx.store.write(move |tx| spend::reserve(tx, now, id, 60, caps)).await.unwrap();
                let today = cx.store.read(move |conn| spend::today(conn, now)).await.unwrap();
                assert!(today <= 1000, "{today}");
                match reserved {
                    Ok(reservation) => {
                        let cost = 20 + turn % 3 * 20;
                        cx.store.write(move |tx| spend::settle(tx, reservation, "a model", cost, 10)).await.unwrap();
                        spent += cost;
                    }
                    Err(over) => {
                        assert!(over.used_nanos + over.wanted_nanos > over.cap_nanos);
                        refused += 1;
                    }
                }
            }
            (spent, refused)
        }));
    }
    let (mut spent, mut refused) = (0, 0);
    for run in runs {
        let (cost, no) = run.await.unwrap();
        spent += cost;
        refused += no;
    }
    let now = cx.clock.now();
    assert_eq!(cx.store.read(move |conn| spend::today(conn, now)).await.unwrap(), spent, "nothing stays reserved");
    let by_model = |conn: &rusqlite::Connection| {
        let sql = "SELECT model, nanos FROM spend_models WHERE day = '2026-11-22'";
        Ok(conn.query_row(sql, [], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?)
    };
    assert_eq!(cx.store.read(by_model).await.unwrap(), ("a model".to_owned(), spent));
    assert!(refused > 0 && spent <= 1000 && spent > 900, "{spent} spent, {refused} refused");
    // A call that costs nothing is never refused, the next day is a new one, and a job has its own cap.
    let id = submit(&cx, "another").await;
    let reserve = |at, nanos| cx.store.write(move |tx| spend::reserve(tx, at, id, nanos, caps));
    assert!(reserve(now, 0).await.unwrap().is_ok());
    assert_eq!(reserve(now, 900).await.unwrap().unwrap_err().which, jobs::Cap::Day);
    let tomorrow = now + jiff::SignedDuration::from_hours(24);
    assert_eq!(reserve(tomorrow, 401).await.unwrap().unwrap_err().which, jobs::Cap::Job);
    assert!(reserve(tomorrow, 400).await.unwrap().is_ok());
    let left = cx.store.write(|tx| spend::release_orphans(tx, None)).await.unwrap();
    assert_eq!(left, 2, "what a crash leaves counts as spent");
    assert_eq!(cx.store.read(move |conn| spend::today(conn, tomorrow)).await.unwrap(), 400);
}

#[tokio::test]
async fn reviews_are_bounded_and_decisions_need_a_question() {
    let (cx, _dir) = cx();
    let id = submit(&cx, "s").await;
    let review = |iterations, tokens, instruction: Option<String>| ReviewOverride {
        instruction,
        max_iterations_per_task: iterations,
        max_tokens_per_task: tokens,
        ..Default::default()
    };
    for (field, new) in [
        ("max_iterations_per_task", review(Some(0), None, None)),
        ("max_iterations_per_task", review(Some(10_001), None, None)),
        ("max_tokens_per_task", review(None, Some(100_000_001), None)),
        ("instruction", review(None, None, Some("x".repeat(10_001)))),
        ("max_job_cost_usd", ReviewOverride { max_job_cost_usd: Some(-0.1), ..Default::default() }),
    ] {
        let err = jobs::review(&cx, id, new, "me").await.unwrap_err();
        assert_eq!((err.kind(), err.field_name()), (ErrorKind::Validation, Some(field)));
    }
    let err = jobs::review(&cx, id, review(Some(5), None, None), "me").await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Conflict);
    for text in ["", "  ", &"x".repeat(10_001)] {
        assert_eq!(jobs::instruct(&cx, id, text, "me").await.unwrap_err().kind(), ErrorKind::Validation);
        assert_eq!(jobs::answer(&cx, id, text, "me").await.unwrap_err().kind(), ErrorKind::Validation);
    }
    let decide = Decision { approval_id: Some(assistant_api::ApprovalId(7)), reason: None };
    assert_eq!(jobs::approve(&cx, id, decide, "me").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(jobs::deny(&cx, id, Decision::default(), "me").await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(jobs::cancel(&cx, JobId(99), "me").await.unwrap_err().kind(), ErrorKind::NotFound);
}
