//! A task by mail whose reply is on its way when the daemon is killed: it arrives once, or a person is asked.

use std::time::{Duration, Instant};

use assistant_api::{effects::EffectState, mail::OutgoingList};
use assistantd::crashpoint::{Point, VARIABLE};

use super::{
    servers::{MailServers, OWNER, USER},
    thread::{config, from_owner},
};
use crate::support::{
    model::{Asked, ModelServer, Reply},
    process::Place,
    until,
};

/// What is so after a kill: the mail's state, how many replies have come, and how many copies lie in the folder.
struct After {
    state: EffectState,
    replies: usize,
    copies: usize,
}

/// Kills at `point`, and starts again once `between` has been at the servers.
async fn killed_at(point: Point, between: impl FnOnce(&MailServers), after: After) {
    let Some(servers) = MailServers::start() else { return };
    let model = ModelServer::start(|_: &Asked| (1, Reply::complete("It rains in Oslo."))).await;
    let place = Place::new(&config(&servers, &model, ""));
    let at = point.name();
    let mut process = place.start(&[&[(VARIABLE, at)], &servers.variables()[..]].concat());
    servers.deliver("first", from_owner("k1", "Weather", "", "Does it rain in Oslo?").as_bytes());
    until(&format!("the daemon dies at {at}"), 40, async || process.has_ended().then_some(())).await;
    process.kill();
    between(&servers);

    let mut process = place.start(&servers.variables());
    let client = place.client();
    let sent = until(&format!("the end of the mail after {at}"), 40, async || {
        let list: OutgoingList = client.get("/api/mail/outbox").await.unwrap();
        let [mail] = &list.outbox[..] else { return None };
        (mail.state == after.state && mail.sent_copy != "due").then(|| mail.clone())
    })
    .await;
    let of_it = |user: &str, folder: &str| {
        servers.messages(user, folder).iter().filter(|letter| letter.contains(&sent.message_id)).count()
    };
    until(&format!("the replies after {at}"), 20, async || (of_it(OWNER, "INBOX") == after.replies).then_some(()))
        .await;
    assert_eq!(of_it(USER, "Sent"), after.copies, "{at}: {sent:#?}");
    // Nothing else comes but the word to the owner where nobody can know.
    let all = after.replies + usize::from(after.state == EffectState::Unknown);
    until(&format!("all mail after {at}"), 20, async || (servers.messages(OWNER, "INBOX").len() == all).then_some(()))
        .await;
    assert_eq!(process.stop(), Some(0), "{at}: {}", place.log());
    assert_eq!((of_it(OWNER, "INBOX"), servers.messages(OWNER, "INBOX").len()), (after.replies, all), "{at}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_arrives_once_or_a_person_is_asked_whenever_the_daemon_is_killed() {
    for point in Point::MAIL.iter().chain(Point::MAIL_COPY) {
        let after = match point {
            // The server had nothing of it, and nobody could know.
            Point::MailDispatched => After { state: EffectState::Unknown, replies: 0, copies: 0 },
            // It had all of it, and nothing of that lies in the folder of sent mail.
            Point::MailTaken => After { state: EffectState::Unknown, replies: 1, copies: 0 },
            _ => After { state: EffectState::Confirmed, replies: 1, copies: 1 },
        };
        killed_at(*point, |_| {}, after).await;
    }
}

/// Many servers lay the copy there by themselves: it proves that the mail went out.
#[tokio::test(flavor = "multi_thread")]
async fn the_folder_of_sent_mail_decides_what_nobody_else_can_know() {
    let laid = |servers: &MailServers| {
        let began = Instant::now();
        let reply = loop {
            // It has taken the mail, and may still be about to deliver it.
            if let Some(reply) = servers.messages(OWNER, "INBOX").pop() {
                break reply;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "the reply was taken and does not come");
            std::thread::sleep(Duration::from_millis(20));
        };
        servers.lay(USER, "Sent", "by-the-server", reply.as_bytes());
    };
    killed_at(Point::MailTaken, laid, After { state: EffectState::Confirmed, replies: 1, copies: 1 }).await;
}
