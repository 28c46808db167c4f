//! One request from its first to its last byte: who asks for what, what bounds it, and what is told of it.

use std::{net::IpAddr, sync::Arc};

use tokio::sync::OwnedSemaphorePermit;

use super::{Egress, grants::Granted, journal, meter::Meter};
use crate::{
    allow::{self, Answer},
    config::Config,
    control::{Event, Reason, Record, RequestKind},
    host::Target,
};

pub(super) struct Exchange {
    pub(super) egress: Arc<Egress>,
    /// The configuration at its beginning.
    pub(super) config: Arc<Config>,
    pub(super) kind: RequestKind,
    pub(super) meter: Arc<Meter>,
    pub(super) granted: Option<Arc<Granted>>,
    pub(super) target: Option<Target>,
    pub(super) address: Option<IpAddr>,
    pub(super) rule: Option<String>,
    /// Held until it is over: its connection's, and its job's.
    pub(super) permits: Vec<Arc<OwnedSemaphorePermit>>,
    told: bool,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.told {
            self.tell(Reason::ClientGone);
        }
    }
}

impl Exchange {
    pub(super) fn begin(egress: &Arc<Egress>, kind: RequestKind, connection: Arc<OwnedSemaphorePermit>) -> Self {
        let config = egress.config.borrow().clone();
        Self {
            egress: egress.clone(),
            kind,
            meter: Meter::new(config.limits),
            config,
            granted: None,
            target: None,
            address: None,
            rule: None,
            permits: vec![connection],
            told: false,
        }
    }

    /// Takes the grant of `token`, which `process` shows, and one of its job's slots.
    pub(super) fn claim(&mut self, token: Option<&str>, process: Option<u32>) -> Result<(), Reason> {
        let granted = token.and_then(|token| self.egress.grants.find(token, process)).ok_or(Reason::TokenUnknown)?;
        let slot = granted.slots.take();
        self.granted = Some(granted);
        self.permits.push(Arc::new(slot.ok_or(Reason::TooManyRequests)?));
        Ok(())
    }

    /// Whether the lists have `target`.
    pub(super) fn permit(&mut self, target: &Target) -> Result<(), Reason> {
        self.rule = Some(permitted(&self.config, self.granted.as_deref(), target)?);
        Ok(())
    }

    /// Ends when something forbids to go on: a bound, the end of the grant, a new list, the end of the proxy.
    pub(super) async fn bounds(&self) -> Reason {
        let revoked = async {
            match &self.granted {
                Some(granted) => granted.end.cancelled().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased; // the proxy's end revokes all tokens
            () = self.egress.stop.cancelled() => Reason::Stopped,
            () = self.meter.idle() => Reason::Idle,
            () = tokio::time::sleep(self.config.limits.total()) => Reason::TotalTime,
            () = revoked => Reason::Revoked,
            () = self.unlisted() => Reason::NoLongerListed,
        }
    }

    /// Ends when a reload has taken the target from the list.
    async fn unlisted(&self) {
        let mut config = self.egress.config.subscribe();
        let Some(target) = &self.target else { return std::future::pending().await };
        let gone = |config: &Arc<Config>| permitted(config, self.granted.as_deref(), target).is_err();
        if config.wait_for(gone).await.is_err() {
            std::future::pending::<()>().await; // the sender is a part of `egress`, which lives
        }
    }

    /// The end. Without it, the client has gone before there was one.
    pub(super) fn finish(mut self, reason: Reason) -> Record {
        self.tell(reason)
    }

    /// Tells the journal and the daemon.
    fn tell(&mut self, reason: Reason) -> Record {
        self.told = true;
        let record = Record {
            job: self.granted.as_ref().map(|granted| granted.job.clone()),
            kind: self.kind,
            host: self.target.as_ref().map(|target| target.host.to_string()),
            port: self.target.as_ref().map(|target| target.port),
            address: self.address,
            verdict: reason.verdict(),
            reason,
            suggestion: self.suggestion(reason),
            rule: self.rule.take(),
            bytes_up: self.meter.up(),
            bytes_down: self.meter.down(),
            duration_ms: u64::try_from(self.meter.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        journal::tell(&record);
        self.egress
            .desk
            .tell(self.granted.as_ref().map(|granted| granted.owner), &Event::Request(Box::new(record.clone())));
        record
    }

    fn suggestion(&self, reason: Reason) -> Option<String> {
        let target = self.target.as_ref()?;
        let file = &self.egress.config_file;
        match reason {
            Reason::HostNotListed | Reason::PortNotListed | Reason::NoLongerListed => Some(format!(
                "add `allow = [\"{}\"]` to {file}, or the entry to the list there, and run `systemctl reload \
                 assistant-egress`",
                allow::suggestion(target)
            )),
            _ => None,
        }
    }
}

/// The entry that allows `target`: one of the configuration, and where the grant has a list, one of that too.
fn permitted(config: &Config, granted: Option<&Granted>, target: &Target) -> Result<String, Reason> {
    let rule = match allow::look_up(&config.allow, target) {
        Answer::Allowed(entry) => entry.to_string(),
        Answer::OtherPort(_) => return Err(Reason::PortNotListed),
        Answer::NotListed => return Err(Reason::HostNotListed),
    };
    match granted.and_then(|granted| granted.allow.as_ref()) {
        Some(own) if !matches!(allow::look_up(own, target), Answer::Allowed(_)) => Err(Reason::NotGranted),
        _ => Ok(rule),
    }
}
