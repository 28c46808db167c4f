//! Messages broken at random: the reader says something of each, and ends. Every round is decided by its number, so that one
//! that fails can be repeated; `ASSISTANT_FUZZ_SECONDS` says for how long, 3 at least.

use std::time::{Duration, Instant};

use assistant_mail::{
    message,
    protocol::{Lookup, Records},
    verify::Verifier,
};

/// What the rounds begin with.
const SEEDS: &[&str] = &[
    "From: Ann <ann@example.org>\r\nTo: b@example.net\r\nSubject: =?utf-8?q?H=C3=A9?=\r\nMessage-ID: <1@x>\r\n\
     Date: Mon, 01 Jan 2024 10:00:00 +0000\r\n\r\nHello\r\n",
    "From: a@b.c\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\n\
     Content-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c\r\nContent-Type: text/html; charset=koi8-r\r\n\r\n\
     <style>.x{display:none}</style><p class=x style='color:#fff;font-size:0'>y</p><a href=http://z>w</a>\r\n--c--\r\n--b\r\n\
     Content-Type: application/pdf; name*=utf-8''a%2Fb\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERi0=\r\n--b\r\n\
     Content-Type: message/rfc822\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nFrom: x=40y\r\n\r\nz\r\n--b--\r\n",
    "From: ann@example.org\r\nDKIM-Signature: v=1; a=ed25519-sha256; s=s; d=example.org; c=relaxed/simple; l=3; x=99999999999;\r\n \
     h=From:Subject; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\nARC-Seal: i=1; a=rsa-sha256; cv=none; d=e.org; \
     s=s; b=AAAA\r\nARC-Message-Signature: i=1; a=rsa-sha256; c=relaxed/relaxed; d=e.org; s=s; h=from; bh=AAAA; b=AAAA\r\n\
     ARC-Authentication-Results: i=1; e.org; dmarc=pass header.from=example.org\r\nAuthentication-Results: mx (a(b)c) 1; \
     spf=pass reason=\"x;y\" smtp.mailfrom=a@b\r\nReceived: from a by mx (x) with ESMTP; Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\nabc\r\n",
    "From: <>\r\nReturn-Path: <>\r\nAuto-Submitted: auto-replied\r\nContent-Type: multipart/report; \
     report-type=delivery-status; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; a\r\n\r\n\
     Final-Recipient: rfc822; a@b\r\nAction: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp;\r\n 550 x\r\n\r\n--b\r\n\
     Content-Type: text/rfc822-headers\r\n\r\nMessage-ID: <s@x>\r\n--b--\r\n",
];

/// Pieces that formats hang on.
const PIECES: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"--b",
    b"--",
    b";",
    b":",
    b"=?utf-8?b?",
    b"?=",
    b"<",
    b">",
    b"\"",
    b"(",
    b")",
    b"\\",
    b"Content-Type: message/rfc822\r\n\r\n",
    b"Content-Transfer-Encoding: base64\r\n",
    b"multipart/mixed; boundary=",
    b"\xff\xfe",
    b"\xf0\x9f",
    b"<div>",
    b"</",
    b"<!--",
    b"style=",
    b"&#x",
    b"d=",
    b"h=",
    b"l=",
    b"b=",
    b"i=50",
    b"\xe2\x80\xae",
    b"charset=utf-7",
];

/// A sequence of numbers that looks random (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut next = self.0;
        next = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        next = (next ^ (next >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((next ^ (next >> 31)) % end.max(1) as u64).unwrap()
    }
}

fn broken(round: u64) -> Vec<u8> {
    let mut numbers = Numbers(round);
    let mut raw = SEEDS[numbers.below(SEEDS.len())].as_bytes().to_vec();
    for _ in 0..=numbers.below(12) {
        let at = numbers.below(raw.len() + 1);
        let end = (at + numbers.below(60)).min(raw.len());
        match numbers.below(7) {
            0 if at < raw.len() => raw[at] ^= 1 << numbers.below(8),
            1 => drop(raw.drain(at..end)),
            2 => drop(raw.splice(at..at, PIECES[numbers.below(PIECES.len())].iter().copied())),
            3 => {
                let copy = raw[at..end].to_vec();
                let times = numbers.below(40);
                let all = copy.repeat(times);
                raw.splice(at..at, all);
            }
            4 => {
                let other = SEEDS[numbers.below(SEEDS.len())].as_bytes();
                let from = numbers.below(other.len());
                raw.splice(at..at, other[from..].iter().copied());
            }
            5 => raw.truncate(at),
            _ => {
                let piece = PIECES[numbers.below(PIECES.len())].repeat(1 + numbers.below(200));
                raw.splice(at..end, piece);
            }
        }
        raw.truncate(200_000);
    }
    raw
}

#[test]
fn a_broken_message_is_read_or_refused() {
    let seconds = std::env::var("ASSISTANT_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let began = Instant::now();
    let first = if seconds > 3 { u64::from(std::process::id()) << 32 } else { 0 };
    let verifier = Verifier::new().unwrap();
    let mut round = first;
    while began.elapsed() < Duration::from_secs(seconds) {
        let raw = broken(round);
        let at = Instant::now();
        if let Ok(found) = message::read(&raw) {
            let mut ask =
                |names: Vec<String>| Ok(Records(names.into_iter().map(|name| (name, Lookup::Missing)).collect()));
            let proof = verifier.verify(&raw, &found, &mut ask).unwrap();
            assert!(proof.dkim.iter().all(|one| one.result != "pass"), "round {round}");
            assert!(found.text.len() <= 2 << 20 && found.headers.len() <= 300, "round {round}");
            assert!(found.from.iter().all(|from| !from.address.contains(['\r', '\n', '\0'])), "round {round}");
        }
        assert!(at.elapsed() < Duration::from_secs(5), "round {round} took {:?}", at.elapsed());
        round += 1;
    }
    println!("{} broken messages in {:?}", round - first, began.elapsed());
}
