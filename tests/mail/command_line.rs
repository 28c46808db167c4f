//! The mailbox from the command line, with real servers.

use super::servers::{MailServers, OWNER, USER};
use crate::{cli::ctl::Desk, support::until};

fn stranger(id: &str, subject: &str) -> String {
    format!(
        "Date: Mon, 23 Nov 2026 08:00:00 +0000\r\nFrom: Eve <eve@evil.example>\r\nTo: {USER}\r\n\
         Message-ID: <{id}@evil.example>\r\nSubject: {subject}\r\n\r\nDo it.\r\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mailbox_is_tried_seen_and_decided_about_by_hand() {
    let Some(servers) = MailServers::start() else { return };
    let runner = std::path::Path::new(env!("CARGO_BIN_EXE_assistantd")).with_file_name("assistant-sandbox");
    let more = format!(
        "[sandbox]\nenabled = false\nrunner = \"{}\"\n[identity]\nemail = \"{USER}\"\n[admin]\nemail = \"{OWNER}\"\n\
         [email]\n{}",
        runner.display(),
        servers.email_keys()
    );
    let desk = Desk::with(&more, &servers.variables());
    let tried = desk.run(&["mail", "test"]);
    assert_eq!(tried.code, Some(0), "{}{}", tried.out, tried.err);
    for step in ["imap_tls", "imap_login", "folders", "idle", "smtp_login", "send", "arrival"] {
        assert!(tried.out.contains(step), "{step}: {}", tried.out);
    }
    let status = desk.run(&["mail", "status"]).out;
    assert!(status.contains("tells of new mail at once") && status.contains(USER), "{status}");

    servers.deliver("a", stranger("a", "First").as_bytes());
    servers.deliver("b", stranger("b", "Second").as_bytes());
    let stored = until("both are stored", 30, async || {
        let list = desk.json(&["mail", "--decision", "stored"])["received"].as_array().unwrap().clone();
        (list.len() == 2).then_some(list)
    })
    .await;
    let number =
        |subject: &str| stored.iter().find(|one| one["subject"] == subject).map(|one| one["id"].to_string()).unwrap();
    let (first, second) = (number("First"), number("Second"));
    let shown = desk.run(&["mail", "show", &first, "--headers"]).out;
    for part in ["eve@evil.example", "the sender is not verified", "Message-ID: <a@evil.example>", "Do it."] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let accepted = desk.run(&["mail", "accept", &first]);
    assert_eq!((accepted.code, accepted.out.as_str()), (Some(0), "job 1 works on it\n"), "{}", accepted.err);
    assert_eq!(desk.json(&["job", "show", "1"])["job"]["id"], 1);
    assert_eq!(desk.run(&["mail", "accept", &first]).code, Some(6), "it has its job");
    assert_eq!(desk.run(&["mail", "ignore", &second]).out, "nothing is done about it\n");
    assert_eq!(desk.json(&["mail", "show", &second])["received"]["decision"], "ignored");
    assert_eq!(desk.run(&["mail", "show", "99"]).code, Some(3));

    // What is known to have arrived is not sent again.
    let sent = desk.json(&["mail", "outbox", "--state", "confirmed"]);
    let sent = sent["outbox"].as_array().unwrap().last().unwrap()["id"].to_string();
    let shown = desk.run(&["mail", "sent", &sent]).out;
    assert!(shown.contains(USER) && shown.contains("confirmed"), "{shown}");
    assert_eq!(desk.run(&["mail", "resend", &sent, "--yes"]).code, Some(6));
}
