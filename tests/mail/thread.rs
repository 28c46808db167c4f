//! A task by mail from its arrival to the reply, with real servers and a scripted model.

use std::time::Duration;

use assistant_api::{
    jobs::{JobDetail, JobList, JobStatus},
    mail::{Decision, OutgoingList, ReceivedList},
};

use super::servers::{MailServers, OWNER, USER};
use crate::support::{
    daemon::Daemon,
    model::{Asked, ModelServer, Reply},
    until,
};

/// A message as the owner's mail server hands it over: what it says of its sender stands above its own `Received`.
pub(super) fn from_owner(id: &str, subject: &str, more: &str, text: &str) -> String {
    format!(
        "Authentication-Results: mail.example.test; dmarc=pass header.from=example.test\r\n\
         Received: from client.example.test by mail.example.test with ESMTPSA; Mon, 23 Nov 2026 08:00:00 +0000\r\n\
         Date: Mon, 23 Nov 2026 08:00:00 +0000\r\nFrom: The Owner <{OWNER}>\r\nTo: {USER}\r\nMessage-ID: <{id}@example.test>\r\n\
         {more}Subject: {subject}\r\n\r\n{text}\r\n"
    )
}

pub(super) fn config(servers: &MailServers, model: &ModelServer, more: &str) -> String {
    let runner = std::path::Path::new(env!("CARGO_BIN_EXE_assistantd")).with_file_name("assistant-sandbox");
    format!(
        "[llm]\nprovider = \"openai\"\nbase_url = \"{}\"\nmodel = \"scripted\"\n\
         [sandbox]\nenabled = false\nrunner = \"{}\"\n\
         [identity]\nemail = \"{USER}\"\n[admin]\nemail = \"{OWNER}\"\n\
         [email]\n{}actionable_senders = [\"{OWNER}\"]\n{more}",
        model.base_url(),
        runner.display(),
        servers.email_keys(),
    )
}

async fn letters(servers: &MailServers, user: &str, folder: &str, count: usize) -> Vec<String> {
    until(&format!("{count} mails in {folder} of {user}"), 40, async || {
        let found = servers.messages(user, folder);
        (found.len() >= count).then_some(found)
    })
    .await
}

/// A header's value, unfolded.
fn header(letter: &str, name: &str) -> Option<String> {
    let head = letter.replace("\r\n", "\n");
    let head = head.split("\n\n").next()?.replace("\n ", " ").replace("\n\t", " ");
    let prefix = format!("{}:", name.to_ascii_lowercase());
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(&prefix))?.to_owned();
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_by_mail_comes_back_as_a_reply_in_its_thread() {
    let Some(servers) = MailServers::start() else { return };
    let model = ModelServer::start(|asked: &Asked| {
        let text = asked.text();
        let answer = if text.contains("And in Rome?") { "It is warm in Rome." } else { "It rains in **Oslo**." };
        (1, Reply::complete(answer))
    })
    .await;
    let daemon = Daemon::start_with(&config(&servers, &model, ""), &servers.variables()).await;
    servers.deliver("first", from_owner("q1", "Weather", "", "How is the weather in Oslo?").as_bytes());

    let reply = letters(&servers, OWNER, "INBOX", 1).await.remove(0);
    assert_eq!(header(&reply, "In-Reply-To").as_deref(), Some("<q1@example.test>"), "{reply}");
    assert!(header(&reply, "References").unwrap().contains("<q1@example.test>"), "{reply}");
    assert_eq!(header(&reply, "Subject").as_deref(), Some("Re: Weather"));
    assert!(header(&reply, "Auto-Submitted").is_some(), "another robot would answer it: {reply}");
    assert!(reply.contains("It rains in"), "{reply}");
    let id = header(&reply, "Message-ID").unwrap();

    // It is archived, and a copy of the answer lies with what was sent.
    assert!(letters(&servers, USER, "Archive", 1).await[0].contains("<q1@example.test>"));
    let copies = letters(&servers, USER, "Sent", 1).await;
    assert_eq!(header(&copies[0], "Message-ID"), Some(id.clone()));
    let client = daemon.client();
    let received: ReceivedList = client.get("/api/mail/received").await.unwrap();
    let first = &received.received[0];
    assert_eq!((first.decision, first.verified), (Decision::Job, true), "{first:?}");
    until("the mail to be archived", 20, async || {
        let list: ReceivedList = client.get("/api/mail/received").await.unwrap();
        (list.received[0].archive == "done").then_some(())
    })
    .await;
    let sent: OutgoingList = client.get("/api/mail/outbox").await.unwrap();
    assert_eq!(
        (sent.outbox.len(), sent.outbox[0].kind.as_str(), sent.outbox[0].state.as_str()),
        (1, "result", "confirmed")
    );

    // An answer to the reply goes on in the same thread, in another job.
    let more = format!("In-Reply-To: {id}\r\nReferences: <q1@example.test> {id}\r\n");
    servers.deliver(
        "second",
        from_owner("q2", "Re: Weather", &more, "And in Rome?\r\n\r\n> It rains in Oslo.").as_bytes(),
    );
    let replies = letters(&servers, OWNER, "INBOX", 2).await;
    let second = replies.iter().find(|letter| header(letter, "In-Reply-To").as_deref() == Some("<q2@example.test>"));
    assert!(second.unwrap().contains("It is warm in Rome."), "{second:?}");
    let jobs: JobList = client.get("/api/jobs").await.unwrap();
    assert_eq!(jobs.jobs.len(), 2);
    assert!(jobs.jobs.iter().all(|item| item.job.status == JobStatus::Completed));
    assert_eq!(jobs.jobs[0].job.thread_id, jobs.jobs[1].job.thread_id);
    // Each job shows what went out up to its own answer.
    for (item, answers) in jobs.jobs.iter().rev().zip([1, 2]) {
        let detail: JobDetail = client.get(&format!("/api/jobs/{}", item.job.id)).await.unwrap();
        let sent: Vec<_> = detail.thread_messages.iter().filter(|message| message.direction == "outbound").collect();
        assert_eq!((sent.len(), sent[0].email.message_id.as_str()), (answers, id.as_str()), "{sent:#?}");
        assert!(sent[0].email.body_text.as_deref().unwrap().contains("It rains in"));
    }
    daemon.stop().await;
    assert_eq!(servers.messages(OWNER, "INBOX").len(), 2, "something was sent twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_question_by_mail_goes_to_its_job() {
    let Some(servers) = MailServers::start() else { return };
    let model = ModelServer::start(|asked: &Asked| {
        let ask = serde_json::json!({ "recipient": "requester", "question": "Which colour?" });
        let answered = asked.text().contains("Green, please");
        (1, if answered { Reply::complete("It is green now.") } else { Reply::call("request_input", ask) })
    })
    .await;
    let daemon = Daemon::start_with(&config(&servers, &model, ""), &servers.variables()).await;
    servers.deliver("first", from_owner("c1", "Paint it", "", "Paint the fence.").as_bytes());
    let question = letters(&servers, OWNER, "INBOX", 1).await.remove(0);
    assert!(question.contains("Which colour?"), "{question}");
    let id = header(&question, "Message-ID").unwrap();
    let more = format!("In-Reply-To: {id}\r\nReferences: <c1@example.test> {id}\r\n");
    // As it came: with its code, which would approve or cancel if this were no question.
    let subject = header(&question, "Subject").unwrap();
    assert!(subject.ends_with(']'), "{subject}");
    servers.deliver("second", from_owner("c2", &subject, &more, "No, not that: Green, please.").as_bytes());
    let letters = until("the result", 40, async || {
        let found = servers.messages(OWNER, "INBOX");
        found.iter().any(|letter| letter.contains("It is green now.")).then_some(found)
    })
    .await;
    assert_eq!(letters.len(), 2, "{letters:?}");
    let received: ReceivedList = daemon.client().get("/api/mail/received").await.unwrap();
    assert_eq!(received.received[0].decision, Decision::Answered, "{:?}", received.received);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_proved_to_be_the_owner_sets_nothing_off() {
    let Some(servers) = MailServers::start() else { return };
    let model = ModelServer::start(|_: &Asked| (1, Reply::complete("Done."))).await;
    let daemon = Daemon::start_with(&config(&servers, &model, ""), &servers.variables()).await;
    let honest = from_owner("h1", "Task", "", "Do it.");
    // Without a word of the server; with one below its Received line; by a server that nobody named.
    let claim = "Authentication-Results: mail.example.test; dmarc=pass header.from=example.test\r\n";
    let bare = honest.replace(claim, "").replace("<h1@", "<h2@");
    let below = bare.replace("<h2@", "<h3@").replacen("Date: ", &format!("{claim}Date: "), 1);
    let other = honest.replace("Results: mail.example.test", "Results: mail.evil.test").replace("<h1@", "<h4@");
    for (name, message) in [("bare", &bare), ("below", &below), ("other", &other)] {
        servers.deliver(name, message.as_bytes());
    }
    let client = daemon.client();
    let all = until("three decisions", 40, async || {
        let list: ReceivedList = client.get("/api/mail/received").await.unwrap();
        (list.received.len() == 3).then_some(list.received)
    })
    .await;
    for one in &all {
        assert_eq!((one.decision, one.verified), (Decision::Stored, false), "{one:?}");
        assert!(!one.reason.is_empty());
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(client.get::<JobList>("/api/jobs").await.unwrap().jobs.is_empty());
    assert_eq!(servers.messages(USER, "INBOX").len(), 3, "what is not acted on stays in its folder");
    assert!(servers.messages(OWNER, "INBOX").is_empty());

    // A person who knows better has one of them done.
    let id = all[0].id;
    let decide = serde_json::json!({ "decision": "accept" });
    let _: serde_json::Value = client.post(&format!("/api/mail/received/{id}/decide"), &decide).await.unwrap();
    until("the job", 40, async || {
        let jobs: JobList = client.get("/api/jobs").await.unwrap();
        jobs.jobs.first().is_some_and(|item| item.job.status == JobStatus::Completed).then_some(())
    })
    .await;
    daemon.stop().await;
}
