//! Fills a database with old jobs, while no daemon runs.

use std::path::Path;

use rusqlite::Connection;

/// Adds completed jobs until there are `count`.
#[expect(clippy::disallowed_methods, reason = "no daemon has the database open")]
pub(crate) fn jobs(database: &Path, count: u64) {
    let conn = Connection::open(database).unwrap();
    conn.pragma_update(None, "synchronous", "OFF").unwrap();
    let there: i64 = conn.query_row("SELECT COUNT(*) FROM jobs", [], |row| row.get(0)).unwrap();
    if there.unsigned_abs() >= count {
        return;
    }
    let sql = format!(
        "BEGIN;
         INSERT INTO emails (message_id, thread_id, from_address, subject, body_text, origin, received_at,
                             downloaded_at, created_at)
         WITH RECURSIVE n (i) AS (SELECT {there} UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {count})
         SELECT '<seed-' || i || '@local>', '<seed-' || i || '@local>', 'dashboard@local', 'Task number ' || i,
                'Do what task number ' || i || ' says.', 'owner', i * 1000000, i * 1000000, i * 1000000 FROM n;
         INSERT INTO jobs (thread_id, trigger_email_id, status, run_at, task_summary, metadata, created_at, updated_at,
                           completed_at, attempts)
         SELECT thread_id, id, 'completed', created_at, subject, '{{\"final_response\":\"Done.\"}}', created_at,
                created_at, created_at, 1 FROM emails WHERE message_id LIKE '<seed-%' AND created_at >= {there} * 1000000;
         COMMIT;
         PRAGMA wal_checkpoint(TRUNCATE);"
    );
    conn.execute_batch(&sql).unwrap();
}

/// Lets some of them have failed or been cancelled.
#[expect(clippy::disallowed_methods, reason = "no daemon has the database open")]
pub(crate) fn vary(database: &Path) {
    let conn = Connection::open(database).unwrap();
    conn.pragma_update(None, "synchronous", "OFF").unwrap();
    conn.execute_batch(
        "UPDATE jobs SET status = 'failed' WHERE id % 10 = 3;
         UPDATE jobs SET status = 'cancelled' WHERE id % 10 = 7;
         PRAGMA wal_checkpoint(TRUNCATE);",
    )
    .unwrap();
}
