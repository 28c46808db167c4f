//! The way out: what the server says decides, and nothing is sent twice.

use assistant_api::{
    JobId,
    effects::{EffectList, EffectState},
    jobs::{JobCreated, JobDetail, JobStatus, NewJob},
    mail::{Outgoing, OutgoingList},
};
use assistantd::{
    crashpoint::{Point, VARIABLE},
    mail::{
        compose::{self, Draft, recipients},
        outbox::{self, Kind, Purpose},
    },
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::{
    servers::{MailServers, OWNER, USER},
    smtp::{Do, SmtpServer},
};
use crate::support::{
    daemon::Daemon,
    model::{ModelServer, Reply},
    process::Place,
    until,
};

const ADMIN: &str = "[identity]\nemail = \"assistant@example.test\"\n[admin]\nemail = \"owner@example.test\"\n";

/// Puts a mail into the outbox of a daemon.
async fn put(daemon: &Daemon, to: &[&str]) -> i64 {
    let cx = &daemon.cx;
    let draft = Draft {
        to: to.iter().map(|to| recipients::parse(to).unwrap()).collect(),
        subject: "Results".into(),
        body: "All **done**.\n".repeat(30),
        ..Draft::default()
    };
    let letter = compose::made(cx, &cx.config.load_full(), draft).await.unwrap();
    let purpose = Purpose { kind: Kind::Test, job_id: None, thread_id: None, once: None, call: None };
    outbox::send(cx, purpose, letter).await.unwrap().id
}

async fn look(daemon: &Daemon, id: i64) -> Outgoing {
    let list: OutgoingList = daemon.client().get("/api/mail/outbox").await.unwrap();
    list.outbox.into_iter().find(|mail| mail.id == id).unwrap()
}

/// The mail once this is true of it.
async fn once(daemon: &Daemon, id: i64, so: impl Fn(&Outgoing) -> bool) -> Outgoing {
    until("a mail as it should be", 20, async || Some(look(daemon, id).await).filter(&so)).await
}

/// Does not wait for the next attempt.
async fn at_once(daemon: &Daemon) {
    daemon
        .cx
        .store
        .write(|tx| {
            tx.execute("UPDATE outbox SET next_attempt_at = 1 WHERE next_attempt_at IS NOT NULL", [])?;
            Ok(())
        })
        .await
        .unwrap();
    daemon.cx.wake.outbox.notify_one();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_says_decides() {
    let cases: &[(Do, EffectState, usize, &str)] = &[
        (Do::Take, EffectState::Confirmed, 1, "250"),
        (Do::Mail("550 5.7.1 not you"), EffectState::Failed, 0, "550"),
        (Do::End("554 5.6.0 not this"), EffectState::Failed, 0, "554"),
        (Do::Rcpt("b", "550 5.1.1 no such person"), EffectState::Confirmed, 1, "250"),
        (Do::Rcpt("", "550 5.1.1 no such person"), EffectState::Failed, 0, "no such person"),
        (Do::TakeAndCut, EffectState::Unknown, 1, "cut"),
        (Do::CutAfterEnd, EffectState::Unknown, 0, "cut"),
        // A short message is written whole before the cut is seen, so that nobody can tell.
        (Do::CutInMessage, EffectState::Unknown, 0, "cut"),
    ];
    for (script, state, taken, answer) in cases {
        let server = SmtpServer::start(&[*script]).await;
        let daemon = Daemon::start(&format!("{ADMIN}[email]\n{}", server.keys())).await;
        let id = put(&daemon, &["a@example.test", "b@example.test"]).await;
        let mail = once(&daemon, id, |mail| mail.state == *state).await;
        assert_eq!((server.taken().len(), mail.attempts.max(1)), (*taken, 1), "{script:?}");
        assert!(mail.answer.unwrap().contains(answer), "{script:?}");
        // Whatever became of it: nothing of it is left to be done.
        at_once(&daemon).await;
        daemon.cx.wake.outbox.notify_one();
        put(&daemon, &["c@example.test"]).await;
        until("the next mail", 20, async || (server.taken().len() > *taken).then_some(())).await;
        assert_eq!(server.taken().len(), taken + 1, "{script:?}");
        if let Do::Rcpt("b", _) = script {
            assert_eq!(server.taken()[0].recipients, ["a@example.test"]);
            let effects: EffectList = daemon.client().get("/api/effects").await.unwrap();
            let refused = effects.effects.iter().find(|effect| effect.id == mail.effect_id).unwrap();
            assert_eq!(refused.detail["refused"][0]["recipient"], "b@example.test");
        }
        daemon.stop().await;
    }
}

/// A server that gives `token-1`, `token-2`, and so on; its address.
async fn token_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    #[expect(clippy::disallowed_methods, reason = "a server of a test ends with its runtime")]
    tokio::spawn(async move {
        for count in 1.. {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let (mut asked, mut piece) = (Vec::new(), [0; 4096]);
            while !asked.windows(10).any(|part| part == b"client_id=") {
                let length = stream.read(&mut piece).await.unwrap();
                asked.extend_from_slice(&piece[..length]);
            }
            let body = format!("{{\"access_token\":\"token-{count}\",\"expires_in\":3600}}");
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_renewed_before_a_mail_goes_out() {
    let server = SmtpServer::start(&[]).await;
    server.wants_token("token-2");
    let config = format!(
        "{ADMIN}[email]\n{}smtp_username = \"assistant@example.test\"\noauth_token_url = \"{}\"\n\
         oauth_client_id = \"me\"\n",
        server.keys(),
        token_server().await
    );
    let daemon = Daemon::start_with(&config, &[("ASSISTANT_MAIL_OAUTH_REFRESH_TOKEN", "refresh-secret")]).await;
    let id = put(&daemon, &["a@example.test"]).await;
    once(&daemon, id, |mail| mail.state == EffectState::Confirmed).await;
    assert_eq!(server.taken().len(), 1);
    // None that it gets is good any more: the mail waits, and says why.
    server.wants_token("none");
    let id = put(&daemon, &["a@example.test"]).await;
    let mail = once(&daemon, id, |mail| mail.answer.is_some()).await;
    assert_eq!(mail.state, EffectState::Prepared);
    let answer = mail.answer.unwrap();
    assert!(answer.contains("the token is refused: invalid_token"), "{answer}");
    assert!(!answer.contains("token-") && !answer.contains("refresh-secret"), "{answer}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_certainly_not_taken_is_tried_again() {
    for script in [
        Do::Mail("451 4.3.0 busy"),
        Do::Mail("530 5.7.0 log in first"),
        Do::Rcpt("a", "450 4.2.0 greylisted"),
        Do::End("452 4.3.1 no room"),
    ] {
        let server = SmtpServer::start(&[script, script]).await;
        let daemon = Daemon::start(&format!("{ADMIN}[email]\n{}", server.keys())).await;
        let id = put(&daemon, &["a@example.test", "b@example.test"]).await;
        let put_off = once(&daemon, id, |mail| mail.attempts == 1 && mail.state == EffectState::Prepared).await;
        assert!(put_off.next_attempt_at.unwrap() > put_off.created_at && put_off.answer.is_some(), "{script:?}");
        at_once(&daemon).await;
        once(&daemon, id, |mail| mail.attempts == 2 && mail.state == EffectState::Prepared).await;
        at_once(&daemon).await;
        once(&daemon, id, |mail| mail.state == EffectState::Confirmed).await;
        assert_eq!(server.taken().len(), 1, "{script:?}");
        assert_eq!(server.taken()[0].recipients.len(), 2, "{script:?}");
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_freezes_the_outbox_and_mail_is_never_handed_over_in_the_clear() {
    let server = SmtpServer::start(&[]).await;
    let daemon = Daemon::start(&format!("{ADMIN}[email]\n{}", server.keys())).await;
    assistantd::jobs::stop_all(&daemon.cx, "me").await.unwrap();
    let id = put(&daemon, &["a@example.test"]).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!((look(&daemon, id).await.state, server.connections()), (EffectState::Prepared, 0));
    assistantd::jobs::resume(&daemon.cx, "me").await.unwrap();
    once(&daemon, id, |mail| mail.state == EffectState::Confirmed).await;
    daemon.stop().await;

    // A certificate of an authority that nobody knows.
    let keys = server.keys();
    let keys = keys.lines().filter(|line| !line.starts_with("ca_file")).collect::<Vec<_>>().join("\n");
    let daemon = Daemon::start(&format!("{ADMIN}[email]\n{keys}")).await;
    let id = put(&daemon, &["a@example.test"]).await;
    once(&daemon, id, |mail| mail.attempts == 1 && mail.state == EffectState::Prepared).await;
    assert_eq!(server.taken().len(), 1);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_sends_a_mail_exactly_once_over_a_kill_at_every_step() {
    for point in Point::MAIL {
        let smtp = SmtpServer::start(&[]).await;
        let model = ModelServer::start(|asked| {
            let reply = match asked.turn() {
                0 => Reply::call("get_tool_specs", json!({"tools": ["email_send"]})),
                1 => Reply::call(
                    "email_send",
                    json!({"to": ["owner@example.test"], "subject": "Report", "body": "It is done."}),
                ),
                _ => Reply::complete("done"),
            };
            (0, reply)
        })
        .await;
        let llm = format!("[llm]\nprovider = \"openai\"\nbase_url = \"{}\"\nmodel = \"scripted\"\n", model.base_url());
        let place = Place::new(&format!("{llm}{ADMIN}[email]\n{}", smtp.keys()));
        let mut process = place.start(&[(VARIABLE, point.name())]);
        let new = NewJob { subject: "Report".into(), body: "Mail it.".into(), ..NewJob::default() };
        let created: JobCreated = place.client().post("/api/jobs", &new).await.unwrap();
        until("the kill", 20, async || process.has_ended().then_some(())).await;
        process.kill();

        let mut process = place.start(&[]);
        let job = until("the end of the job", 30, async || ended(&place, created.job.id).await).await;
        assert_eq!(job, JobStatus::Completed, "{}:\n{}", point.name(), place.log());
        let effects: EffectList = place.client().get("/api/effects").await.unwrap();
        let states: Vec<_> =
            effects.effects.iter().filter(|one| one.tool == "email_send").map(|one| one.state).collect();
        let (state, taken) = match point {
            // The server had nothing of it, and nobody could know.
            Point::MailDispatched => (EffectState::Unknown, 0),
            Point::MailTaken => (EffectState::Unknown, 1),
            _ => (EffectState::Confirmed, 1),
        };
        assert_eq!((states, smtp.taken().len()), (vec![state], taken), "{}", point.name());
        assert_eq!(process.stop(), Some(0));
    }
}

async fn ended(place: &Place, job: JobId) -> Option<JobStatus> {
    let detail: JobDetail = place.client().get(&format!("/api/jobs/{job}")).await.unwrap();
    (!detail.job.status.is_open()).then_some(detail.job.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_takes_mail_and_a_copy_lies_in_the_folder_of_sent_mail() {
    let Some(servers) = MailServers::start() else { return };
    let keys = servers.email_keys();
    let starttls = keys
        .replace(&format!("smtp_port = {}", servers.smtps_port()), &format!("smtp_port = {}", servers.smtp_port()))
        .replace("smtp_security = \"tls\"", "smtp_security = \"starttls\"");
    let login = format!("{keys}smtp_auth = \"login\"\n");
    for (count, keys) in [keys, starttls, login].iter().enumerate() {
        let daemon =
            Daemon::start_with(&format!("[admin]\nemail = \"{OWNER}\"\n[email]\n{keys}"), &servers.variables()).await;
        let id = put(&daemon, &[OWNER]).await;
        let mail = once(&daemon, id, |mail| mail.sent_copy == "done").await;
        assert_eq!(mail.state, EffectState::Confirmed);
        let inbox = until("the mail", 20, async || {
            let found = servers.messages(OWNER, "INBOX");
            (found.len() > count).then_some(found)
        })
        .await;
        assert!(inbox.iter().any(|message| message.contains(&mail.message_id)), "{keys}");
        assert!(inbox.iter().all(|message| message.contains("Auto-Submitted: auto-generated")));
        let sent = servers.messages(USER, "Sent");
        assert_eq!(sent.iter().filter(|message| message.contains(&mail.message_id)).count(), 1);
        daemon.stop().await;
    }
}
