//! Attachments and documents.

use std::process::{Command, Output};

use super::file;

fn run(verb: &[&str], input: &[u8]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_assistant-mail")).args(verb).env_clear().stdin(file(input)).output().unwrap()
}

#[track_caller]
fn gives(verb: &[&str], input: &[u8], wanted: &str) {
    let output = run(verb, input);
    assert_eq!(String::from_utf8_lossy(&output.stdout), wanted, "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success());
}

#[track_caller]
fn fails(verb: &[&str], input: &[u8], why: &str) {
    let output = run(verb, input);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains(why), "{:?}: {said}", output.status);
    assert!(!said.contains("panicked"), "{said}");
}

const MESSAGE: &[u8] = b"From: a@example.org\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
    --b\r\nContent-Type: text/plain\r\n\r\nBody\r\n\
    --b\r\nContent-Type: text/csv; name=t.csv\r\nContent-Disposition: attachment\r\nContent-Transfer-Encoding: base64\r\n\r\nYSxiCg==\r\n\
    --b\r\nContent-Type: message/rfc822\r\n\r\nFrom: c@example.org\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n\
    --i\r\nContent-Type: application/octet-stream; name=x.bin\r\nContent-Disposition: attachment\r\n\r\nraw\r\n--i--\r\n\
    --b--\r\n";

#[test]
fn an_attachment_is_extracted() {
    gives(&["extract", "0"], MESSAGE, "a,b\n");
    let inner = run(&["extract", "1"], MESSAGE);
    assert!(inner.stdout.starts_with(b"From: c@example.org\r\n"), "{}", String::from_utf8_lossy(&inner.stdout));
    gives(&["extract", "2"], MESSAGE, "raw");
    fails(&["extract", "3"], MESSAGE, "it has no attachment 3");
    fails(&["extract", "0", "--output", "3"], MESSAGE, "larger than 3 bytes");
    fails(&["extract", "x"], MESSAGE, "`x`");
}

#[test]
fn a_document_is_converted() {
    gives(&["convert", "csv"], b"a,b\n1,2\n", "| a | b |\n| --- | --- |\n| 1 | 2 |\n");
    gives(
        &["convert", "html"],
        b"<img src=http://127.0.0.1:9/x><h1>T</h1><iframe src=file:///etc/passwd></iframe>x",
        "# T\n\nx\n\n",
    );
    fails(&["convert", "json"], b"nope", "it is not JSON");
    fails(&["convert", "csv", "--output", "10"], b"a,b\n1,2\n", "more than 10 bytes");
    fails(&["convert", "exe"], b"MZ", "no kind of document");
}

#[test]
fn a_document_that_wants_too_much_memory_or_time_is_ended() {
    let deep = "[".repeat(8 << 20);
    let output = run(&["convert", "pandoc-tree", "--memory", "67108864"], deep.as_bytes());
    assert!(!output.status.success());
    let page = "<table><tr>".repeat(1 << 20);
    let output = run(&["convert", "html", "--memory", "40000000", "--seconds", "20"], page.as_bytes());
    assert!(output.status.code().is_none_or(|code| code < 2), "{:?}", output.status);
}
