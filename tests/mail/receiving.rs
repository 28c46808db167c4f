//! Receiving from a real server.

use std::time::{Duration, Instant};

use assistant_api::{
    client::Client,
    effects::{EffectList, EffectState},
    mail::{Decision, EmailDetail, Received, ReceivedList, Watching},
};
use assistantd::{
    crashpoint::{Point, VARIABLE},
    mail::imap,
};

use super::servers::{MailServers, OWNER, USER};
use crate::support::{daemon::Daemon, process::Place, until};

/// Messages in a folder once there are so many.
async fn messages(servers: &MailServers, user: &str, folder: &str, count: usize) -> Vec<String> {
    until("mail in the folder", 20, async || {
        let found = servers.messages(user, folder);
        (found.len() >= count).then_some(found)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_put_into_the_sent_folder_and_found_there() {
    let Some(servers) = MailServers::start() else { return };
    servers.send("somebody@other.test", &[OWNER], "From: somebody@other.test\nSubject: hello\n\nHello.");
    assert!(messages(&servers, OWNER, "INBOX", 1).await[0].contains("Subject: hello"));

    for (port, security) in [(servers.imaps_port(), "tls"), (servers.imap_port(), "starttls")] {
        let keys = servers.email_keys();
        let keys = keys.replace(&format!("imap_port = {}", servers.imaps_port()), &format!("imap_port = {port}"));
        let keys = keys.replacen("imap_security = \"tls\"", &format!("imap_security = \"{security}\""), 1);
        let daemon = Daemon::start_with(&format!("[email]\n{keys}"), &servers.variables()).await;
        // A name that has to be written otherwise on the wire; the folder does not exist before.
        let folder = format!("Gesendet & größer {security}");
        let id = format!("<{security}@example.test>");
        let file = daemon.workspace().join("copy");
        let long = "A line of a long letter.\r\n".repeat(20_000);
        std::fs::write(&file, format!("Message-ID: {id}\r\nSubject: copy\r\n\r\n{long}")).unwrap();
        assert!(!imap::contains(&daemon.cx, &folder, &id).await.unwrap());
        imap::append(&daemon.cx, &folder, &file).await.unwrap();
        assert!(imap::contains(&daemon.cx, &folder, &id).await.unwrap());
        assert!(!imap::contains(&daemon.cx, &folder, "<other@example.test>").await.unwrap());
        daemon.stop().await;
    }
    assert_eq!(servers.messages(USER, "Sent").len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_server_is_said() {
    let Some(servers) = MailServers::start() else { return };
    let keys = servers.email_keys();
    let ca = format!("ca_file = \"{}\"", servers.ca_file());
    let port = servers.imaps_port();
    let cases = [
        (keys.replace(&ca, ""), "was issued by nobody that this machine trusts", "email.ca_file"),
        (keys.replacen("127.0.0.1", "127.0.0.3", 1), "no connection to 127.0.0.3", "email.imap_port"),
        (keys.replacen("security = \"tls\"", "security = \"starttls\"", 1), "", "email.imap_security = \"tls\""),
        (
            keys.replacen(&port.to_string(), &servers.imap_port().to_string(), 1),
            "does not speak TLS",
            "email.imap_security = \"starttls\"",
        ),
        (keys.replacen(USER, "nobody@example.test", 1), "does not let nobody@example.test log in", "imap-password"),
    ];
    let times = assistantd::mail::Times { connect: Duration::from_secs(2), ..Default::default() };
    for (keys, says, hint) in cases {
        let daemon = Daemon::start_with(&format!("[email]\n{keys}"), &servers.variables()).await;
        daemon.cx.process.mail.times.store(std::sync::Arc::new(times));
        let err = imap::contains(&daemon.cx, "Sent", "<a@b>").await.unwrap_err();
        assert!(err.message().contains(says), "{err}");
        assert!(err.hint_text().unwrap_or_default().contains(hint), "{err}: {:?}", err.hint_text());
        daemon.stop().await;
    }
}

/// From somebody whom the server proves to be who he says.
fn message(number: u32, body: &str) -> String {
    format!(
        "Authentication-Results: mail.example.test; spf=pass smtp.mailfrom=friend@verified.test\r\n\
         Received: from mx.verified.test by mail.example.test with ESMTPS; Mon, 23 Nov 2026 08:00:01 +0000\r\n\
         Return-Path: <friend@verified.test>\r\nFrom: A Friend <friend@verified.test>\r\nTo: {USER}\r\n\
         Subject: task {number}\r\nMessage-ID: <{number}@verified.test>\r\n\
         Date: Mon, 23 Nov 2026 08:00:00 +0000\r\n\r\n{body}\r\n"
    )
}

/// The same, with a table.
fn with_table(number: u32) -> String {
    let head = message(number, "");
    format!(
        "{}\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
         Content-Type: text/plain\r\n\r\nWhat do they cost?\r\n--b\r\nContent-Type: text/csv\r\n\
         Content-Disposition: attachment; filename=\"prices.csv\"\r\n\r\nthing,price\r\nlamp,{number}\r\n--b--\r\n",
        head.trim_end()
    )
}

/// A daemon that receives from these servers, without a model.
fn config(servers: &MailServers) -> String {
    let runner = std::path::Path::new(env!("CARGO_BIN_EXE_assistantd")).with_file_name("assistant-sandbox");
    format!(
        "[email]\n{}actionable_senders = [\"friend@verified.test\"]\n[sandbox]\nrunner = \"{}\"\n",
        servers.email_keys(),
        runner.display()
    )
}

/// What came, newest first.
async fn received(client: &Client) -> Vec<Received> {
    client.get::<ReceivedList>("/api/mail/received?limit=100").await.unwrap().received
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_makes_a_job_at_once_and_is_archived() {
    let Some(servers) = MailServers::start() else { return };
    let daemon = Daemon::start_with(&config(&servers), &servers.variables()).await;
    until("it waits", 20, async || (daemon.cx.process.mail.inbox().watching == Watching::Idle).then_some(())).await;
    let mut took = Vec::new();
    for number in 1..=10 {
        let text = format!("From: friend@verified.test\nTo: {USER}\nSubject: task {number}\n\nDo number {number}.");
        servers.send("friend@verified.test", &[USER], &text);
        let sent = Instant::now();
        until("a job", 10, async || (received(&daemon.client()).await.len() == number).then_some(())).await;
        took.push(sent.elapsed());
    }
    let all = received(&daemon.client()).await;
    assert!(all.iter().all(|mail| mail.decision == Decision::Job && mail.verified), "{all:#?}");
    took.sort();
    println!("arrival to job: median {:?}, longest {:?}", took[took.len() / 2], took[took.len() - 1]);
    assert!(took[took.len() - 1] < Duration::from_secs(2), "{took:?}");
    assert_eq!(messages(&servers, USER, "Archive", 10).await.len(), 10);
    until("the inbox is empty", 10, async || servers.messages(USER, "INBOX").is_empty().then_some(())).await;

    // The whole way, as a person tries it.
    let tested = assistantd::mail::test(&daemon.cx).await;
    let names: Vec<&str> = tested.steps.iter().map(|step| step.step.as_str()).collect();
    assert!(tested.ok, "{tested:#?}");
    assert_eq!(names, ["imap_tls", "imap_login", "folders", "idle", "smtp_login", "send", "arrival"]);
    daemon.stop().await;
}

/// Messages of real size; `ASSISTANT_MAIL_BACKLOG` says how many.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_goes_through_at_bounded_memory() {
    let Some(servers) = MailServers::start() else { return };
    let count: u32 = std::env::var("ASSISTANT_MAIL_BACKLOG").ok().and_then(|text| text.parse().ok()).unwrap_or(150);
    let line = "Words of a letter as people write them, some more and some less. ";
    for number in 1..=count {
        let body = line.repeat(20 + (number as usize * 37) % 600);
        // Without the server's word they are only kept.
        let text = message(number, &body).split_once("\r\n").unwrap().1.to_owned();
        servers.deliver(&format!("{number:06}.test"), text.as_bytes());
    }
    let place = Place::new(&config(&servers));
    let began = Instant::now();
    let mut process = place.start(&servers.variables());
    let client = place.client();
    until("a decision about each of them", 600, async || {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let list: ReceivedList = client.get("/api/mail/received?limit=1").await.unwrap();
        list.received.first().is_some_and(|last| last.id == i64::from(count)).then_some(())
    })
    .await;
    let seconds = began.elapsed().as_secs_f64();
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak = peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10;
    println!("{count} messages in {seconds:.1} s, {:.0}/s, peak {} MiB", f64::from(count) / seconds, peak >> 20);
    assert!(peak < 80 << 20, "{peak} bytes");
    assert_eq!(process.stop(), Some(0), "{}", place.log());
}

/// A kill at each point between the server and the archive: every message is decided about once.
#[tokio::test(flavor = "multi_thread")]
async fn each_mail_is_decided_once_whenever_the_daemon_is_killed() {
    for point in Point::MAIL_IN {
        let Some(servers) = MailServers::start() else { return };
        for number in 1..=3 {
            servers.deliver(&format!("{number}.test"), message(number, "Do it.").as_bytes());
        }
        let place = Place::new(&config(&servers));
        let at = format!("{}:{}", point.name(), if point.name().contains("archiv") { 1 } else { 2 });
        let variables = [&[(VARIABLE, at.as_str())], &servers.variables()[..]].concat();
        let mut process = place.start(&variables);
        until(&format!("the daemon dies at {at}"), 30, async || process.has_ended().then_some(())).await;
        process.kill();

        let mut process = place.start(&servers.variables());
        let what = format!("the archive after {at}");
        let archived = until(&what, 20, async || (servers.messages(USER, "Archive").len() == 3).then_some(()));
        assert!(
            tokio::time::timeout(Duration::from_secs(19), archived).await.is_ok(),
            "{at}: {:#?}\n{}",
            received(&place.client()).await,
            place.log()
        );
        until("the inbox is empty", 10, async || servers.messages(USER, "INBOX").is_empty().then_some(())).await;
        let client = place.client();
        until("the rows say so", 10, async || {
            received(&client).await.iter().all(|mail| mail.archive == "done").then_some(())
        })
        .await;
        let all = received(&client).await;
        assert_eq!(all.len(), 3, "{at}: {all:#?}");
        assert!(all.iter().all(|mail| mail.decision == Decision::Job), "{at}: {all:#?}");
        let jobs: serde_json::Value = client.get("/api/jobs").await.unwrap();
        assert_eq!(jobs["jobs"].as_array().map(Vec::len), Some(3), "{at}: {jobs}");
        let files = std::fs::read_dir(place.state().join("mail")).unwrap();
        let kept = files.filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().starts_with("in-"));
        assert_eq!(kept.count(), 0, "{at}: no attachment, so nothing of them is kept");
        assert_eq!(process.stop(), Some(0), "{at}: {}", place.log());
    }
}

/// A kill at each point between the decision and the job that goes on: the attachment is made readable once, and the job
/// is held until then.
#[tokio::test(flavor = "multi_thread")]
async fn an_attachment_is_made_readable_once_whenever_the_daemon_is_killed() {
    const OF_FILES: [Point; 4] =
        [Point::EffectDispatched, Point::FileWritten, Point::FileRenamed, Point::EffectSettled];
    let Some(servers) = MailServers::start() else { return };
    for (number, point) in (1..).zip(Point::ARTIFACT.iter().chain(&OF_FILES)) {
        let place = Place::new(&(config(&servers) + "[artifacts.clamav]\nenabled = false\n"));
        let mut process = place.start(&[&[(VARIABLE, point.name())], &servers.variables()[..]].concat());
        servers.deliver(&format!("{number}.test"), with_table(number).as_bytes());
        until(&format!("the daemon dies at {}", point.name()), 30, async || process.has_ended().then_some(())).await;
        process.kill();

        let mut process = place.start(&servers.variables());
        let (client, at) = (place.client(), point.name());
        let job = until(&format!("the job goes on after {at}"), 30, async || {
            let jobs: serde_json::Value = client.get("/api/jobs").await.unwrap();
            let job = jobs["jobs"].as_array().unwrap().first().cloned();
            job.filter(|job| job["status"] != "waiting")
        })
        .await;
        let mail: EmailDetail = client.get(&format!("/api/emails/{}", job["trigger_email_id"])).await.unwrap();
        let [artifact] = &mail.artifacts[..] else { panic!("{at}: {:#?}", mail.artifacts) };
        assert_eq!(artifact.conversion_status, "ready", "{at}: {artifact:?}");
        let found = files(&place.state().join("workspace"));
        let [file] = &found[..] else { panic!("{at}: {found:?}") };
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.contains(&format!("| lamp | {number} |")), "{at}: {text}");
        let effects: EffectList = client.get("/api/effects").await.unwrap();
        let confirmed = effects.effects.iter().filter(|effect| effect.state == EffectState::Confirmed).count();
        let settled = |state| matches!(state, EffectState::Confirmed | EffectState::Failed);
        assert!(
            confirmed == 1 && effects.effects.iter().all(|effect| settled(effect.state)),
            "{at}: {:#?}",
            effects.effects
        );
        assert_eq!(process.stop(), Some(0), "{at}: {}", place.log());
    }
}

/// The files below a directory, those of the program left out.
fn files(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}
