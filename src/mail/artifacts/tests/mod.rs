mod kept;

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixListener,
    time::Duration,
};

use super::{
    clamd::{self, Verdict, verdict},
    register::clean,
    store::stem,
    youtube::links,
};
use crate::{config::value::Seconds, mail::config::Clamav};

#[test]
fn only_a_clear_word_of_the_scanner_counts() {
    assert_eq!(verdict("stream: OK"), Verdict::Clean);
    assert_eq!(verdict("stream: Test.Eicar.UNOFFICIAL FOUND"), Verdict::Infected("Test.Eicar.UNOFFICIAL".into()));
    for odd in
        ["INSTREAM size limit exceeded. ERROR", "", "stream: OK?", "OK FOUND ERROR", "stream: ok", "UNKNOWN COMMAND"]
    {
        assert!(matches!(verdict(odd), Verdict::Unknown(_)), "{odd}");
    }
}

/// A scanner that takes so many bytes, says this, and closes.
fn scanner(dir: &tempfile::TempDir, length: u64, says: &'static [u8]) -> Clamav {
    let path = dir.path().join("clamd");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut taken = Vec::new();
        (&mut socket).take(length).read_to_end(&mut taken).unwrap();
        assert!(taken.starts_with(b"zINSTREAM\0"));
        socket.write_all(says).unwrap();
        if says.is_empty() {
            std::thread::sleep(Duration::from_secs(3));
        }
    });
    let (host, timeout_seconds) = (path.to_str().unwrap().to_owned(), Seconds::new(1));
    Clamav { host, timeout_seconds, ..Clamav::default() }
}

#[tokio::test]
async fn a_scanner_that_says_nothing_has_not_scanned() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&vec![1; 3 << 20]).unwrap();
    let all = 10 + (3 << 20) + 4 * 4;
    for (takes, says, wanted) in [
        (all, b"stream: OK\0".as_slice(), Verdict::Clean),
        (all, b"stream: X FOUND\0", Verdict::Infected("X".into())),
        // It hangs up in the middle, after its answer.
        (
            100_000,
            b"INSTREAM size limit exceeded. ERROR\0",
            Verdict::Unknown("INSTREAM size limit exceeded. ERROR".into()),
        ),
        (all, b"", Verdict::Unknown("within 1 s".into())),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let found = clamd::scan(&scanner(&dir, takes, says), &file).await;
        match (&found, &wanted) {
            (Verdict::Unknown(found), Verdict::Unknown(part)) => {
                assert!(found.contains(part.as_str()) || found.contains("cannot be asked"), "{found}");
            }
            _ => assert_eq!(found, wanted),
        }
    }
    let nobody = Clamav { host: "/nowhere/clamd".into(), ..Clamav::default() };
    assert!(matches!(clamd::scan(&nobody, &file).await, Verdict::Unknown(_)));
}

#[test]
fn a_name_is_nothing_but_a_name() {
    for (given, wanted) in [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\x\\a.doc", "a.doc"),
        ("exe\u{202e}fdp.exe", "exefdp.exe"),
        ("a\u{0}b\n\tc.txt", "abc.txt"),
        ("...", "part-7"),
        ("/", "part-7"),
        (" .hidden. ", "hidden"),
        ("a:b|c?.md", "a_b_c_.md"),
        ("\u{200b}\u{feff}", "part-7"),
    ] {
        assert_eq!(clean(Some(given), 7), wanted, "{given:?}");
    }
    assert_eq!(clean(None, 3), "part-3");
    assert_eq!(clean(Some(&"x".repeat(500)), 0).len(), 120);
    assert_eq!((stem("a.b.pdf"), stem("plain"), stem(".rc")), ("a.b", "plain", ".rc"));
}

#[test]
fn each_video_is_found_once() {
    let text = "https://youtu.be/abcdefghijk?si=x and HTTPS://www.YouTube.com/watch?feature=share&v=ABC_def-123, \
        http://m.youtube.com/shorts/shorty12 https://music.youtube.com/watch?v=abcdefghijk \
        <a href=\"https://www.youtube.com/embed/embedded1?rel=0\">x</a> https://www.youtube.com/watch?a=1&amp;v=amp12345";
    let ids = ["abcdefghijk", "ABC_def-123", "shorty12", "embedded1", "amp12345"];
    let wanted: Vec<_> = ids.iter().map(|id| format!("https://www.youtube.com/watch?v={id}")).collect();
    let found = links(&[text, text]);
    assert_eq!(found.len(), wanted.len(), "{found:?}");
    assert!(wanted.iter().all(|link| found.contains(link)), "{found:?}");
    for none in [
        "youtu.be/abcdefghijk",
        "https://evil.example/youtu.be/abcdefghijk",
        "https://youtu.be.evil.example/abcdefghijk",
        "https://notyoutube.com/watch?v=abcdefghijk",
        "https://youtube.com.evil.example/watch?v=abcdefghijk",
        "https://youtu.be/short",
        "https://www.youtube.com/channel/abcdefghijk",
        "https://www.youtube.com/watch?x=1",
        "ftp://youtu.be/abcdefghijk",
        "youtu",
    ] {
        assert_eq!(links(&[none]), Vec::<String>::new(), "{none}");
    }
    assert_eq!(links(&[&format!("https://youtu.be/{}", "x".repeat(65))]), Vec::<String>::new());
}
