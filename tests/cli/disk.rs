//! A full disk: said, survived, and over when there is room again.

use std::{
    fs::{self, File},
    io::Write as _,
    path::PathBuf,
};

use assistant_api::{
    ErrorKind,
    client::Error,
    jobs::{JobCreated, NewJob},
};
use serde_json::Value;

use crate::support::{
    process::{Place, Process},
    until,
};

/// A daemon whose state lies on a file system of its own, of 24 MiB, that only it and its children see.
struct Small {
    place: Place,
    process: Process,
}

impl Small {
    fn start(config: &str) -> Self {
        let place = Place::new(config);
        fs::create_dir(place.state()).unwrap();
        let state = place.state().display().to_string();
        let mount = "mount -t tmpfs -o size=24m,mode=0700 tmpfs \"$0\" && exec \"$@\"";
        // Without root, a user namespace gives the right to mount.
        let right = if nix::unistd::geteuid().is_root() { "--mount" } else { "-Urm" };
        let process = place.start_as(place.command_through(&["unshare", right, "sh", "-c", mount, &state]), &[]);
        assert!(process.ready, "a private mount is needed for this test (util-linux's unshare):\n{}", place.log());
        Self { place, process }
    }

    /// A path on the small file system, as this process can reach it.
    fn inside(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.process.pid(), self.place.state().join(name).display()))
    }

    /// Fills the disk but for `spare` KiB.
    fn fill(&self, spare: usize) {
        let mut file = File::create(self.inside("filler")).unwrap();
        while file.write_all(&[7; 4096]).is_ok() {}
        let length = file.metadata().unwrap().len();
        file.set_len(length.saturating_sub(spare as u64 * 1024)).unwrap();
    }

    fn free(&self) {
        fs::remove_file(self.inside("filler")).unwrap();
    }

    async fn submit(&self, text: &str) -> Result<JobCreated, Error> {
        let job = NewJob { subject: "disk".into(), body: text.into(), hold: true, ..NewJob::default() };
        self.place.client().post("/api/jobs", &job).await
    }

    async fn health(&self) -> Result<Value, Error> {
        self.place.client().get("/health").await
    }
}

/// The kind that the daemon named.
fn kind<T>(answer: Result<T, Error>) -> Option<ErrorKind> {
    answer.err().and_then(|err| err.kind())
}

#[tokio::test]
async fn a_full_disk_is_said_and_passes_without_a_restart() {
    let mut small = Small::start("[retention]\nmin_free_bytes = 0\n");
    let kept = small.submit("before the disk was full").await.unwrap().job.id;
    assert!(small.health().await.is_ok());

    small.fill(0);
    let long = "x".repeat(400_000);
    assert_eq!(kind(small.submit(&long).await), Some(ErrorKind::StorageFull), "a job that does not fit is 507");
    let health = small.health().await.unwrap_err();
    assert!(health.to_string().contains("full"), "health says why: {health}");
    let read: Value = small.place.client().get(&format!("/api/jobs/{kept}")).await.unwrap();
    assert_eq!(read["job"]["task_summary"], "disk", "reading goes on");

    small.free();
    until("the daemon finds that there is room again", 20, async || small.health().await.ok()).await;
    let after = small.submit(&long).await.unwrap().job.id;
    assert!(after > kept);
    assert_eq!(small.process.stop(), Some(0), "{}", small.place.log());
}

#[tokio::test]
async fn new_work_is_refused_below_the_mark_and_taken_again_above_it() {
    let mut small = Small::start("[retention]\nmin_free_bytes = \"4MiB\"\n");
    assert!(small.submit("there is room").await.is_ok());
    small.fill(1024);
    let refused = small.submit("there is little room").await;
    let message = refused.as_ref().unwrap_err().to_string();
    assert_eq!(kind(refused), Some(ErrorKind::StorageFull), "{message}");
    assert!(small.health().await.is_ok() || message.contains("free"), "the database itself is well: {message}");
    small.free();
    until("new work is taken again", 20, async || small.submit("there is room again").await.ok()).await;
    assert_eq!(small.process.stop(), Some(0), "{}", small.place.log());
}
