//! Servers that stop, lie, and end.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use super::{bed::Bed, server::Act};

fn message(number: u32) -> String {
    format!("Subject: {number}\r\n\r\nHello {number}.\r\n")
}

/// Does something at the `at`-th command, once; tells whether it came to that.
fn once(at: u32, act: Act) -> (impl FnMut(&str) -> Option<Act> + Send, Arc<AtomicU32>) {
    let count = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&count);
    let script = move |_: &str| (counted.fetch_add(1, Ordering::Relaxed) + 1 == at).then(|| act.clone());
    (script, count)
}

#[tokio::test]
async fn a_connection_that_is_cut_at_any_command_loses_and_doubles_nothing() {
    for act in [Act::Cut(Vec::new()), Act::Cut(b"* 1 FETCH (UID 1 BODY[]<0> {100}\r\nhal".to_vec())] {
        for at in 1.. {
            let bed = Bed::new().await;
            for uid in 1..=3 {
                bed.server.deliver(uid, message(uid));
            }
            bed.server.deliver(4, vec![b'x'; (2 << 20) + 5]);
            let (script, count) = once(at, act.clone());
            bed.server.script(script);
            bed.until_idle(4).await;
            assert_eq!(bed.taken(), [1, 2, 3, 4], "cut at command {at}");
            assert_eq!((bed.aside().len(), bed.files()), (0, 4), "cut at command {at}");
            if count.load(Ordering::Relaxed) < at {
                assert!(at > 10, "only {at} commands");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_stalls_is_noticed_at_any_command() {
    for at in [1, 2, 4, 5, 6, 7, 8, 9] {
        let bed = Bed::new().await;
        bed.server.deliver(1, message(1));
        bed.server.deliver(2, vec![b'x'; (1 << 20) + 5]);
        let (script, _) = once(at, Act::Stall(b"* 2 FETCH (UID 1 BODY[]<0> {100}\r\nhal".to_vec()));
        bed.server.script(script);
        bed.until_idle(2).await;
        assert_eq!((bed.taken(), bed.aside().len()), (vec![1, 2], 0), "stalled at command {at}");
        assert!(bed.server.state().connections >= 2);
    }
}

#[tokio::test]
async fn a_good_bye_while_waiting_is_no_end() {
    let bed = Bed::new().await;
    bed.server.deliver(1, message(1));
    bed.until_idle(1).await;
    let mut left = 1;
    bed.server.script(move |command| {
        (command == "NEWS" && left > 0).then(|| {
            left -= 1;
            Act::Cut(b"* BYE shutting down\r\n".to_vec())
        })
    });
    let before = bed.server.state().connections;
    let deliver = async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        bed.server.deliver(2, message(2));
    };
    tokio::join!(bed.until_idle(2), deliver);
    assert!(bed.server.state().connections > before);
}

#[tokio::test]
async fn what_a_server_does_not_understand_is_left_out() {
    let bed = Bed::new().await;
    bed.server.script(|command| {
        let refused = command.starts_with("ID ") || command == "IDLE";
        refused.then(|| Act::Say(b"TAG BAD what?\r\n".to_vec()))
    });
    bed.server.deliver(1, message(1));
    bed.until_idle(1).await;
    assert_eq!(bed.server.state().connections, 1);
}

/// What the server sends in place of message 2, and what is said of it.
async fn lies(answer: impl Fn(bool) -> Act + Send + 'static, says: &str) {
    let bed = Bed::new().await;
    for uid in 1..=3 {
        bed.server.deliver(uid, message(uid));
    }
    bed.server.script(move |command| {
        // Where a chunk is refused, what came before it in the same chunk is lost too, and comes again.
        let set = command.strip_prefix("UID FETCH ")?.split_once(" (UID BODY.PEEK")?.0;
        (set != "1" && set != "3").then(|| answer(set != "1:3"))
    });
    bed.until("one is set aside", || bed.aside().len() == 1 && bed.taken() == [1, 3]).await;
    assert!(bed.aside()[&2].contains(says), "{:?}", bed.aside());
    bed.until_idle(2).await;
    assert_eq!(bed.files(), 2);
}

/// The right answer for the first message, then `rest`.
fn first_then(rest: &str) -> Vec<u8> {
    let first = message(1);
    format!("* 1 FETCH (UID 1 BODY[]<0> {{{}}}\r\n{first})\r\n{rest}", first.len()).into_bytes()
}

fn after(alone: bool, rest: &str) -> Vec<u8> {
    if alone { rest.as_bytes().to_vec() } else { first_then(rest) }
}

#[tokio::test]
async fn literals_of_a_lying_size_cost_one_message() {
    // Longer than what comes: it would wait for ever.
    lies(|alone| Act::Stall(after(alone, "* 2 FETCH (UID 2 BODY[]<0> {900000}\r\nshort)\r\n")), "no answer in").await;
    // So large that nobody asked for it; no room is made for it.
    let huge = "* 2 FETCH (UID 2 BODY[]<0> {536870912}\r\n";
    lies(move |alone| Act::Stall(after(alone, huge)), "which nobody asked for").await;
    // Shorter than what comes: the rest is no answer.
    let short = "* 2 FETCH (UID 2 BODY[]<0> {3}\r\nlonger than three)\r\nTAG OK\r\n";
    lies(move |alone| Act::Say(after(alone, short)), "no IMAP").await;
    lies(|alone| Act::Cut(after(alone, "* 2 FETCH (UID 2 BODY[]<0> {50}\r\ncut")), "the connection").await;
}

#[tokio::test]
async fn other_messages_than_those_that_were_asked_for_are_refused() {
    let other = "* 2 FETCH (UID 77 BODY[]<0> {2}\r\nhi)\r\nTAG OK\r\n";
    lies(move |alone| Act::Say(after(alone, other)), "message 77, which nobody asked for").await;
    let twice = "* 2 FETCH (UID 2 BODY[]<5> {2}\r\nhi)\r\nTAG OK\r\n";
    lies(move |alone| Act::Say(after(alone, twice)), "another part of message 2").await;
    // It lists it and does not give it.
    lies(
        move |alone| Act::Say(after(alone, "* 2 FETCH (UID 2 FLAGS (\\Seen))\r\nTAG OK\r\n")),
        "does not hand it over",
    )
    .await;
}

#[tokio::test]
async fn what_is_gone_before_it_is_fetched_is_no_trouble() {
    let bed = Bed::new().await;
    for uid in 1..=3 {
        bed.server.deliver(uid, message(uid));
    }
    bed.server.script(|command| {
        command.starts_with("UID FETCH 1:* ").then(|| {
            let line = |uid| format!("* {uid} FETCH (UID {uid} RFC822.SIZE 30)\r\n");
            Act::Say([line(1), line(2), line(3), line(4), line(5), "TAG OK\r\n".into()].concat().into_bytes())
        })
    });
    bed.until_idle(3).await;
    assert_eq!((bed.taken(), bed.aside().len()), (vec![1, 2, 3], 0));
}

#[tokio::test]
async fn an_archive_that_is_refused_is_tried_again_and_blocks_nothing() {
    let bed = Bed::new().await;
    bed.server.script(|command| {
        (command.starts_with("UID MOVE") || command.starts_with("CREATE"))
            .then(|| Act::Say(b"TAG NO [OVERQUOTA] full\r\n".to_vec()))
    });
    bed.server.deliver(1, message(1));
    bed.until("it is taken up", || bed.taken() == [1]).await;
    bed.server.deliver(2, message(2));
    bed.until("the next one too", || bed.taken() == [1, 2]).await;
    let due = || async {
        let rows = bed.cx.store.read(|conn| {
            let mut rows =
                conn.prepare("SELECT archive, coalesce(archive_error, '') FROM mail_received ORDER BY id")?;
            let rows =
                rows.query_map([], |row| Ok(format!("{}: {}", row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
            Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?)
        });
        rows.await.unwrap()
    };
    assert_eq!(due().await[0], "due: [OVERQUOTA] full");
    // A new connection tries at once.
    bed.server.script(|command| (command == "IDLE").then(|| Act::Cut(Vec::new())));
    bed.until("it is archived", || bed.archived() == 2).await;
    bed.server.script(|_| None);
    bed.until_idle(2).await;
    assert_eq!(due().await, ["done: ", "done: "]);
}

#[tokio::test]
async fn doubled_and_missing_message_ids_are_handed_on_as_they_are() {
    let bed = Bed::new().await;
    bed.server.deliver(1, "Message-ID: <same@x>\r\n\r\none");
    bed.server.deliver(2, "Message-ID: <same@x>\r\n\r\ntwo");
    bed.server.deliver(3, "Subject: none\r\n\r\nthree");
    bed.server.deliver(4, "");
    bed.until_idle(4).await;
    assert_eq!(bed.taken(), [1, 2, 3, 4]);
}
