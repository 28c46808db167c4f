//! A state directory with a database and a workspace, and the program.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use assistantd::store::Store;
use serde_json::Value;

/// The program, in a place that every user may enter.
pub fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_assistant-backup"))
}

pub struct Bed {
    pub dir: tempfile::TempDir,
}

impl Bed {
    /// An empty state directory.
    pub fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("state")).unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        fs::write(dir.path().join("etc/assistant.toml"), "[retention]\nmin_free_bytes = 0\n").unwrap();
        Self { dir }
    }

    /// One with a job that runs, an effect under way, an old content that is kept and another that is gone.
    pub fn filled() -> Self {
        let bed = Self::empty();
        drop(Store::open(&bed.path("state/assistant.db")).unwrap());
        bed.sql(
            "INSERT INTO jobs (thread_id, status, run_at, created_at, updated_at, attempts) VALUES ('t', 'running', 1, 1, 1, 1);
             INSERT INTO jobs (thread_id, status, run_at, created_at, updated_at) VALUES ('u', 'queued', 1, 1, 1);
             INSERT INTO steps (job_id, seq, epoch, kind, body, origin, created_at) VALUES (1, 1, 0, 'prompt', '{}', 'owner', 1);
             INSERT INTO effects (job_id, call_key, tool, target, args_hash, origin, rule, state, prepared_at, dispatched_at)
                 VALUES (1, '1:0', 'file_write', 'a.txt', 'x', 'owner', 'r', 'dispatched', 1, 1);
             INSERT INTO kept_files (effect_id, path, name, sha256, size_bytes, origin, created_at)
                 VALUES (1, 'a.txt', 'there', 'x', 3, 'owner', 1), (1, 'a.txt', 'gone', 'x', 3, 'owner', 1);",
        );
        fs::create_dir(bed.path("state/kept")).unwrap();
        fs::write(bed.path("state/kept/there"), "old").unwrap();
        fs::create_dir(bed.path("state/workspace")).unwrap();
        fs::write(bed.path("state/workspace/a.txt"), "new").unwrap();
        bed
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn workspace(&self) -> PathBuf {
        self.path("state/workspace")
    }

    pub fn sql(&self, sql: &str) {
        rusqlite::Connection::open(self.path("state/assistant.db")).unwrap().execute_batch(sql).unwrap();
    }

    pub fn ask(&self, sql: &str) -> String {
        let conn = rusqlite::Connection::open(self.path("state/assistant.db")).unwrap();
        conn.query_row(sql, [], |row| row.get::<_, rusqlite::types::Value>(0)).map_or_else(
            |err| err.to_string(),
            |value| match value {
                rusqlite::types::Value::Integer(number) => number.to_string(),
                rusqlite::types::Value::Text(text) => text,
                other => format!("{other:?}"),
            },
        )
    }

    /// The database is whole, and every reference in it leads somewhere.
    #[track_caller]
    pub fn check_database(&self) {
        assert_eq!(self.ask("PRAGMA integrity_check"), "ok");
        assert_eq!(self.ask("SELECT count(*) FROM pragma_foreign_key_check"), "0");
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(program());
        command.arg("--json").arg("--config").arg(self.path("etc/assistant.toml"));
        command.arg("--state-dir").arg(self.path("state"));
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
    }

    /// What it says when all is well.
    #[track_caller]
    pub fn good(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Why it refuses.
    #[track_caller]
    pub fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
        let text = String::from_utf8(output.stderr).unwrap();
        let problem: Value = serde_json::from_str(&text).unwrap_or_else(|err| panic!("{err}: {text}"));
        format!("{}: {} ({})", problem["kind"].as_str().unwrap(), problem["message"].as_str().unwrap(), problem["hint"])
    }

    /// Makes a backup; its path.
    #[track_caller]
    pub fn create(&self) -> String {
        self.good(&["create"])["path"].as_str().unwrap().to_owned()
    }
}

/// Everything in a tree: path, kind, mode, content or target.
pub fn tree(root: &Path) -> Vec<(Vec<u8>, String)> {
    use std::os::unix::ffi::OsStrExt as _;
    let mut found = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let mode = meta.permissions().mode() & 0o777;
            let what = if meta.is_symlink() {
                format!("-> {}", fs::read_link(&path).unwrap().display())
            } else if meta.is_dir() {
                left.push(path.clone());
                format!("dir {mode:o}")
            } else {
                format!("{mode:o} {} links, {} bytes, at {}: {:?}", meta.nlink(), meta.len(), meta.mtime(), head(&path))
            };
            found.push((path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec(), what));
        }
    }
    found.sort();
    found
}

/// The bytes of a small file, the length of another.
fn head(path: &Path) -> Vec<u8> {
    if fs::metadata(path).unwrap().len() > 1 << 20 { b"large".to_vec() } else { fs::read(path).unwrap() }
}
