//! The corpus, of messages whose headers are odd or lie.

use super::{
    shapes::{ANN, Corpus},
    world::Mail,
};

type Change = fn(&str) -> String;

impl Corpus<'_> {
    pub(super) fn senders(&mut self) {
        for from in [
            "Ann <ann@example.org>",
            "ann@example.org",
            "ann@example.org <eve@evil.example>",
            "\"ann@example.org\" <eve@evil.example>",
            "=?utf-8?q?Ann_=3Cann=40example=2Eorg=3E?= <eve@evil.example>",
            "Ann <ann@example.org>, Eve <eve@evil.example>",
            "Eve <eve@evil.example>, Ann <ann@example.org>",
            "<ann@example.org> <eve@evil.example>",
            "<ann@example.org>\0<eve@evil.example>",
            "ann@example.org(eve@evil.example)",
            "(ann@example.org) eve@evil.example",
            "\"<ann@example.org>\" eve@evil.example",
            "friends: ann@example.org;",
            "friends: ann@example.org, eve@evil.example;",
            "friends:;",
            "\u{430}nn@example.org",
            "ann@ex\u{430}mple.org",
            "ann@xn--exmple-4nf.org",
            "ann@example.org.evil.example",
            "ann@evil-example.org",
            "ann@example.org\u{200b}",
            "\u{202e}gro.elpmaxe@nna",
            "ann@\u{202e}gro.elpmaxe",
            "ann@[127.0.0.1]",
            "ann",
            "@example.org",
            "ann@",
            "<>",
            "",
            "ann@example.org@evil.example",
            "ann%example.org@evil.example",
            "<@evil.example:ann@example.org>",
            "ann@example.org\r\n eve@evil.example",
            "\"ann\"@example.org",
            "ann @ example.org",
            "ANN@EXAMPLE.ORG",
            "ann@example.org\t",
            "=?utf-8?b?YW5uQGV4YW1wbGUub3Jn?=",
            "=?utf-8?q?ann?=@example.org",
            "ann+tag@example.org",
            "owner@example.org",
            "=?x?x?x?=",
            "\\",
            "\"",
            "((((((((",
        ] {
            let mut mail = Mail::from(ANN);
            mail.from = from.into();
            self.raw(&format!("unsigned, from {from:?}"), "stored", mail.raw());
            if !matches!(
                from,
                "Ann <ann@example.org>"
                    | "ann@example.org"
                    | "ANN@EXAMPLE.ORG"
                    | "ann@example.org\t"
                    | "owner@example.org"
            ) {
                let mut mail = Mail::from(ANN);
                mail.from = from.into();
                let raw = self.world.signed_by(&mail, "evil.example");
                self.raw(&format!("signed by another domain, from {from:?}"), "stored", raw);
            }
        }
        for (name, lines) in [
            ("a second From above", "From: ann@example.org"),
            ("a Sender", "Sender: ann@example.org"),
            ("a Reply-To", "Reply-To: ann@example.org"),
            ("a Resent-From", "Resent-From: ann@example.org"),
            ("an X-Original-From", "X-Original-From: ann@example.org"),
            ("a Return-Path", "Return-Path: <ann@example.org>"),
        ] {
            let mail = Mail::from("eve@evil.example").with(lines);
            self.signed(&format!("somebody else with {name}"), "stored", &mail);
        }
        let changes: [(&str, Change); 10] = [
            ("From added above", |raw| format!("From: eve@evil.example\r\n{raw}")),
            ("From added below", |raw| raw.replacen("\r\nTo:", "\r\nFrom: eve@evil.example\r\nTo:", 1)),
            ("Subject added", |raw| format!("Subject: other\r\n{raw}")),
            ("To added", |raw| format!("To: assistant@example.net\r\n{raw}")),
            ("Content-Type added twice", |raw| format!("Content-Type: text/html\r\nContent-Type: text/plain\r\n{raw}")),
            ("the text changed", |raw| raw.replacen("Do task", "Do not task", 1)),
            ("the signature cut", |raw| raw.replacen(" b=", " b=A", 1)),
            ("the selector with dots", |raw| raw.replacen("s=s;", "s=../s;", 1)),
            ("the domain of another", |raw| raw.replacen("d=example.org", "d=evil.example", 1)),
            ("the signature of nobody", |raw| raw.replacen("d=example.org", "d=org", 1)),
        ];
        for (name, change) in changes {
            let raw = change(&self.world.signed(&Mail::from(ANN)));
            self.raw(&format!("a signed message with {name}"), "stored", raw);
        }
    }

    #[expect(clippy::too_many_lines, reason = "a list")]
    pub(super) fn claims(&mut self) {
        let own = "Received: from a by mx.example.net with ESMTPS id 1; Mon, 1 Jan 2024 00:00:00 +0000";
        for (name, lines, expected) in [
            (
                "DMARC by a trusted server",
                format!("Authentication-Results: mx.example.net; dmarc=pass header.from=example.org\r\n{own}"),
                "job",
            ),
            (
                "SPF by a trusted server",
                format!("Authentication-Results: mx.example.net; spf=pass smtp.mailfrom=ann@example.org\r\n{own}"),
                "job",
            ),
            (
                "SPF in capitals",
                format!("Authentication-Results: MX.example.NET; SPF=Pass smtp.MailFrom=ann@EXAMPLE.org\r\n{own}"),
                "job",
            ),
            (
                "SPF of another domain",
                format!("Authentication-Results: mx.example.net; spf=pass smtp.mailfrom=evil.example\r\n{own}"),
                "stored",
            ),
            (
                "SPF of a domain below",
                format!("Authentication-Results: mx.example.net; spf=pass smtp.mailfrom=x.example.org\r\n{own}"),
                "stored",
            ),
            (
                "SPF of the greeting",
                format!("Authentication-Results: mx.example.net; spf=pass smtp.helo=example.org\r\n{own}"),
                "stored",
            ),
            (
                "SPF that fails",
                format!("Authentication-Results: mx.example.net; spf=fail smtp.mailfrom=example.org\r\n{own}"),
                "stored",
            ),
            (
                "DMARC that fails",
                format!(
                    "Authentication-Results: mx.example.net; spf=pass smtp.mailfrom=example.org; dmarc=fail header.from=example.org\r\n{own}"
                ),
                "stored",
            ),
            (
                "DMARC of another domain",
                format!("Authentication-Results: mx.example.net; dmarc=pass header.from=evil.example\r\n{own}"),
                "stored",
            ),
            (
                "DKIM that only a server claims",
                format!("Authentication-Results: mx.example.net; dkim=pass header.d=example.org\r\n{own}"),
                "stored",
            ),
            (
                "another server",
                format!("Authentication-Results: mx.evil.example; dmarc=pass header.from=example.org\r\n{own}"),
                "stored",
            ),
            (
                "below the server's line",
                format!("{own}\r\nAuthentication-Results: mx.example.net; dmarc=pass header.from=example.org"),
                "stored",
            ),
            (
                "below, with a forged line under it",
                format!("{own}\r\nAuthentication-Results: mx.example.net; dmarc=pass header.from=example.org\r\n{own}"),
                "stored",
            ),
            (
                "below the line of a server that nobody named, with a forged line under it",
                format!(
                    "Received: from evil by mx1.example.net with ESMTPS; x\r\nAuthentication-Results: mx.example.net; dmarc=pass header.from=example.org\r\n{own}"
                ),
                "stored",
            ),
            (
                "without the server's line",
                "Authentication-Results: mx.example.net; dmarc=pass header.from=example.org".into(),
                "stored",
            ),
            (
                "in a comment",
                format!(
                    "Authentication-Results: mx.example.net; spf=none (dmarc=pass header.from=example.org)\r\n{own}"
                ),
                "stored",
            ),
            (
                "in a quoted word",
                format!(
                    "Authentication-Results: mx.example.net; spf=none reason=\"; dmarc=pass header.from=example.org\"\r\n{own}"
                ),
                "stored",
            ),
            (
                "in the name of the server",
                format!(
                    "Authentication-Results: evil.example (mx.example.net); dmarc=pass header.from=example.org\r\n{own}"
                ),
                "stored",
            ),
            (
                "with a name like it",
                format!(
                    "Authentication-Results: mx.example.net.evil.example; dmarc=pass header.from=example.org\r\n{own}"
                ),
                "stored",
            ),
            (
                "in another header",
                format!("X-Authentication-Results: mx.example.net; dmarc=pass header.from=example.org\r\n{own}"),
                "stored",
            ),
            (
                "in Received-SPF",
                format!("Received-SPF: pass (mx.example.net) envelope-from=ann@example.org\r\n{own}"),
                "stored",
            ),
            (
                "in ARC without a seal",
                format!("ARC-Authentication-Results: i=1; mx.example.net; dmarc=pass header.from=example.org\r\n{own}"),
                "stored",
            ),
            (
                "two domains at once",
                format!(
                    "Authentication-Results: mx.example.net; dmarc=pass header.from=evil.example header.from=example.org\r\n{own}"
                ),
                "stored",
            ),
            ("nothing in it", format!("Authentication-Results: mx.example.net; none\r\n{own}"), "stored"),
            ("garbage in it", format!("Authentication-Results: ;;;===\"((\r\n{own}"), "stored"),
        ] {
            self.raw(&format!("a claim: {name}"), expected, claimed(&lines));
        }
        let two = "Authentication-Results: mx.example.net; dmarc=pass header.from=example.org\r\n";
        let mut mail = Mail::from(ANN);
        mail.from = "ann@example.org, eve@evil.example".into();
        self.raw("a claim about two senders", "stored", format!("{two}{own}\r\n{}", mail.raw()));
    }

    pub(super) fn robots(&mut self) {
        for (lines, expected) in [
            ("Auto-Submitted: auto-replied", "loop"),
            ("Auto-Submitted: auto-generated", "loop"),
            ("Auto-Submitted: AUTO-NOTIFIED; owner-email=\"a@b\"", "loop"),
            ("Auto-Submitted: yes", "loop"),
            ("auto-submitted: auto-replied", "loop"),
            ("Auto-Submitted: no", "job"),
            ("Auto-Submitted: No; x=y", "job"),
            ("Precedence: bulk", "loop"),
            ("Precedence: Junk", "loop"),
            ("Precedence: list", "loop"),
            ("Precedence: auto_reply", "loop"),
            ("Precedence: first-class", "job"),
            ("List-Id: <x.example.org>", "loop"),
            ("List-ID: A list <x.example.org>", "loop"),
            ("Return-Path: <>", "loop"),
            ("Return-Path: <ann@example.org>", "job"),
            ("X-Assistant-Mail: 1", "loop"),
            ("x-assistant-mail: other", "loop"),
        ] {
            self.signed(&format!("robot {lines}"), expected, &Mail::from(ANN).with(lines));
        }
        for from in ["assistant@example.net", "Assistant@Example.Net"] {
            self.signed("from ourselves, signed", "own", &Mail::from(from));
            self.raw("from ourselves, forged", "own", Mail::from(from).raw());
        }
        let report = "MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b";
        for body in ["", "--b\r\nContent-Type: message/delivery-status\r\n\r\nAction: failed\r\n\r\n--b--\r\n"] {
            self.raw("a report about nothing of ours", "loop", Mail::from(ANN).with(report).body(body).raw());
        }
    }

    pub(super) fn headers(&mut self) {
        let many = (0..3000).map(|number| format!("X-{number}: {number}")).collect::<Vec<_>>().join("\r\n");
        let received: String = "Received: from a by b; Mon, 1 Jan 2024 00:00:00 +0000\r\n".repeat(2000);
        let signatures: String =
            "DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=s; h=from; bh=; b=x\r\n".repeat(300);
        let ids = "<a@b> ".repeat(5000);
        for (name, lines, expected) in [
            ("3,000 headers", many, "job"),
            ("2,000 Received lines", received.trim_end().to_owned(), "job"),
            ("a header of a megabyte", format!("X-Long: {}", "x".repeat(1 << 20)), "job"),
            ("a folded header of 10,000 lines", format!("X-Fold: a{}", "\r\n a".repeat(10_000)), "job"),
            ("References to 5,000", format!("References: {ids}"), "job"),
            ("References of nonsense", "References: a b <c> <<d>> \"".into(), "job"),
            ("In-Reply-To itself", "In-Reply-To: <>".into(), "job"),
            ("encoded words without end", format!("X-A: {}", "=?utf-8?q?".repeat(2000)), "job"),
            ("an empty header name", ": x".into(), "job"),
            ("a header without a colon", "Nonsense".into(), "job"),
            ("a header with a space before the colon", "X-A : b".into(), "job"),
            ("Content-Type of nonsense", "Content-Type: ;;;=".into(), "job"),
            ("300 signatures of nobody", signatures.trim_end().to_owned(), "job"),
            ("a second Message-ID that is signed too", "Message-ID: <second@example.org>".into(), "job"),
            ("a second Subject that is signed too", "Subject: other".into(), "job"),
            ("a Cc that is not signed", "Cc: bob@example.org".into(), "stored"),
        ] {
            self.signed(&format!("with {name}"), expected, &Mail::from(ANN).with(&lines));
        }
        for id in [
            "<>",
            "",
            "no-brackets@example.org",
            "<with space@example.org>",
            "<a@b> <c@d>",
            "<\u{430}@example.org>",
            "<a\0b@x>",
        ] {
            self.signed(&format!("with the id {id:?}"), "job", &Mail::from(ANN).id(id));
        }
        let without = Mail::from(ANN).raw();
        let without: Vec<&str> = without.split("\r\n").filter(|line| !line.starts_with("Message-ID")).collect();
        let raw = self.world.sign(without.join("\r\n").as_bytes(), "example.org", &["From", "To", "Subject", "Date"]);
        self.raw("without an id", "job", raw);
        for subject in
            ["", "=?utf-8?q?=?=", "=?utf-8?b?4oCu?=", "a\r\n b", "\u{202e}x", "Re: Re: Re:", &"x".repeat(20_000)]
        {
            let mut mail = Mail::from(ANN);
            mail.subject = subject.into();
            self.signed(&format!("subject {:?}", subject.chars().take(30).collect::<String>()), "job", &mail);
        }
    }

    pub(super) fn recipients(&mut self) {
        for (to, expected) in [
            ("assistant@example.net", "job"),
            ("Assistant <ASSISTANT@Example.NET>", "job"),
            ("assistant+work@example.net", "job"),
            ("bob@example.org, assistant@example.net", "job"),
            ("team: bob@example.org, assistant@example.net;", "job"),
            ("bob@example.org", "stored"),
            ("undisclosed-recipients:;", "stored"),
            ("assistant@example.net.evil.example", "stored"),
            ("\"assistant@example.net\" <bob@example.org>", "stored"),
            ("", "stored"),
        ] {
            let mut mail = Mail::from(ANN);
            mail.to = to.into();
            self.signed(&format!("to {to:?}"), expected, &mail);
        }
    }

    pub(super) fn garbage(&mut self) {
        for (name, raw) in [
            ("nothing", &b""[..]),
            ("a newline", b"\r\n"),
            ("null bytes", &[0; 64]),
            ("a picture", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
            ("a program", b"\x7fELF\x02\x01\x01\0"),
            ("only text", b"hello"),
        ] {
            let expected = if raw.trim_ascii().is_empty() { "set_aside" } else { "stored" };
            self.raw(&format!("no message: {name}"), expected, raw);
        }
    }
}

/// Unsigned mail with lines above everything else.
fn claimed(lines: &str) -> String {
    format!("{lines}\r\n{}", Mail::from(ANN).raw())
}
