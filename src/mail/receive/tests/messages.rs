//! Messages on their way in.

use std::os::unix::fs::PermissionsExt as _;

use assistant_api::mail::Watching;

use super::{
    bed::Bed,
    server::{ALL, Act},
};
use crate::{config::value::Bytes, error::Error, mail};

fn message(number: u32) -> String {
    format!("Message-ID: <{number}@example.org>\r\nSubject: {number}\r\n\r\nHello {number}.\r\n")
}

#[tokio::test]
async fn all_of_them_are_taken_up_in_their_order_and_archived() {
    let bed = Bed::new().await;
    let long = "A line of a long letter {1048576}\r\n".repeat(80_000);
    for uid in [3, 4, 7, 8, 900] {
        bed.server.deliver(uid, message(uid));
    }
    bed.server.deliver(9, long.clone());
    bed.server.deliver(10, vec![b'x'; 1 << 20]);
    bed.server.deliver(11, vec![b'y'; 2 << 20]);
    bed.until_idle(8).await;
    assert_eq!(bed.taken(), [3, 4, 7, 8, 9, 10, 11, 900]);
    {
        let taken = bed.decided.taken.lock().unwrap();
        assert_eq!(taken[1].1, message(4).into_bytes());
        assert_eq!(taken[4].1, long.into_bytes());
        assert_eq!((taken[5].1.len(), taken[6].1.len()), (1 << 20, 2 << 20));
    }
    let folder = mail::folder(&bed.cx.state_dir);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert!(std::fs::read_dir(&folder).unwrap().all(|file| mode(&file.unwrap().path()) == 0o600));
    assert_eq!(bed.files(), 8);

    // While it waits, more comes.
    bed.server.deliver(901, message(901));
    bed.until_idle(9).await;
    assert_eq!(bed.cx.process.mail.inbox().watching, Watching::Idle);
    assert!(bed.server.state().commands.iter().all(|command| command != "EXPUNGE"));
}

#[tokio::test]
async fn a_server_that_can_little_is_enough() {
    let bed = Bed::with(|config| {
        config.email.imap_poll_interval_seconds = crate::config::value::Seconds::new(1);
    })
    .await;
    bed.server.state().capabilities = "IMAP4rev1".into();
    bed.server.state().folders.remove("Archive");
    bed.server.deliver(1, message(1));
    bed.until_idle(1).await;
    assert_eq!(bed.cx.process.mail.inbox().watching, Watching::Polling);
    bed.server.deliver(2, message(2));
    bed.until_idle(2).await;
    let commands = bed.server.state().commands.join("\n");
    assert!(commands.contains("LOGIN \"me\"") && commands.contains("CREATE \"Archive\""), "{commands}");
    assert!(commands.contains("UID COPY 1 \"Archive\"\nUID STORE 1 +FLAGS.SILENT (\\Deleted)\n"), "{commands}");
    assert!(!commands.contains("EXPUNGE") && !commands.contains("MOVE") && !commands.contains("IDLE"), "{commands}");
    assert_eq!(bed.server.state().messages.len(), 2, "they stay, marked");
}

#[tokio::test]
async fn without_move_exactly_what_was_copied_is_removed() {
    let bed = Bed::new().await;
    bed.server.state().capabilities = ALL.replace(" MOVE", "");
    for uid in 1..=3 {
        bed.server.deliver(uid, message(uid));
    }
    bed.until_idle(3).await;
    bed.until("they are gone", || bed.server.state().messages.is_empty()).await;
    let commands = bed.server.state().commands.join("\n");
    assert!(commands.contains("UID EXPUNGE 1:3") && !commands.contains("\nEXPUNGE"), "{commands}");
}

#[tokio::test]
async fn what_is_too_large_is_set_aside_and_never_fetched() {
    let bed = Bed::with(|config| config.mail.max_message = Bytes(64 << 10)).await;
    bed.server.deliver(1, vec![b'x'; (64 << 10) + 1]);
    bed.server.deliver(2, message(2));
    bed.until_idle(1).await;
    assert_eq!(bed.taken(), [2]);
    assert!(bed.aside()[&1].contains("mail.max_message"), "{:?}", bed.aside());
    let commands = bed.server.state().commands.join("\n");
    assert!(!commands.contains("FETCH 1 ") && commands.contains("FETCH 2 (UID BODY.PEEK[]<0.1048576>)"), "{commands}");
}

#[tokio::test]
async fn a_size_that_is_a_lie_is_found_out() {
    let bed = Bed::with(|config| config.mail.max_message = Bytes(3 << 20)).await;
    bed.server.deliver(1, vec![b'x'; 4 << 20]);
    bed.server.deliver(2, vec![b'x'; 1 << 20]);
    bed.server.deliver(3, message(3));
    // Too large and said to be small; small and said to be large; all but empty.
    bed.server.script(|command| {
        command.contains("RFC822.SIZE").then(|| {
            let line = |uid, size| format!("* {uid} FETCH (UID {uid} RFC822.SIZE {size})\r\n");
            let all = [line(1, 500), line(2, 2_900_000), line(3, 80)].concat();
            Act::Say(format!("{all}TAG OK done\r\n").into_bytes())
        })
    });
    bed.until("two are set aside", || bed.aside().len() == 2 && bed.taken() == [3]).await;
    assert!(bed.aside()[&1].contains("though the server said 500"), "{:?}", bed.aside());
    assert!(bed.aside()[&2].contains("and it said 2900000"), "{:?}", bed.aside());
    assert_eq!(bed.files(), 1, "what was fetched in vain is gone");
}

#[tokio::test]
async fn one_that_cannot_be_decided_about_does_not_block_the_next() {
    let bed = Bed::new().await;
    for uid in 1..=3 {
        bed.server.deliver(uid, message(uid));
    }
    let attempts = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counted = std::sync::Arc::clone(&attempts);
    *bed.decided.fails.lock().unwrap() = Some(Box::new(move |content| {
        content.contains("Hello 2").then(|| {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Error::invalid("it is poison")
        })
    }));
    bed.until_idle(2).await;
    assert_eq!(bed.taken(), [1, 3]);
    assert_eq!(attempts.load(std::sync::atomic::Ordering::Relaxed), 3);
    assert!(bed.aside()[&2].contains("it is poison"), "{:?}", bed.aside());
    assert_eq!(bed.files(), 2);
}

#[tokio::test]
async fn a_fault_of_ours_stops_everything_and_loses_nothing() {
    let bed = Bed::new().await;
    for uid in 1..=4 {
        bed.server.deliver(uid, message(uid));
    }
    let mut left = 7;
    *bed.decided.fails.lock().unwrap() = Some(Box::new(move |content| {
        (content.contains("Hello 2") && left > 0).then(|| {
            left -= 1;
            Error::storage_full("the disk is full")
        })
    }));
    bed.until("it fails", || bed.error().contains("the disk is full")).await;
    assert_eq!(bed.taken(), [1]);
    bed.until_idle(4).await;
    assert_eq!(bed.taken(), [1, 2, 3, 4]);
    assert_eq!((bed.aside().len(), bed.files(), bed.error().as_str()), (0, 4, ""));
}

#[tokio::test]
async fn what_a_former_process_left_is_removed_at_the_start() {
    let bed = Bed::new().await;
    bed.server.deliver(1, message(1));
    bed.until_idle(1).await;
    let folder = mail::folder(&bed.cx.state_dir);
    for name in ["in-0123.eml", "part-1", "out-5.eml"] {
        std::fs::write(folder.join(name), "x").unwrap();
    }
    bed.cx.process.mail.swept.store(false, std::sync::atomic::Ordering::Relaxed);
    bed.until("it is gone", || !folder.join("in-0123.eml").exists()).await;
    assert_eq!(bed.files(), 3, "those of others and of messages stay");
}

#[tokio::test]
async fn other_numbers_mean_from_the_beginning() {
    let bed = Bed::new().await;
    bed.server.deliver(5, message(5));
    bed.until_idle(1).await;
    {
        let mut state = bed.server.state();
        (state.uid_validity, state.messages) = (2, [(1, message(5).into_bytes()), (2, message(6).into_bytes())].into());
        state.script = Box::new(|command| (command == "IDLE").then(|| Act::Cut(Vec::new())));
    }
    bed.until("it is cut off", || bed.error().contains("ended the connection")).await;
    bed.server.script(|_| None);
    bed.until_idle(3).await;
    assert_eq!(bed.taken(), [5, 1, 2]);
}

#[tokio::test]
async fn another_folder_of_the_configuration_is_read_at_once() {
    let bed = Bed::new().await;
    bed.until("it waits", || bed.cx.process.mail.inbox().watching == Watching::Idle).await;
    let mut config = crate::config::Config::clone(&bed.cx.config.load());
    config.email.imap_folder = "Nowhere".into();
    bed.cx.config.store(std::sync::Arc::new(config.clone()));
    bed.cx.wake.mailbox.notify_one();
    bed.until("it is not there", || bed.error().contains("\"Nowhere\"")).await;
    assert!(super::super::warning(&bed.cx).unwrap().text.contains("email.imap_folder"));
    config.email.imap_host = None;
    bed.cx.config.store(std::sync::Arc::new(config));
    assert_eq!(super::super::receive(&bed.cx, &&bed.decided).await.unwrap(), crate::loops::Next::Woken);
    assert_eq!(bed.cx.process.mail.inbox().watching, Watching::Off);
    assert!(super::super::warning(&bed.cx).is_none());
}
