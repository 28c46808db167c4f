//! A daemon that receives from a scripted server, with decisions that are only written down.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use assistant_api::mail::Watching;
use jiff::Timestamp;

use super::{
    super::{Deciding, advance, receive},
    server::Server,
};
use crate::{
    clock::Clock,
    config::Config,
    cx::Cx,
    daemon,
    error::{Error, Result},
    loops::Next,
    mail::{self, Arrived, Place, Times, net::Passwords},
    store::types::micros,
};

pub(super) struct Bed {
    pub(super) cx: Cx,
    pub(super) server: Server,
    pub(super) decided: Decided,
    _dir: tempfile::TempDir,
}

type Failing = Box<dyn FnMut(&str) -> Option<Error> + Send>;

/// What was decided about, in its order.
#[derive(Default)]
pub(super) struct Decided {
    /// Place and content.
    pub(super) taken: Mutex<Vec<(u32, Vec<u8>)>>,
    /// Place and reason.
    pub(super) aside: Mutex<BTreeMap<u32, String>>,
    /// Asked with each content.
    pub(super) fails: Mutex<Option<Failing>>,
}

impl Deciding for &Decided {
    type Read = Vec<u8>;

    async fn read(&self, cx: &Cx, raw_name: &str) -> Result<Vec<u8>> {
        Ok(std::fs::read(mail::folder(&cx.state_dir).join(raw_name)).unwrap())
    }

    async fn take(&self, cx: &Cx, arrived: Arrived, content: &Vec<u8>) -> Result<()> {
        assert_eq!(content.len() as u64, arrived.size_bytes);
        let failed = self.fails.lock().unwrap().as_mut().and_then(|fails| fails(&String::from_utf8_lossy(content)));
        if let Some(err) = failed {
            return Err(err);
        }
        let uid = arrived.place.uid;
        store(cx, arrived.place, Some(arrived.raw_name), "stored").await?;
        self.taken.lock().unwrap().push((uid, content.clone()));
        Ok(())
    }

    async fn set_aside(&self, cx: &Cx, place: &Place, _: Timestamp, _: u64, why: &str) -> Result<()> {
        store(cx, place.clone(), None, "set_aside").await?;
        self.aside.lock().unwrap().insert(place.uid, why.to_owned());
        Ok(())
    }
}

/// A second decision about one place fails here.
async fn store(cx: &Cx, place: Place, raw_name: Option<String>, decision: &'static str) -> Result<()> {
    let now = cx.clock.now();
    cx.store
        .write(move |tx| {
            let archive = if decision == "stored" { "due" } else { "none" };
            tx.execute(
                "INSERT INTO mail_received (mailbox, uid_validity, uid, size_bytes, decision, reason, raw_name, archive, \
                 received_at, decided_at) VALUES (?1, ?2, ?3, 0, ?4, '', ?5, ?6, ?7, ?7)",
                (&place.mailbox, place.uid_validity, place.uid, decision, &raw_name, archive, micros(now)),
            )?;
            advance(tx, now, &place)
        })
        .await
}

impl Bed {
    pub(super) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(super) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(dir.path(), false).await;
        Self::of(dir, server, change)
    }

    pub(super) fn of(dir: tempfile::TempDir, server: Server, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.email.imap_host = Some("127.0.0.1".into());
        config.email.imap_port = server.port;
        config.email.imap_username = Some("me".into());
        config.email.ca_file = Some(server.ca.display().to_string());
        change(&mut config);
        let cx = daemon::idle(dir.path(), config, Clock::System);
        let passwords = Passwords { imap: Some("correct horse".into()), ..Passwords::default() };
        cx.process.mail.passwords.store(Arc::new(passwords));
        let times = Times {
            connect: Duration::from_secs(2),
            answer: Duration::from_millis(400),
            idle: Duration::from_millis(200),
            back_off: Duration::from_millis(4),
        };
        cx.process.mail.times.store(Arc::new(times));
        Self { cx, server, decided: Decided::default(), _dir: dir }
    }

    /// Receives until it is so, as the loop does.
    pub(super) async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let receiving = async {
            loop {
                match receive(&self.cx, &&self.decided).await.unwrap() {
                    Next::After(pause) => tokio::time::sleep(pause.min(Duration::from_millis(50))).await,
                    next => panic!("it waits for {next:?}"),
                }
            }
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        let looking = async {
            while !is_so() {
                assert!(Instant::now() < deadline, "{what}: {self:?}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            () = receiving => {}
            () = looking => {}
        }
    }

    /// Receives until nothing is left to do.
    pub(super) async fn until_idle(&self, taken: usize) {
        self.until("all is taken up", || {
            self.taken().len() >= taken
                && matches!(self.cx.process.mail.inbox().watching, Watching::Idle | Watching::Polling)
                && self.archived() == taken
        })
        .await;
    }

    pub(super) fn taken(&self) -> Vec<u32> {
        self.decided.taken.lock().unwrap().iter().map(|(uid, _)| *uid).collect()
    }

    pub(super) fn aside(&self) -> BTreeMap<u32, String> {
        self.decided.aside.lock().unwrap().clone()
    }

    /// Messages in the archive folder of the server.
    pub(super) fn archived(&self) -> usize {
        self.server.state().archived.get("Archive").map_or(0, Vec::len)
    }

    /// How many files of messages there are.
    pub(super) fn files(&self) -> usize {
        std::fs::read_dir(mail::folder(&self.cx.state_dir)).map_or(0, Iterator::count)
    }

    /// What people are told.
    pub(super) fn error(&self) -> String {
        self.cx.process.mail.inbox().error.unwrap_or_default()
    }
}

impl std::fmt::Debug for Bed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bed")
            .field("taken", &self.taken())
            .field("aside", &self.aside())
            .field("archived", &self.archived())
            .field("inbox", &self.cx.process.mail.inbox())
            .field("commands", &self.server.state().commands)
            .finish_non_exhaustive()
    }
}
