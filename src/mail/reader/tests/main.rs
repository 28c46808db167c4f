//! The program, started as the daemon starts it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first thing that is not as it should be")]

mod confined;
mod documents;
mod mutated;
mod signed;

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Seek as _, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Command, Stdio},
};

use assistant_mail::protocol::{Lookup, Message, Records, Said};

/// A file with this content, read from its beginning.
fn file(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file.rewind().unwrap();
    file
}

fn read(content: &[u8], arguments: &[&str]) -> Option<Said> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_assistant-mail"))
        .arg("read")
        .args(arguments)
        .env_clear()
        .stdin(file(content))
        .stdout(Stdio::from(OwnedFd::from(theirs)))
        .spawn()
        .unwrap();
    let mut answers = ours.try_clone().unwrap();
    let mut last = None;
    for line in BufReader::new(ours).lines().map_while(Result::ok) {
        let said = serde_json::from_str(&line).unwrap();
        if let Said::Names(names) = &said {
            let records = Records(names.iter().map(|name| (name.clone(), Lookup::Missing)).collect());
            writeln!(answers, "{}", serde_json::to_string(&records).unwrap()).unwrap();
        } else {
            last = Some(said);
        }
    }
    child.wait().unwrap();
    last
}

fn message(content: &[u8]) -> Message {
    match read(content, &[]) {
        Some(Said::Message(message)) => *message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_is_read() {
    let found = message(b"From: a@example.org\r\nSubject: x\r\n\r\nHello\r\n");
    assert_eq!((found.from[0].address.as_str(), found.text.as_str()), ("a@example.org", "Hello"));
}

#[test]
fn what_is_none_is_refused() {
    assert!(matches!(read(b"", &[]), None | Some(Said::Failed(_))));
}

#[test]
fn a_large_message_fits_and_a_larger_one_than_its_memory_does_not() {
    let mut large =
        b"From: a@example.org\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n".to_vec();
    for _ in 0..(40 << 20) / 78 {
        large.extend_from_slice(&[b'A'; 76]);
        large.extend_from_slice(b"\r\n");
    }
    let found = message(&large);
    assert!(found.parts[0].size_bytes > 28 << 20);
    assert!(read(&large, &["--memory", "33554432"]).is_none());
}
