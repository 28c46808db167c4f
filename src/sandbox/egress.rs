//! The daemon's end of the egress proxy: a token for each session of level `work+net`, and what became of its requests.
//!
//! Each session has a control connection of its own. Whatever was granted over it ends with it, so a token never outlives
//! its session, however the session or the daemon ends.

use std::{collections::BTreeMap, io, path::Path, time::Duration};

use assistant_api::JobId;
use assistant_broker::control::{
    Grant, Record,
    client::{self, Link, Token},
};
use assistant_sandbox::protocol::{Denial, Login, Ready};
use tokio::{sync::mpsc, time::timeout};

use super::{begin::unreachable, config::Sandbox};
use crate::{
    cx::Cx,
    error::{Error, Result},
};

/// How long the proxy may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// Refused requests of one command that are told one by one; the journal has all.
const TOLD: usize = 50;
/// Who asks, where no job does.
const PERSON: &str = "person";

const WAY_OUT: &str = "sudo systemctl start assistant-egress; without systemd start assistant-egress with --listen and \
                       --control, and name both sockets by sandbox.egress_socket and sandbox.egress_control";

/// What a session may use the proxy with.
pub(super) struct Egress {
    link: Link,
    records: mpsc::Receiver<Record>,
    token: Token,
    job: String,
}

impl Egress {
    /// Reaches the proxy for `job`, or for a person. Nothing is let in yet.
    ///
    /// # Errors
    /// `unavailable`: no proxy answers, or it does not listen to the daemon.
    pub(super) async fn reach(cx: &Cx, config: &Sandbox, job: Option<JobId>) -> Result<Self> {
        let path = Path::new(&config.egress_control);
        let connected = client::connect(path).await;
        let (link, records, driver) =
            connected.map_err(|err| needed(unreachable("", path, &err).message()).hint(WAY_OUT))?;
        cx.tasks.spawn(async move {
            if let Err(err) = driver.run().await {
                tracing::warn!(%err, "the connection to the egress proxy broke off");
            }
        });
        let job = job.map_or_else(|| PERSON.to_owned(), |job| job.0.to_string());
        let egress = Self { link, records, token: Token::new().map_err(Error::internal)?, job };
        // An answer to anything shows that it is the proxy, and that it listens to us.
        answered(config, egress.link.settle(&egress.job)).await?;
        Ok(egress)
    }

    /// Has the token let in what comes from this runner, and nobody else.
    ///
    /// # Errors
    /// `unavailable`, as when too many are granted, or nobody knows which process the runner is.
    pub(super) async fn grant(&self, config: &Sandbox, ready: &Ready) -> Result<()> {
        let Some(process) = ready.pid else {
            return Err(needed("which process the runner is cannot be seen, so a token would count for anybody")
                .hint("use an engine of this machine"));
        };
        let (job, token_sha256) = (self.job.clone(), self.token.hash());
        answered(config, self.link.grant(Grant { job, token_sha256, allow: None, process: Some(process) })).await
    }

    /// What commands show to the proxy.
    pub(super) fn login(&self) -> Login {
        self.token.login()
    }

    /// Whether the token still counts.
    pub(super) fn is_alive(&self) -> bool {
        !self.link.is_closed()
    }

    /// What was refused since the last time, once the requests of a command that has ended are over.
    pub(super) async fn denials(&mut self) -> Vec<Denial> {
        match timeout(ANSWER_TIME, self.link.settle(&self.job)).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => tracing::debug!(job_id = self.job, "requests of an ended command still run"),
            Ok(Err(_)) | Err(_) => tracing::warn!(job_id = self.job, "the egress proxy does not say what it refused"),
        }
        let mut records = Vec::new();
        while let Ok(record) = self.records.try_recv() {
            // Those of nobody are told to everybody.
            records.extend(record.job.is_some().then_some(record));
        }
        tally(&records)
    }
}

/// What the proxy answers, or why it does not.
async fn answered<T>(config: &Sandbox, answer: impl Future<Output = io::Result<T>>) -> Result<T> {
    let reason = match timeout(ANSWER_TIME, answer).await {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(err)) => err.to_string(),
        Err(_) => format!("it did not answer within {} s", ANSWER_TIME.as_secs()),
    };
    let hint = "assistant-egress listens to its own user and the one that --control-user names; its log says more";
    Err(needed(&format!("{} gives no token: {reason}", config.egress_control)).hint(hint))
}

fn needed(reason: &str) -> Error {
    Error::unavailable(format!("the level work+net needs the egress proxy: {reason}")).field("sandbox.egress_control")
}

/// Each host and rule once, with how often.
fn tally(records: &[Record]) -> Vec<Denial> {
    let mut found: BTreeMap<(String, String), Denial> = BTreeMap::new();
    for denial in records.iter().filter_map(Record::denial) {
        let of = (denial.target.clone(), denial.rule.clone());
        found.entry(of).and_modify(|known| known.count += denial.count).or_insert(denial);
    }
    found.into_values().take(TOLD).collect()
}
