//! The statements that must stay fast with a million jobs: each by its index, none with a scan or a sort.

use super::*;
use crate::jobs::store::{
    claim::{CLAIM, EXPIRED, NEXT_LEASE, NEXT_RUN, NOW_DUE},
    erase::ANSWERS,
    filter, list, log,
};

/// Asserts that the plan of `sql` uses each of `wanted`, and neither scans a table nor sorts.
fn check(conn: &Connection, sql: &str, wanted: &[&str]) {
    let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let count = statement.parameter_count();
    let values = rusqlite::params_from_iter(std::iter::repeat_n(1, count));
    let plan: Vec<String> =
        statement.query_map(values, |row| row.get("detail")).unwrap().collect::<rusqlite::Result<_>>().unwrap();
    for index in wanted {
        assert!(plan.iter().any(|step| step.contains(index)), "{sql}\nshould use {index}: {plan:#?}");
    }
    for step in &plan {
        // Walking a partial index of what is open now, a list of ids, or a bounded subquery is not a scan of a table.
        let walk = ["INDEX jobs_claim", "INDEX jobs_lease", "INDEX effects_open", "json_each", "SCAN (subquery"]
            .iter()
            .any(|part| step.contains(part));
        assert!(!step.starts_with("SCAN") || walk, "{sql}\nscans: {plan:#?}");
        assert!(!step.contains("TEMP B-TREE"), "{sql}\nsorts: {plan:#?}");
    }
}

#[tokio::test]
async fn statements_use_their_indexes() {
    with_db(|conn| {
        check(conn, CLAIM, &["jobs_claim"]);
        check(conn, NOW_DUE, &["jobs_later (run_at<?)"]);
        check(conn, list::IDS, &["jobs_status"]);
        check(conn, filter::BY_ID, &["INTEGER PRIMARY KEY (rowid<?)"]);
        check(conn, filter::BY_TIME, &["COVERING INDEX jobs_created"]);
        check(conn, filter::LOOK, &["INTEGER PRIMARY KEY"]);
        check(conn, list::ONE, &["INTEGER PRIMARY KEY", "emails_thread"]);
        check(conn, list::NEWEST, &["INTEGER PRIMARY KEY (rowid<?)", "emails_thread", "mail_received_email"]);
        check(conn, log::PRESENT, &["job_id=?"]);
        for (sql, index) in [
            (NEXT_RUN, "jobs_due"),
            (NEXT_LEASE, "jobs_lease"),
            (EXPIRED, "jobs_lease"),
            (ANSWERS, "idempotency_age"),
            ("SELECT id FROM jobs WHERE parent_job_id = ?1", "jobs_parent"),
            ("SELECT id FROM jobs WHERE json_extract(metadata, '$.parent_job_id') = ?1", "jobs_parent_named"),
            (
                "SELECT id FROM jobs WHERE thread_id = ?1 \
                 AND status IN ('queued', 'running', 'waiting', 'needs_review') AND id <> ?2",
                "jobs_one_open_per_thread",
            ),
            ("SELECT * FROM task_logs WHERE job_id = ?1 AND sequence < ?2 ORDER BY sequence DESC LIMIT ?3", "job_id=?"),
            ("SELECT * FROM task_logs WHERE job_id = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3", "job_id=?"),
            (
                "SELECT id FROM supervisor_instructions WHERE job_id = ?1 AND consumed_at IS NULL ORDER BY id",
                "supervisor_instructions_job",
            ),
            ("SELECT * FROM steps WHERE job_id = ?1 AND epoch = ?2 ORDER BY seq", "PRIMARY KEY (job_id=?)"),
            ("SELECT 1 FROM steps WHERE text_hash = ?1", "steps_text"),
            ("SELECT * FROM effects WHERE job_id = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3", "effects_job"),
            ("SELECT * FROM effects WHERE job_id = ?1 AND call_key = ?2", "effects_call"),
            ("SELECT * FROM effects WHERE id < ?1 ORDER BY id DESC LIMIT ?2", "INTEGER PRIMARY KEY"),
            (
                "SELECT * FROM effects WHERE state IN ('prepared', 'dispatched', 'unknown') AND state <> 'unknown'",
                "effects_open",
            ),
            (
                "SELECT * FROM emails WHERE thread_id = ?1 AND received_at <= ?2 ORDER BY received_at DESC, id DESC",
                "emails_thread",
            ),
            ("SELECT * FROM approvals WHERE state = 'pending' AND id < ?1 ORDER BY id DESC", "approvals_pending"),
            ("SELECT * FROM approvals WHERE job_id = ?1 AND call_key = ?2 ORDER BY id DESC LIMIT 1", "approvals_job"),
            ("DELETE FROM reservations WHERE job_id = ?1", "reservations_job"),
            ("SELECT count FROM job_counts WHERE status = ?1", "PRIMARY KEY"),
        ] {
            check(conn, sql, &[index]);
        }
    })
    .await;
}

/// Steps of SQLite's machine, which are the same on every machine.
fn steps(conn: &Connection, sql: &str, values: impl rusqlite::Params) -> i32 {
    let mut statement = conn.prepare(sql).unwrap();
    let mut rows = statement.query(values).unwrap();
    while rows.next().unwrap().is_some() {}
    drop(rows);
    statement.get_status(rusqlite::StatementStatus::VmStep)
}

#[tokio::test]
async fn jobs_for_later_cost_a_claim_nothing() {
    with_db(|conn| {
        let run_at = now() + jiff::SignedDuration::from_hours(1);
        let later = || drop(insert(conn, now(), &Creation { run_at, ..creation("later") }).unwrap());
        let cost = || {
            let at = crate::store::types::micros(now());
            let claim = steps(conn, CLAIM, (at, 1, "boot", 0, "[]"));
            (steps(conn, NOW_DUE, [at]), claim, steps(conn, NEXT_RUN, [at]), steps(conn, NEXT_LEASE, []))
        };
        later();
        let one = cost();
        for _ in 1..2000 {
            later();
        }
        assert_eq!(cost(), one);
        assert!(claim(conn, now(), &term(60), &[], 4).unwrap().is_empty());
        assert_eq!(claim(conn, run_at, &term(60), &[], 4).unwrap().len(), 4, "until they are due");
    })
    .await;
}

/// Foreign keys look for children too: without an index a delete would read the whole child table.
#[tokio::test]
async fn every_foreign_key_has_an_index_on_its_side() {
    with_db(|conn| {
        let keys: Vec<(String, String)> = conn
            .prepare(
                "SELECT t.name, k.\"from\" FROM sqlite_schema AS t, pragma_foreign_key_list(t.name) AS k \
                 WHERE t.type = 'table'",
            )
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        assert!(keys.len() >= 8, "{keys:?}");
        for (table, column) in keys {
            check(conn, &format!("SELECT 1 FROM {table} WHERE {column} = ?1"), &[]);
        }
    })
    .await;
}
