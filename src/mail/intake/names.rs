//! What the DNS says of names, asked through a program of its own and remembered for a while.

use std::{
    collections::HashMap,
    process::Stdio,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use assistant_mail::protocol::{Lookup, Records};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
    time::timeout,
};

use super::{reader::PROGRAM, unready};
use crate::{cx::Cx, error::Result, mail::Place, sandbox};

const MAX_KNOWN: usize = 2000;
/// How long an answer is good.
const FRESH: Duration = Duration::from_mins(10);
/// How long it counts that nobody answered: mail that comes meanwhile does not wait anew for the same name.
const UNANSWERED: Duration = Duration::from_secs(30);
/// How long all answers together are waited for.
const PATIENCE: Duration = Duration::from_secs(15);
const MOST: u64 = 4 << 20;
/// Pauses before a name that nobody answered for is asked for again.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

/// How long a message waits for answers that may prove its sender, and all that came after it.
const WORTH: Duration = Duration::from_mins(10);
/// From the begin of one such wait that led to nothing to the next.
const REST: Duration = Duration::from_hours(1);

/// Answers, with the time on the monotonic clock.
#[derive(Default)]
pub struct Names {
    known: Mutex<HashMap<String, (Lookup, Duration)>>,
    /// The message that waits for answers, and since when.
    waits: Mutex<Option<(Place, Duration)>>,
}

impl Names {
    fn find(&self, now: Duration, name: &str) -> Option<Lookup> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (lookup, at) = known.get(name)?;
        let good = if *lookup == Lookup::Failed { UNANSWERED } else { FRESH };
        (now.saturating_sub(*at) < good).then(|| lookup.clone())
    }

    fn keep(&self, now: Duration, name: &str, lookup: &Lookup) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.retain(|_, (_, at)| now.saturating_sub(*at) < FRESH);
        }
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(name.to_owned(), (lookup.clone(), now));
    }

    /// Forgets everything, as after a change of the server that is asked.
    pub fn clear(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// A message has waited, and what proves its sender was found.
    pub(super) fn was_worth_waiting(&self, place: &Place) {
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        waits.take_if(|(waiting, _)| waiting == place);
    }

    /// Whether a message may wait still, counted from the first time that it is asked about.
    pub(super) fn is_worth_waiting(&self, now: Duration, place: &Place) -> bool {
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        match &*waits {
            Some((waiting, since)) if waiting == place => now.saturating_sub(*since) < WORTH,
            Some((_, since)) if now.saturating_sub(*since) < REST => false,
            _ => {
                *waits = Some((place.clone(), now));
                true
            }
        }
    }
}

/// What is known of names; what nobody answers for is asked for again twice.
pub(super) async fn records(cx: &Cx, names: Vec<String>) -> Records {
    let cache = &cx.process.mail.names;
    let now = || cx.clock.monotonic();
    let mut found = Vec::new();
    let mut ahead = Vec::new();
    for name in names {
        match cache.find(now(), &name) {
            Some(lookup) => found.push((name, lookup)),
            None => ahead.push(name),
        }
    }
    let mut pauses = PAUSES.iter();
    while !ahead.is_empty() {
        let answers: HashMap<String, Lookup> = match ask(cx, &ahead).await {
            Ok(records) => records.0.into_iter().collect(),
            Err(err) => {
                tracing::warn!(error = err.chain(), "names could not be looked up");
                HashMap::new()
            }
        };
        ahead.retain(|name| match answers.get(name) {
            None | Some(Lookup::Failed) => true,
            Some(lookup) => {
                cache.keep(now(), name, lookup);
                found.push((name.clone(), lookup.clone()));
                false
            }
        });
        match pauses.next() {
            Some(pause) if !ahead.is_empty() => tokio::time::sleep(*pause).await,
            _ => break,
        }
    }
    for name in ahead {
        cache.keep(now(), &name, &Lookup::Failed);
        found.push((name, Lookup::Failed));
    }
    Records(found)
}

async fn ask(cx: &Cx, names: &[String]) -> Result<Records> {
    let config = cx.config.load_full();
    let program = sandbox::program_beside_runner(&config.sandbox, PROGRAM)?;
    let mut child = Command::new(program)
        .arg("lookup")
        .args(config.mail.dns_server.iter().flat_map(|server| ["--server", server]))
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(unready)?;
    let asked = names.join("\n");
    let talk = async {
        if let Some(mut input) = child.stdin.take() {
            input.write_all(asked.as_bytes()).await?;
        }
        let mut said = Vec::new();
        if let Some(output) = child.stdout.take() {
            output.take(MOST).read_to_end(&mut said).await?;
        }
        child.wait().await?;
        Ok(said)
    };
    let said = timeout(PATIENCE, talk).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
    Ok(serde_json::from_slice(&said.map_err(unready)?)?)
}
