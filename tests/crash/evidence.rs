//! What a killed daemon leaves behind, read without it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use assistant_api::JobId;
use rusqlite::{Connection, OpenFlags};

use super::job::{self, STEPS, Step};
use crate::support::process::Place;

/// The rows that tell how far the jobs are.
#[derive(Default)]
pub(crate) struct Evidence {
    status: BTreeMap<i64, String>,
    /// `(job, seq)` to kind and body.
    steps: BTreeMap<(i64, i64), (String, String)>,
    /// `(job, call key)`, tool and state.
    effects: Vec<(i64, Option<String>, String, String)>,
}

impl Evidence {
    /// Reads the database of a daemon that does not run; a copy is opened, so that recovery stays the daemon's.
    pub(crate) fn take(place: &Place) -> Self {
        let database = place.state().join("assistant.db");
        if !database.exists() {
            return Self::default();
        }
        let copy = tempfile::tempdir().unwrap();
        for suffix in ["", "-wal"] {
            let from = place.state().join(format!("assistant.db{suffix}"));
            if from.exists() {
                fs::copy(&from, copy.path().join(format!("assistant.db{suffix}"))).unwrap();
            }
        }
        let conn = open(&copy.path().join("assistant.db"));
        let whole: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(whole, "ok", "the database is damaged");
        let version: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        if version == 0 {
            return Self::default();
        }
        Self {
            status: rows(&conn, "SELECT id, status FROM jobs", |row| Ok((row.get(0)?, row.get(1)?)))
                .into_iter()
                .collect(),
            steps: rows(&conn, "SELECT job_id, seq, kind, body FROM steps", |row| {
                Ok(((row.get(0)?, row.get(1)?), (row.get(2)?, row.get(3)?)))
            })
            .into_iter()
            .collect(),
            effects: rows(
                &conn,
                "SELECT job_id, call_key, tool || ' ' || target || ' ' || detail, state FROM effects ORDER BY id",
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
            ),
        }
    }

    /// What happened to a job, for a failing test to show.
    fn story(&self, job: JobId) -> String {
        let steps =
            self.steps.iter().filter(|((id, _), _)| *id == job.0).map(|((_, seq), (kind, body))| {
                format!("  {seq} {kind} {}", body.chars().take(300).collect::<String>())
            });
        let effects = self.effects.iter().filter(|effect| effect.0 == job.0).map(|effect| format!("  {effect:?}"));
        steps.chain(effects).collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn is_done(&self, job: JobId) -> bool {
        self.status.get(&job.0).is_some_and(|status| status == "completed")
    }

    /// While the daemon is dead: every accepted job is there and open or completed, and no file is half-written.
    pub(crate) fn check_interrupted(&self, place: &Place, jobs: &[(u64, JobId)]) {
        for (number, job) in jobs {
            let status = self.status.get(&job.0).unwrap_or_else(|| panic!("job {job} is lost"));
            assert!(matches!(status.as_str(), "queued" | "running" | "completed"), "job {job} is {status}");
            check_files(place, *number, false, &self.story(*job));
        }
    }

    /// Every step that was stored before is still there, word for word.
    pub(crate) fn check_kept(&self, before: &Self) {
        for (key, step) in &before.steps {
            assert_eq!(self.steps.get(key), Some(step), "step {key:?} was lost or changed");
        }
    }

    /// After the jobs are completed: nothing is missing, nothing was done twice, and the ledger knows everything.
    pub(crate) fn check_done(&self, place: &Place, jobs: &[(u64, JobId)], before: &Self) {
        self.check_kept(before);
        for (number, job) in jobs {
            assert!(self.is_done(*job), "job {job} is {:?}", self.status.get(&job.0));
            let of_job =
                |kind: &str| self.steps.iter().filter(|((id, _), step)| *id == job.0 && step.0 == kind).count();
            assert_eq!(of_job("answer"), STEPS, "job {job}: one stored answer per step");
            check_files(place, *number, true, &self.story(*job));
            let effects: Vec<_> = self.effects.iter().filter(|effect| effect.0 == job.0).collect();
            let open: Vec<_> = effects.iter().filter(|effect| effect.3 != "confirmed").collect();
            assert!(open.is_empty(), "job {job}: not every effect is confirmed: {open:?}");
            let keys: BTreeSet<_> = effects.iter().map(|effect| &effect.1).collect();
            assert_eq!(keys.len(), effects.len(), "job {job}: one effect per call: {effects:?}");
            let expected = (0..STEPS).filter(|turn| leaves_effect(*turn)).count();
            assert_eq!(effects.len(), expected, "job {job}: one effect per changing step: {effects:?}");
        }
        assert_eq!(self.status.len(), self.status.values().filter(|status| *status == "completed").count());
    }
}

fn leaves_effect(turn: usize) -> bool {
    matches!(job::step(turn), Step::Append | Step::Write | Step::Move)
}

/// Whole files only; `complete`: all of them, and nothing else.
fn check_files(place: &Place, number: u64, complete: bool, story: &str) {
    let read = |path: &str| fs::read_to_string(place.workspace().join(path)).ok();
    let mut lines = String::new();
    let mut prefixes = vec![String::new()];
    let mut expected = BTreeSet::new();
    for turn in 0..STEPS {
        match job::step(turn) {
            Step::Append => {
                lines += &job::line(number, turn);
                prefixes.push(lines.clone());
            }
            Step::Write => {
                let (path, moved) = job::file(number, turn);
                let found: Vec<String> = [&path, &moved].into_iter().filter_map(|path| read(path)).collect();
                for text in &found {
                    assert!(*text == job::content(number, turn), "{path} is half-written: {} bytes", text.len());
                }
                assert!(found.len() <= 1, "{path} is there twice");
                let stays = job::step(turn + 1) != Step::Move;
                expected.insert(if stays { path } else { moved });
            }
            _ => {}
        }
    }
    let list = read(&job::list(number)).unwrap_or_default();
    assert!(prefixes.contains(&list), "{}: a line is missing, cut or doubled:\n{list}\n{story}", job::list(number));
    if complete {
        expected.insert(job::list(number));
        assert_eq!(list, lines, "{}: a line is missing", job::list(number));
        let dir = format!("out/{number}");
        let there: BTreeSet<String> = fs::read_dir(place.workspace().join(&dir))
            .unwrap()
            .map(|entry| format!("{dir}/{}", entry.unwrap().file_name().to_string_lossy()))
            .collect();
        assert_eq!(there, expected, "exactly the files of job {number}\n{story}");
    }
}

#[expect(clippy::disallowed_methods, reason = "the daemon's store is what is under test")]
pub(crate) fn open(path: &std::path::Path) -> Connection {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap()
}

fn rows<T>(conn: &Connection, sql: &str, map: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>) -> Vec<T> {
    conn.prepare(sql).unwrap().query_map([], map).unwrap().map(Result::unwrap).collect()
}
