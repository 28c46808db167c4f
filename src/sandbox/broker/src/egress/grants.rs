//! Who may use the proxy: tokens by job, given and taken by the daemon.

use std::sync::{Arc, PoisonError, RwLock};

use subtle::ConstantTimeEq as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{
    allow::Entry,
    config::Limits,
    control::{Grant, TokenHash},
};

/// Longest name of a job, in bytes.
const JOB: usize = 128;

/// The control connection over which something was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Owner(pub(super) u64);

/// A token that counts, until `end` is cancelled.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) job: String,
    hash: TokenHash,
    pub(super) allow: Option<Vec<Entry>>,
    process: Option<u32>,
    pub(super) owner: Owner,
    pub(super) end: CancellationToken,
    /// One a request, shared by all tokens of the job.
    pub(super) slots: Slots,
}

/// Room for so many requests at once.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    room: Arc<Semaphore>,
    total: u32,
}

impl Slots {
    fn new(total: u32) -> Self {
        Self { room: Arc::new(Semaphore::new(total as usize)), total }
    }

    /// One of them, if there is one.
    pub(super) fn take(&self) -> Option<OwnedSemaphorePermit> {
        self.room.clone().try_acquire_owned().ok()
    }

    /// Waits until all of them are free.
    pub(super) async fn all_free(&self) {
        let _ = self.room.acquire_many(self.total).await; // it is never closed
    }
}

#[derive(Debug, Default)]
pub(super) struct Grants(RwLock<Vec<Arc<Granted>>>);

impl Grants {
    /// # Errors
    /// Why it cannot be granted.
    pub(super) fn add(&self, grant: Grant, owner: Owner, limits: &Limits) -> Result<(), String> {
        if grant.job.is_empty() || grant.job.len() > JOB || grant.job.contains(char::is_control) {
            return Err(format!("job: a name of 1 to {JOB} bytes, without control characters"));
        }
        let mut list = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if list.len() >= limits.grants as usize {
            return Err(format!("{} tokens are granted, and limits.grants allows no more", list.len()));
        }
        if list.iter().any(|granted| granted.hash == grant.token_sha256) {
            return Err("token_sha256: this token is granted already".to_owned());
        }
        let same_job = list.iter().find(|granted| granted.job == grant.job && granted.owner == owner);
        let slots = same_job.map_or_else(|| Slots::new(limits.requests_per_job), |granted| granted.slots.clone());
        let Grant { job, token_sha256: hash, allow, process } = grant;
        list.push(Arc::new(Granted { job, hash, allow, process, owner, end: CancellationToken::new(), slots }));
        Ok(())
    }

    /// Ends the tokens that `owner` granted to `job`, or to any; how many there were.
    pub(super) fn revoke(&self, owner: Owner, job: Option<&str>) -> usize {
        let mut list = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = list.len();
        list.retain(|granted| {
            let ends = granted.owner == owner && job.is_none_or(|job| granted.job == job);
            if ends {
                granted.end.cancel();
            }
            !ends
        });
        before - list.len()
    }

    /// The slots of a job of `owner`, all of them free when none of its requests runs.
    pub(super) fn slots(&self, owner: Owner, job: &str) -> Option<Slots> {
        let list = self.0.read().unwrap_or_else(PoisonError::into_inner);
        list.iter().find(|granted| granted.owner == owner && granted.job == job).map(|granted| granted.slots.clone())
    }

    /// The grant that this token belongs to, if it counts for `process`. All hashes are compared, each in constant time.
    pub(super) fn find(&self, token: &str, process: Option<u32>) -> Option<Arc<Granted>> {
        let hash = TokenHash::of(token);
        let list = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = list.iter().fold(None, |found, granted| {
            if bool::from(granted.hash.0.ct_eq(&hash.0)) { Some(granted.clone()) } else { found }
        });
        found.filter(|granted| granted.process.is_none() || granted.process == process)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(job: &str, token: &str) -> Grant {
        Grant { job: job.to_owned(), token_sha256: TokenHash::of(token), allow: None, process: None }
    }

    #[test]
    fn a_token_counts_until_its_job_or_its_owner_ends() {
        let (grants, limits) = (Grants::default(), Limits { grants: 4, ..Limits::default() });
        let (one, two) = (Owner(1), Owner(2));
        for (job, token, owner) in [("7", "a", one), ("7", "b", one), ("8", "c", one), ("7", "d", two)] {
            grants.add(grant(job, token), owner, &limits).unwrap();
        }
        assert!(grants.add(grant("9", "e"), one, &limits).unwrap_err().contains("limits.grants"));
        let found = grants.find("b", None).unwrap();
        assert_eq!(found.job, "7");
        assert!(Arc::ptr_eq(&found.slots.room, &grants.find("a", None).unwrap().slots.room));
        assert!(!Arc::ptr_eq(&found.slots.room, &grants.find("d", None).unwrap().slots.room));
        assert!(grants.find("", None).is_none() && grants.find("B", None).is_none());

        assert_eq!(grants.revoke(one, Some("7")), 2);
        assert!(found.end.is_cancelled() && grants.find("b", None).is_none());
        assert!(grants.find("c", None).is_some() && grants.find("d", None).is_some());
        assert_eq!(grants.revoke(one, Some("7")), 0);
        assert_eq!(grants.revoke(one, None), 1);
        assert!(grants.find("d", None).is_some());
    }

    #[test]
    fn a_token_may_count_for_one_process_only() {
        let (grants, limits) = (Grants::default(), Limits::default());
        grants.add(Grant { process: Some(70), ..grant("7", "a") }, Owner(1), &limits).unwrap();
        grants.add(grant("8", "b"), Owner(1), &limits).unwrap();
        for (token, process, found) in [
            ("a", Some(70), true),
            ("a", Some(71), false),
            ("a", None, false),
            ("b", Some(71), true),
            ("b", None, true),
        ] {
            assert_eq!(grants.find(token, process).is_some(), found, "{token} {process:?}");
        }
    }

    #[test]
    fn a_wrong_grant_says_why() {
        let (grants, limits) = (Grants::default(), Limits::default());
        for job in ["", "a\nb", &"x".repeat(129)] {
            assert!(grants.add(grant(job, "a"), Owner(1), &limits).unwrap_err().starts_with("job: "));
        }
        grants.add(grant("7", "a"), Owner(1), &limits).unwrap();
        assert!(grants.add(grant("8", "a"), Owner(1), &limits).unwrap_err().contains("granted already"));
    }
}
