//! Receiving from a real server.

use assistantd::mail::imap;

use super::servers::{MailServers, OWNER, USER};
use crate::support::{daemon::Daemon, until};

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
        let daemon = Daemon::start_with(&format!("[email]\n{keys}"), &MailServers::variables()).await;
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
    let times = assistantd::mail::Times { connect: std::time::Duration::from_secs(2), ..Default::default() };
    for (keys, says, hint) in cases {
        let daemon = Daemon::start_with(&format!("[email]\n{keys}"), &MailServers::variables()).await;
        daemon.cx.process.mail.times.store(std::sync::Arc::new(times));
        let err = imap::contains(&daemon.cx, "Sent", "<a@b>").await.unwrap_err();
        assert!(err.message().contains(says), "{err}");
        assert!(err.hint_text().unwrap_or_default().contains(hint), "{err}: {:?}", err.hint_text());
        daemon.stop().await;
    }
}
