//! Attachments from the message to the job, with a real virus scanner and the real converters.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
};

use assistant_api::{
    EmailId, EventId,
    effects::EffectList,
    jobs::{JobDetail, JobStatus},
    mail::{Artifact, EmailDetail},
};
use assistantd::{
    events,
    mail::{Arrived, Place, intake},
};
use base64::Engine as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::support::{daemon::Daemon, skip, until};

/// The virus that is made for tests, in two halves so that this file holds none.
const EICAR: [&str; 2] = ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"];

/// A scanner, gone with this value.
struct Clamd {
    dir: TempDir,
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Clamd {
    fn start() -> Option<Self> {
        if !Path::new("/usr/sbin/clamd").exists() {
            skip("attachments: clamd is not installed");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("assistant-clamd-").tempdir().unwrap();
        let mut child = Command::new("bash")
            .args([concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mail/clamd.sh"), dir.path().to_str().unwrap()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said.trim(), "ready", "clamd does not start, see above");
        Some(Self { stdin: child.stdin.take(), dir, child })
    }

    fn by_socket(&self) -> String {
        format!("host = \"{}\"\n", self.dir.path().join("clamd.sock").display())
    }

    fn by_port(&self) -> String {
        let port = std::fs::read_to_string(self.dir.path().join("port")).unwrap();
        format!("host = \"127.0.0.1\"\nport = {}\n", port.trim())
    }
}

impl Drop for Clamd {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

/// A message with these attachments.
fn message(text: &str, attachments: &[(&str, &[u8])]) -> Vec<u8> {
    let mut message = format!(
        "From: Friend <friend@example.org>\r\nTo: assistant@example.test\r\nSubject: Papers\r\nMessage-ID: <papers@example.org>\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n{text}\r\n"
    );
    for (name, content) in attachments {
        let body = base64::engine::general_purpose::STANDARD.encode(content);
        let disposition = format!("Content-Disposition: attachment; filename=\"{name}\"\r\n");
        message += &[
            "--b\r\nContent-Type: application/octet-stream\r\n",
            &disposition,
            "Content-Transfer-Encoding: base64\r\n\r\n",
            &body,
            "\r\n",
        ]
        .concat();
    }
    message += "--b--\r\n";
    message.into_bytes()
}

struct Bed {
    daemon: Daemon,
    _dir: TempDir,
    place: PathBuf,
}

impl Bed {
    async fn new(clamav: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("assistant-attachments-").tempdir().unwrap();
        let place = dir.path().join("workspace");
        std::fs::create_dir(&place).unwrap();
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(&place, Some(65534), Some(65534)).unwrap();
        }
        let runner = Path::new(env!("CARGO_BIN_EXE_assistantd")).with_file_name("assistant-sandbox");
        let (shared, runner) = (place.display(), runner.display());
        let config = format!(
            "[filesystem]\nshared_root = \"{shared}\"\n[sandbox]\nrunner = \"{runner}\"\nenabled = false\n\
             [artifacts.clamav]\ntimeout_seconds = 10\n{clamav}"
        );
        Self { daemon: Daemon::start(&config).await, _dir: dir, place }
    }

    /// Hands a message over as the receiving loop does; the id of its item.
    async fn arrive(&self, raw: &[u8]) -> EmailId {
        let folder = assistantd::mail::folder(&self.daemon.cx.state_dir);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("message-1"), raw).unwrap();
        let arrived = Arrived {
            place: Place { mailbox: "a@example.test/INBOX".into(), uid_validity: 1, uid: 1 },
            received_at: self.daemon.cx.clock.now(),
            size_bytes: raw.len() as u64,
            raw_name: "message-1".into(),
            content_hash: Sha256::digest(raw).into(),
        };
        let read = intake::read(&self.daemon.cx, &arrived.raw_name).await.unwrap();
        intake::take(&self.daemon.cx, arrived, &read).await.unwrap();
        EmailId(1)
    }

    /// A person accepts it, which makes a job; once its attachments are done.
    async fn accepted(&self, email: EmailId) -> (JobDetail, Vec<Artifact>) {
        let taken = intake::decide_by_hand(&self.daemon.cx, 1, true, "a test").await.unwrap();
        let job = taken.job_id.unwrap();
        let client = self.daemon.client();
        let detail = async || client.get::<JobDetail>(&format!("/api/jobs/{job}")).await.unwrap();
        until("the job is let go", 120, async || (detail().await.job.status != JobStatus::Waiting).then_some(())).await;
        (detail().await, self.artifacts(email).await)
    }

    async fn artifacts(&self, email: EmailId) -> Vec<Artifact> {
        let detail: EmailDetail = self.daemon.client().get(&format!("/api/emails/{email}")).await.unwrap();
        detail.artifacts
    }

    fn left(&self) -> Vec<String> {
        let folder = assistantd::mail::folder(&self.daemon.cx.state_dir);
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn statuses(all: &[Artifact]) -> Vec<(&str, &str, &str)> {
    all.iter().map(|one| (one.label.as_str(), one.scan_status.as_str(), one.conversion_status.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn s33_what_is_infected_or_cannot_be_scanned_is_not_converted() {
    let Some(clamd) = Clamd::start() else { return };
    let virus = EICAR.concat();
    let large = vec![b'x'; 2 << 20];
    let raw = message(
        "Look",
        &[("a.csv", b"a,b\n1,2\n"), ("virus.txt", virus.as_bytes()), ("huge.txt", &large), ("tool.exe", b"MZ\0\0")],
    );
    for how in [clamd.by_socket(), clamd.by_port()] {
        let bed = Bed::new(&how).await;
        let email = bed.arrive(&raw).await;
        assert!(
            bed.artifacts(email).await.iter().all(|one| one.conversion_status == "skipped"),
            "of a stranger's mail"
        );
        let (_, made) = bed.accepted(email).await;
        let wanted = [
            ("a.csv", "clean", "ready"),
            ("virus.txt", "infected", "skipped"),
            // More than the scanner takes.
            ("huge.txt", "error", "skipped"),
            ("tool.exe", "clean", "unsupported"),
        ];
        assert_eq!(statuses(&made), wanted, "{made:?}");
        assert_eq!(made[1].scan_result.as_deref(), Some("Test.Eicar.UNOFFICIAL"));
        assert!(!bed.place.join(format!("processed/email/{email}/virus.md")).exists());
        bed.daemon.stop().await;
    }
    drop(clamd);
    let down = "host = \"/nowhere/clamd.sock\"\n";
    let bed = Bed::new(down).await;
    let email = bed.arrive(&message("Look", &[("a.csv", b"a,b\n")])).await;
    let (_, made) = bed.accepted(email).await;
    assert_eq!(statuses(&made), [("a.csv", "error", "skipped")]);
    bed.daemon.stop().await;
    let bed = Bed::new(&format!("{down}required = false\n")).await;
    let email = bed.arrive(&message("Look", &[("a.csv", b"a,b\n")])).await;
    let (_, made) = bed.accepted(email).await;
    assert_eq!(statuses(&made), [("a.csv", "error", "ready")]);
    bed.daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s32_where_an_attachment_lies_is_told_to_nobody() {
    let bed = Bed::new("enabled = false\n").await;
    let raw = message(
        "See https://youtu.be/abcdefghijk?t=1",
        &[("../../etc/re\u{202e}port.csv", b"a,b\n1,2\n"), ("report.csv", b"c,d\n"), ("report.JSON", b"{\"k\": 1}")],
    );
    let email = bed.arrive(&raw).await;
    let (detail, made) = bed.accepted(email).await;
    let wanted = [
        ("report.csv", "skipped", "ready"),
        ("report.csv", "skipped", "ready"),
        ("report.JSON", "skipped", "ready"),
        ("https://www.youtube.com/watch?v=abcdefghijk", "not_applicable", "skipped"),
    ];
    assert_eq!(statuses(&made), wanted, "{made:?}");
    let paths: Vec<_> = made.iter().filter_map(|one| one.markdown_path.as_deref()).collect();
    let below = |name: &str| format!("processed/email/{email}/{name}");
    assert_eq!(paths, [below("report.md"), below("report-1.md"), below("report-2.md")]);
    assert!(std::fs::read_to_string(bed.place.join(paths[0])).unwrap().contains("| 1 | 2 |"));
    // Neither names of files nor directories of the daemon are in what anybody is shown.
    let state = bed.daemon.cx.state_dir.display().to_string();
    let client = bed.daemon.client();
    let events = bed.daemon.cx.store.read(|conn| events::after(conn, EventId(0), None, 500)).await.unwrap();
    assert!(events.len() > 3, "{events:?}");
    let shown: Vec<Value> = vec![
        serde_json::to_value(&detail).unwrap(),
        client.get(&format!("/api/emails/{email}")).await.unwrap(),
        client.get("/api/mail/received/1").await.unwrap(),
        events.iter().map(|event| event.data.as_str()).collect(),
    ];
    for shown in shown {
        let text = shown.to_string();
        assert!(!text.contains("message-1") && !text.contains(&state), "{text}");
    }
    // Each file is in the ledger once, and nothing is left of the message.
    let effects: EffectList = client.get("/api/effects").await.unwrap();
    assert_eq!(effects.effects.iter().filter(|effect| effect.tool == "file_convert").count(), 3);
    until("the message is gone", 20, async || bed.left().is_empty().then_some(())).await;
    bed.daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_is_named_and_not_fetched_where_commands_reach_nothing() {
    let bed = Bed::new("enabled = false\n").await;
    let email = bed.arrive(&message("Look at https://youtu.be/abcdefgh and https://youtu.be/abcdefgh", &[])).await;
    let (_, all) = bed.accepted(email).await;
    assert_eq!(statuses(&all), [("https://www.youtube.com/watch?v=abcdefgh", "not_applicable", "skipped")]);
    assert_eq!(all[0].error.as_deref(), Some("the sandbox reaches no network (sandbox.level)"));
    assert_eq!(all[0].markdown_path, None);
    bed.daemon.stop().await;
}
