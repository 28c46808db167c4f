//! The loop that hands mail over.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use super::{
    copies, files,
    smtp::{Failure, Session},
    store::{self, Due, Gate},
};
use crate::{
    crashpoint::{self, Point},
    cx::{Cx, Wake},
    error::{ErrorKind, Result},
    jobs,
    loops::{Loop, Next},
};

/// Mails that one look takes up, over one connection.
const BATCH: u32 = 50;
/// When a folder is looked into again that could not be.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// How long it is tried to look whether a mail went out.
const LOOKED_FOR: SignedDuration = SignedDuration::from_mins(15);
/// The first pause; doubles with each further attempt.
const FIRST_PAUSE: Duration = Duration::from_secs(15);
/// Attempts after which recipients that are still put off no longer hold up the others.
const PATIENCE: u32 = 6;

pub(in crate::mail) struct Outbox;

impl Loop for Outbox {
    const NAME: &'static str = "outbox";

    fn wake(wake: &Wake) -> &Notify {
        &wake.outbox
    }

    async fn tick(cx: &Cx) -> Result<Next> {
        pass(cx).await
    }
}

/// Brings every mail as far as it comes now.
pub(super) async fn pass(cx: &Cx) -> Result<Next> {
    // This loop alone hands mail over, so whatever is under way now was so when the daemon ended.
    for due in cx.store.read(store::under_way).await? {
        doubtful(cx, &due, "the connection ended before the server had answered").await?;
    }
    if cx.store.read(jobs::stopped).await?.is_some() {
        return Ok(Next::Woken);
    }
    loop {
        let now = cx.clock.now();
        let batch = cx.store.read(move |conn| store::due(conn, now, BATCH)).await?;
        let full = batch.len() == BATCH as usize;
        if !batch.is_empty() && !hand_over(cx, batch).await? {
            break;
        }
        if !full {
            break;
        }
    }
    let copies_left = copies::pass(cx).await?;
    let in_doubt = !cx.store.read(store::under_way).await?.is_empty();
    let next = cx.store.read(store::next_due).await?;
    let again = (copies_left || in_doubt).then(|| cx.clock.now().checked_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX));
    Ok(next.into_iter().chain(again).min().map_or(Next::Woken, Next::At))
}

/// Hands mails over one after another; `false`: everything was stopped meanwhile.
async fn hand_over(cx: &Cx, batch: Vec<Due>) -> Result<bool> {
    let mut session: Option<Session> = None;
    let mut mails = batch.into_iter();
    while let Some(due) = mails.next() {
        let mut open = match session.take() {
            Some(open) => open,
            None => match open(cx, &due).await {
                Ok(open) => open,
                Err(err) => {
                    // What keeps one from being handed over keeps all.
                    tracing::warn!(error = err.chain(), "mail cannot be handed over");
                    let why = err.message().to_owned();
                    settle(cx, &due, Err(Failure::Later(why.clone())), false).await?;
                    for due in mails {
                        settle(cx, &due, Err(Failure::Later(why.clone())), false).await?;
                    }
                    return Ok(true);
                }
            },
        };
        let Some(message) = message(cx, &due).await? else {
            session = Some(open);
            continue;
        };
        let offered = open.offer(&due.from, &due.recipients, message.is_ascii(), due.attempts < PATIENCE).await;
        let refused = match offered {
            Ok(refused) => refused,
            Err(failure) => {
                settle(cx, &due, Err(failure), false).await?;
                session = if open.reset().await { Some(open) } else { None };
                continue;
            }
        };
        let (now, row) = (cx.clock.now(), due.clone());
        match cx.store.write(move |tx| store::begin(tx, now, &row)).await? {
            Gate::Open => {}
            Gate::Closed => {
                // The server waits for a message; it gets none.
                open.drop_now();
                cx.wake.announce();
                continue;
            }
            Gate::Stopped => {
                open.drop_now();
                return Ok(false);
            }
        }
        crashpoint::hit(Point::MailDispatched);
        let taken = open.hand_over(&message).await;
        crashpoint::hit(Point::MailTaken);
        session = match &taken {
            Ok(_) => Some(open),
            Err(_) => None,
        };
        match taken {
            Ok(answer) => {
                tracing::info!(outbox = due.id, effect_id = due.effect_id.0, "a mail was handed over");
                let (now, row) = (cx.clock.now(), due.clone());
                cx.store.write(move |tx| store::confirmed(tx, now, &row, &answer, &refused)).await?;
                cx.wake.announce();
                crashpoint::hit(Point::MailConfirmed);
            }
            Err(Failure::Doubt(why)) => doubtful(cx, &due, &why).await?,
            Err(failure) => settle(cx, &due, Err(failure), true).await?,
        }
    }
    if let Some(open) = session {
        open.close().await;
    }
    Ok(true)
}

async fn open(cx: &Cx, due: &Due) -> Result<Session> {
    let server = super::server(cx)?;
    Session::open(cx, &server, due.from.domain()).await
}

/// The message itself; `None`: it is gone, and the mail has failed.
async fn message(cx: &Cx, due: &Due) -> Result<Option<Vec<u8>>> {
    let read = match &due.raw_name {
        Some(name) => files::read(cx, name).await,
        None => Err(crate::error::Error::unavailable("the message is no longer there")),
    };
    match read {
        Ok(message) => Ok(Some(message)),
        Err(err) => {
            settle(cx, due, Err(Failure::Never(err.message().to_owned())), false).await?;
            Ok(None)
        }
    }
}

/// Writes down what became of a mail that was not taken.
async fn settle(cx: &Cx, due: &Due, failure: Result<(), Failure>, dispatched: bool) -> Result<()> {
    let Err(failure) = failure else { return Ok(()) };
    let config = cx.config.load();
    let (most, give_up) = (config.mail.max_backoff.0, config.mail.give_up_after.0);
    let (now, row) = (cx.clock.now(), due.clone());
    let over = now.duration_since(due.created_at) >= SignedDuration::try_from(give_up).unwrap_or(SignedDuration::MAX);
    let next = next_attempt(now, due.attempts, most, fastrand::f64());
    let written = cx
        .store
        .write(move |tx| match &failure {
            Failure::Later(why) if !over => store::later(tx, &row, why, next, dispatched),
            Failure::Later(why) => {
                store::failed(tx, now, &row, &format!("given up after {} attempts: {why}", row.attempts + 1))
            }
            Failure::Never(why) => store::failed(tx, now, &row, why),
            Failure::Doubt(why) => store::unknown(tx, now, &row, why),
        })
        .await;
    cx.wake.announce();
    gone(written)
}

/// A mail of which nobody knows whether it was taken: the folder of sent mail may say, now or when it can be looked into.
async fn doubtful(cx: &Cx, due: &Due, why: &str) -> Result<()> {
    let found = match copies::lies_there(cx, &due.message_id).await {
        Ok(found) => found,
        Err(err) => {
            let since = due.dispatched_at.map_or(SignedDuration::MAX, |at| cx.clock.now().duration_since(at));
            if since < LOOKED_FOR {
                tracing::warn!(outbox = due.id, error = err.chain(), "nobody can tell yet whether a mail went out");
                return Ok(());
            }
            false
        }
    };
    let (now, row, why) = (cx.clock.now(), due.clone(), why.to_owned());
    tracing::warn!(outbox = due.id, effect_id = due.effect_id.0, found, why, "a mail was in doubt");
    let written = cx
        .store
        .write(move |tx| {
            if found {
                store::confirmed(tx, now, &row, "found in the folder of sent mail", &[])?;
                store::copied(tx, row.id)
            } else {
                store::unknown(tx, now, &row, &why)
            }
        })
        .await;
    cx.wake.announce();
    gone(written)
}

/// A mail that is no longer there, or that somebody has settled, is nobody's trouble.
fn gone(written: Result<()>) -> Result<()> {
    match written {
        Err(err) if matches!(err.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => Ok(()),
        other => other,
    }
}

/// After attempt number `attempts`, counted from 0: twice as long each time, up to `most`, less up to a half.
fn next_attempt(now: Timestamp, attempts: u32, most: Duration, jitter: f64) -> Timestamp {
    let full = FIRST_PAUSE.saturating_mul(1_u32.checked_shl(attempts.min(20)).unwrap_or(u32::MAX)).min(most);
    let pause = full.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
    now.checked_add(pause).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_are_spread() {
        let now = Timestamp::UNIX_EPOCH;
        let pause = |attempts, jitter| {
            next_attempt(now, attempts, Duration::from_mins(30), jitter).duration_since(now).as_secs()
        };
        assert_eq!((pause(0, 1.0), pause(0, 0.0)), (15, 7));
        assert_eq!((pause(1, 1.0), pause(6, 1.0)), (30, 960));
        assert_eq!((pause(10, 1.0), pause(1000, 1.0), pause(1000, 0.0)), (1800, 1800, 900));
    }
}
