//! What signatures prove, with keys and a name server of the test's own.

use std::collections::BTreeMap;

use assistant_mail::{
    message,
    protocol::{Authentication, Lookup, Records},
    verify::Verifier,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use mail_auth::{
    AuthenticatedMessage, AuthenticationResults,
    arc::ArcSealer,
    common::{crypto::Ed25519Key, headers::HeaderWriter as _},
    dkim::DkimSigner,
};

const HEADERS: &[&str] = &["From", "To", "Subject", "Date", "Message-ID"];
const MESSAGE: &str = "From: Ann <ann@example.org>\r\nTo: assistant@example.net\r\nSubject: Hello\r\n\
                       Date: Mon, 01 Jan 2024 10:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\r\nDo it.\r\n";

/// A key, and the DNS that knows it.
struct World {
    key: Vec<u8>,
    names: BTreeMap<String, String>,
}

impl World {
    fn new() -> Self {
        let key = Ed25519Key::generate_pkcs8().unwrap();
        let public = STANDARD.encode(Ed25519Key::from_pkcs8_der(&key).unwrap().public_key());
        let mut names = BTreeMap::new();
        for domain in ["example.org", "sub.example.org", "example.net", "evil.example"] {
            names.insert(format!("s._domainkey.{domain}"), format!("v=DKIM1; k=ed25519; p={public}"));
        }
        names.insert("_dmarc.example.org".into(), "v=DMARC1; p=reject".into());
        Self { key, names }
    }

    fn key(&self) -> Ed25519Key {
        Ed25519Key::from_pkcs8_der(&self.key).unwrap()
    }

    fn sign(&self, message: &str, domain: &str, headers: &[&str], change: impl Fn(Signer) -> Signer) -> String {
        let signer = DkimSigner::from_key(self.key()).domain(domain).selector("s").headers(headers.iter().copied());
        let signature = change(signer).sign(message.as_bytes()).unwrap();
        format!("{}{message}", signature.to_header())
    }

    fn seal(&self, message: &str, domain: &str, results: &str) -> String {
        let parsed = AuthenticatedMessage::parse(message.as_bytes()).unwrap();
        let results = AuthenticationResults::new(results);
        let none = mail_auth::ArcOutput::default();
        let set = ArcSealer::from_key(self.key())
            .domain(domain)
            .selector("s")
            .headers(HEADERS.iter().copied())
            .seal(&parsed, &results, &none)
            .unwrap();
        format!("{}{message}", set.to_header())
    }

    fn verify(&self, raw: &str) -> Authentication {
        let message = message::read(raw.as_bytes()).unwrap();
        let mut ask = |names: Vec<String>| {
            let found = names.into_iter().map(|name| {
                let lookup = self.names.get(&name).map_or(Lookup::Missing, |text| Lookup::Found(vec![text.clone()]));
                (name, lookup)
            });
            Ok(Records(found.collect()))
        };
        Verifier::new().unwrap().verify(raw.as_bytes(), &message, &mut ask).unwrap()
    }
}

type Signer = DkimSigner<Ed25519Key, mail_auth::dkim::Done>;

fn same(signer: Signer) -> Signer {
    signer
}

#[track_caller]
fn dkim(found: &Authentication) -> (&str, bool, bool) {
    (&found.dkim[0].result, found.dkim[0].covers, found.dkim[0].aligned)
}

fn dmarc(found: &Authentication) -> &str {
    found.dmarc.as_ref().map_or("", |dmarc| &dmarc.result)
}

#[test]
fn what_the_domain_signed_passes() {
    let world = World::new();
    let found = world.verify(&world.sign(MESSAGE, "example.org", HEADERS, same));
    assert_eq!((dkim(&found), dmarc(&found)), (("pass", true, true), "pass"));
    assert!(!found.temporary);
    let below = world.verify(&world.sign(MESSAGE, "sub.example.org", HEADERS, same));
    // Relaxed alignment, which the policy of the domain permits.
    assert_eq!((dkim(&below), dmarc(&below)), (("pass", true, false), "pass"));
}

#[test]
fn what_was_changed_fails() {
    let world = World::new();
    let signed = world.sign(MESSAGE, "example.org", HEADERS, same);
    for (from, to) in
        [("Do it.", "Do that."), ("Subject: Hello", "Subject: Hullo"), ("ann@", "bob@"), ("To: a", "To: b")]
    {
        let found = world.verify(&signed.replacen(from, to, 1));
        assert_ne!(found.dkim[0].result, "pass", "{from}");
        assert_eq!(dmarc(&found), "fail", "{from}");
    }
}

#[test]
fn another_domain_is_not_aligned() {
    let world = World::new();
    let found = world.verify(&world.sign(MESSAGE, "evil.example", HEADERS, same));
    assert_eq!((dkim(&found), dmarc(&found)), (("pass", true, false), "fail"));
}

#[test]
fn an_expired_signature_does_not_count() {
    let world = World::new();
    let signed = world.sign(MESSAGE, "example.org", HEADERS, |signer| signer.expiration(1));
    std::thread::sleep(std::time::Duration::from_millis(2100));
    assert_ne!(world.verify(&signed).dkim[0].result, "pass");
}

#[test]
fn a_signature_over_part_of_the_message_does_not_count() {
    let world = World::new();
    for (headers, reason) in [
        (&["From", "To", "Date", "Message-ID"][..], "subject"),
        (&["From", "Subject", "Date", "Message-ID"][..], "to and cc"),
        (&["From", "To", "Subject", "Date"][..], "message-id"),
    ] {
        let found = world.verify(&world.sign(MESSAGE, "example.org", headers, same));
        assert_eq!(found.dkim[0].result, "pass");
        assert!(!found.dkim[0].covers, "{reason}");
        assert!(found.dkim[0].reason.as_deref().unwrap().to_lowercase().contains(reason), "{:?}", found.dkim[0]);
        assert_ne!(dmarc(&found), "pass");
    }
    let short = world.sign(MESSAGE, "example.org", HEADERS, |signer| signer.body_length(true));
    assert!(world.verify(&short).dkim[0].covers);
    let longer = world.verify(&format!("{short}More.\r\n"));
    assert!(!longer.dkim[0].covers, "{:?}", longer.dkim[0]);
    assert_ne!(dmarc(&longer), "pass");
}

#[test]
fn headers_that_were_added_do_not_slip_in() {
    let world = World::new();
    let signed = world.sign(MESSAGE, "example.org", HEADERS, same);
    for added in ["From: eve@evil.example\r\n", "Subject: Other\r\n", "To: x@y.example\r\n", "Message-ID: <2@x>\r\n"] {
        let found = world.verify(&format!("{added}{signed}"));
        assert!(found.dkim[0].result != "pass" || !found.dkim[0].covers, "{added}{:?}", found.dkim);
        assert_ne!(dmarc(&found), "pass", "{added}");
    }
    // Signed once more than it is there: then one more breaks the signature itself.
    let over = ["From", "From", "To", "Subject", "Subject", "Date", "Message-ID"];
    let signed = world.sign(MESSAGE, "example.org", &over, same);
    assert_eq!(dkim(&world.verify(&signed)), ("pass", true, true));
    assert_ne!(world.verify(&format!("Subject: Other\r\n{signed}")).dkim[0].result, "pass");
}

#[test]
fn keys_that_are_weak_or_on_trial_do_not_count() {
    let mut world = World::new();
    let signed = world.sign(MESSAGE, "example.org", HEADERS, same);
    let name = "s._domainkey.example.org".to_owned();
    let good = world.names[&name].clone();
    for (record, reason) in [
        (format!("{good}; t=y"), "testing"),
        (format!("{good}; s=tlsrpt"), "not for mail"),
        ("v=DKIM1; k=rsa; p=MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAL7ryK3c3kU6Ow6pUH0lW1gkT6Ihd1OTgYvT2lq6D0cO6JY6kqfBvn1VvRrJ0mFqk8i1yS0M9zGz3wgR0uVhZ4sCAwEAAQ==".into(), "short"),
        ("v=DKIM1; k=ed25519; p=".into(), "revoked"),
    ] {
        world.names.insert(name.clone(), record.clone());
        let found = world.verify(&signed);
        assert!(found.dkim[0].result != "pass" || !found.dkim[0].covers, "{record}: {:?}", found.dkim);
        assert!(found.dkim[0].reason.as_deref().unwrap().contains(reason), "{record}: {:?}", found.dkim);
        assert_ne!(dmarc(&found), "pass", "{record}");
    }
}

#[test]
fn an_rsa_key_has_to_have_1024_bits() {
    let mut world = World::new();
    // Bits, public key, and what dkimpy and a key that openssl made put above the message.
    for line in include_str!("rsa.txt").lines() {
        let [bits, public, signature] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        world.names.insert("s._domainkey.example.org".into(), format!("v=DKIM1; k=rsa; p={public}"));
        let found = world.verify(&format!("{signature}\r\n{MESSAGE}"));
        let good = bits.parse::<u32>().unwrap() >= 1024;
        assert_eq!(
            (found.dkim[0].result == "pass" && found.dkim[0].covers, dmarc(&found) == "pass"),
            (good, good),
            "{bits}: {found:?}"
        );
        let reason = found.dkim[0].reason.as_deref().unwrap_or_default();
        assert_eq!(reason.contains("short"), !good, "{bits}: {reason}");
    }
}

#[test]
fn several_senders_are_none() {
    let world = World::new();
    for from in ["Ann <ann@example.org>, Eve <eve@example.org>", "group: ann@example.org, eve@example.org;"] {
        let message = MESSAGE.replace("Ann <ann@example.org>", from);
        let found = world.verify(&world.sign(&message, "example.org", HEADERS, same));
        assert!(!found.dkim[0].covers && !found.dkim[0].aligned, "{from}: {:?}", found.dkim);
        assert_eq!(found.dmarc, None, "{from}");
    }
}

#[test]
fn a_name_server_that_does_not_answer_is_told_apart() {
    let world = World::new();
    let signed = world.sign(MESSAGE, "example.org", HEADERS, same);
    let message = message::read(signed.as_bytes()).unwrap();
    let found = Verifier::new().unwrap().verify(signed.as_bytes(), &message, &mut |_| Ok(Records::default())).unwrap();
    assert!(found.temporary);
    assert_eq!(found.dkim[0].result, "temperror");
}

#[test]
fn a_forwarder_seals_what_it_found() {
    let world = World::new();
    let sealed = world.seal(MESSAGE, "example.net", "mx.example.net; dmarc=pass header.from=example.org");
    let found = world.verify(&sealed);
    let chain = found.arc.unwrap();
    assert_eq!((chain.result.as_str(), chain.covers), ("pass", true), "{chain:?}");
    assert_eq!(chain.sealers, ["example.net"]);
    assert_eq!((chain.found[0].method.as_str(), chain.found[0].domain.as_deref()), ("dmarc", Some("example.org")));
    let changed = world.verify(&sealed.replacen("Do it.", "Do that.", 1));
    assert_ne!(changed.arc.unwrap().result, "pass");
}
