use assistant_api::JobId;
use futures_util::future::join_all;

use super::*;
use crate::{
    clock::Clock,
    daemon,
    mail::{
        compose::{self, Draft, recipients},
        outbox::store::Gate,
    },
};

const LEASE: Lease = Lease { job_id: JobId(7), token: 1 };

struct Bed {
    _dir: tempfile::TempDir,
    cx: Cx,
}

impl Bed {
    async fn new(set: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.identity.email = Some("ada@corp.example".into());
        config.admin.email = Some("owner@home.example".into());
        set(&mut config);
        let cx = daemon::idle(dir.path(), config, Clock::fixed("2026-11-22T09:00:00Z".parse().unwrap()));
        cx.store
            .write(|tx| {
                tx.execute(
                    "INSERT INTO jobs (id, thread_id, status, lease, run_at, created_at, updated_at) \
                     VALUES (7, 't7', 'running', 1, 0, 0, 0)",
                    [],
                )?;
                Ok(())
            })
            .await
            .unwrap();
        Self { _dir: dir, cx }
    }

    fn letter(&self) -> Letter {
        let draft = Draft {
            to: vec![recipients::parse("owner@home.example").unwrap()],
            subject: "Hello".into(),
            body: "There.".into(),
            ..Draft::default()
        };
        compose::letter(&self.cx.config.load(), self.cx.clock.now(), &draft, None).unwrap()
    }

    fn agent(key: &str) -> Purpose {
        Purpose {
            kind: Kind::Agent,
            job_id: Some(JobId(7)),
            thread_id: Some("t7".into()),
            once: None,
            call: Some(Asked {
                lease: LEASE,
                key: key.into(),
                args_hash: "00".into(),
                origin: Origin::Owner,
                rule: "act-trusted".into(),
            }),
        }
    }

    fn notice(once: &str) -> Purpose {
        Purpose { kind: Kind::Notice, job_id: Some(JobId(7)), thread_id: None, once: Some(once.into()), call: None }
    }

    async fn send(&self, purpose: Purpose) -> Result<Queued> {
        send(&self.cx, purpose, self.letter()).await
    }

    async fn state(&self, queued: Queued) -> EffectState {
        self.cx.store.read(move |conn| stands(conn, queued.effect_id)).await.unwrap().unwrap().state
    }

    async fn due(&self) -> Vec<store::Due> {
        let now = self.cx.clock.now();
        self.cx.store.read(move |conn| store::due(conn, now, 100)).await.unwrap()
    }

    fn files(&self) -> usize {
        std::fs::read_dir(crate::mail::folder(&self.cx.state_dir)).map_or(0, Iterator::count)
    }
}

#[tokio::test]
async fn s27_the_eleventh_mail_of_an_hour_is_refused_under_concurrency() {
    let bed = Bed::new(|_| {}).await;
    let keys: Vec<_> = (0..40).map(|n| format!("1:{n}")).collect();
    let sent = join_all(keys.iter().map(|key| bed.send(Bed::agent(key)))).await;
    let (good, bad): (Vec<_>, Vec<_>) = sent.into_iter().partition(Result::is_ok);
    assert_eq!((good.len(), bad.len()), (10, 30));
    for err in bad {
        let err = err.unwrap_err();
        assert_eq!(err.kind(), ErrorKind::RateLimited);
        assert!(err.message().contains("limits.max_emails_per_hour = 10"), "{err:?}");
    }
    assert_eq!(bed.files(), 10, "what was refused leaves no message behind");
    let effects = bed.cx.store.read(|conn| ledger::for_job(conn, JobId(7), 100)).await.unwrap();
    assert_eq!(effects.len(), 10, "and nothing in the ledger");

    bed.send(Bed::notice("a")).await.unwrap();
    assert_eq!(bed.send(Bed::agent("2:0")).await.unwrap_err().kind(), ErrorKind::RateLimited, "notices do not count");
    let first = good.into_iter().next().unwrap().unwrap();
    let now = bed.cx.clock.now();
    let due = bed.due().await.into_iter().find(|due| due.id == first.id).unwrap();
    bed.cx.store.write(move |tx| store::failed(tx, now, &due, "no such person")).await.unwrap();
    bed.send(Bed::agent("2:1")).await.unwrap();
    bed.cx.clock.advance(std::time::Duration::from_secs(3601));
    bed.send(Bed::agent("2:2")).await.unwrap();
}

#[tokio::test]
async fn the_limit_of_a_day_counts_too_and_none_means_none() {
    let bed = Bed::new(|config| config.limits.max_emails_per_day = 3).await;
    for n in 0..3 {
        bed.send(Bed::agent(&format!("1:{n}"))).await.unwrap();
        bed.cx.clock.advance(std::time::Duration::from_hours(2));
    }
    let err = bed.send(Bed::agent("1:4")).await.unwrap_err();
    assert!(err.message().contains("limits.max_emails_per_day = 3"), "{err:?}");
    let bed = Bed::new(|config| config.limits.max_emails_per_hour = 0).await;
    assert_eq!(bed.send(Bed::agent("1:0")).await.unwrap_err().kind(), ErrorKind::RateLimited);
}

#[tokio::test]
async fn what_is_told_once_is_told_once() {
    let bed = Bed::new(|_| {}).await;
    let sent = join_all((0..8).map(|_| bed.send(Bed::notice("notice:7:failed")))).await;
    let ids: std::collections::BTreeSet<_> = sent.into_iter().map(|queued| queued.unwrap().id).collect();
    assert_eq!((ids.len(), bed.files()), (1, 1));
}

#[tokio::test]
async fn a_job_that_lost_its_lease_sends_nothing() {
    let bed = Bed::new(|_| {}).await;
    let mut purpose = Bed::agent("1:0");
    purpose.call.as_mut().unwrap().lease.token = 2;
    assert_eq!(bed.send(purpose).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(bed.files(), 0);
}

#[tokio::test]
async fn nothing_is_handed_over_while_everything_is_stopped_or_for_a_cancelled_job() {
    let bed = Bed::new(|_| {}).await;
    let queued = bed.send(Bed::agent("1:0")).await.unwrap();
    let due = bed.due().await.remove(0);
    let now = bed.cx.clock.now();
    let row = due.clone();
    let gate = bed
        .cx
        .store
        .write(move |tx| {
            jobs::stop(tx, now, "me")?;
            store::begin(tx, now, &row)
        })
        .await;
    assert_eq!((gate.unwrap(), bed.state(queued).await), (Gate::Stopped, EffectState::Prepared));
    let row = due.clone();
    let gate = bed
        .cx
        .store
        .write(move |tx| {
            jobs::go_on(tx, now, "me")?;
            tx.execute("UPDATE jobs SET status = 'cancelled'", [])?;
            store::begin(tx, now, &row)
        })
        .await;
    assert_eq!((gate.unwrap(), bed.state(queued).await), (Gate::Closed, EffectState::Failed));
    assert!(bed.due().await.is_empty());
}

#[tokio::test]
async fn a_mail_comes_back_to_the_queue_only_when_it_was_certainly_not_taken() {
    let bed = Bed::new(|_| {}).await;
    let queued = bed.send(Bed::agent("1:0")).await.unwrap();
    let due = bed.due().await.remove(0);
    let (now, row) = (bed.cx.clock.now(), due.clone());
    let later = now.checked_add(std::time::Duration::from_secs(60)).unwrap();
    bed.cx
        .store
        .write(move |tx| {
            assert_eq!(store::begin(tx, now, &row)?, Gate::Open);
            assert_eq!(store::begin(tx, now, &row)?, Gate::Closed, "once");
            store::later(tx, &row, "450 busy", later, true)
        })
        .await
        .unwrap();
    assert_eq!(bed.state(queued).await, EffectState::Prepared);
    assert!(bed.due().await.is_empty());
    bed.cx.clock.advance(std::time::Duration::from_secs(60));
    let again = bed.due().await.remove(0);
    assert_eq!((again.id, again.attempts), (due.id, 1));
    let now = bed.cx.clock.now();
    bed.cx
        .store
        .write(move |tx| {
            store::begin(tx, now, &again)?;
            store::unknown(tx, now, &again, "cut off")
        })
        .await
        .unwrap();
    assert_eq!(bed.state(queued).await, EffectState::Unknown);
    bed.cx.clock.advance(std::time::Duration::from_hours(100));
    assert!(bed.due().await.is_empty(), "what is in doubt is never sent again");
}

#[tokio::test]
async fn a_copy_that_its_folder_refuses_does_not_hold_up_the_others() {
    let bed = Bed::new(|_| {}).await;
    let first = bed.send(Bed::agent("1:0")).await.unwrap().id;
    let second = bed.send(Bed::agent("1:1")).await.unwrap().id;
    let order = bed
        .cx
        .store
        .write(move |tx| {
            tx.execute("UPDATE outbox SET sent_at = 1, sent_copy = 'due'", [])?;
            store::not_copied(tx, first, "too large", false)?;
            Ok(store::copies(tx, 20)?.into_iter().map(|copy| copy.id).collect::<Vec<_>>())
        })
        .await
        .unwrap();
    assert_eq!(order, [second, first]);
}
