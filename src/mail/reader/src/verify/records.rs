//! The DNS as the verification sees it: what was looked up for it, and which names it still needs.

use std::{
    borrow::Borrow,
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    hash::{Hash, Hasher},
    sync::Arc,
    time::Instant,
};

use mail_auth::{
    DnsError, DnssecStatus, Error, RecordSet, ResolverCache, Txt,
    common::{parse::TxtRecordParser, verify::DomainKey},
    dmarc::Dmarc,
    hickory_resolver::proto::op::ResponseCode,
};

use crate::protocol::{Lookup, Records};

/// Names that are asked for one message.
const MAX_NAMES: usize = 48;
/// The key of 1024 bits takes 140 bytes at least (RFC 8301, section 3.2).
const SMALLEST_RSA: usize = 138;

/// Names that were asked for, and what is known of them.
#[derive(Default)]
pub struct Asked {
    known: RefCell<BTreeMap<String, Lookup>>,
    missing: RefCell<BTreeSet<String>>,
}

impl Asked {
    /// Names that somebody has to look up.
    pub(super) fn missing(&self) -> Vec<String> {
        self.missing.take().into_iter().collect()
    }

    /// What was found of names; what is not told of them nobody knows.
    pub(super) fn answer(&self, names: &[String], records: Records) {
        let mut known = self.known.borrow_mut();
        known.extend(records.0);
        for name in names {
            known.entry(name.clone()).or_insert(Lookup::Failed);
        }
    }

    /// Whether something could not be looked up.
    pub(super) fn failed(&self) -> bool {
        self.known.borrow().values().any(|lookup| *lookup == Lookup::Failed)
    }

    /// Why a key must not be trusted, even where its signatures are right.
    pub(super) fn flaw(&self, selector: &str, domain: &str, sha1: bool) -> Option<&'static str> {
        if sha1 {
            return Some("it is made with SHA-1");
        }
        let known = self.known.borrow();
        let name = format!("{selector}._domainkey.{domain}").to_lowercase();
        let Some(Lookup::Found(texts)) = known.get(&name) else { return None };
        let tags = texts.iter().find(|text| DomainKey::parse(text.as_bytes()).is_ok()).or(texts.first())?;
        let tag = |wanted: &str| {
            let mut all = tags.split(';').filter_map(|tag| tag.split_once('='));
            all.find(|(name, _)| name.trim() == wanted).map(|(_, value)| value.trim())
        };
        let has = |value: &str, wanted: &str| value.split(':').any(|one| one.trim().eq_ignore_ascii_case(wanted));
        if tag("t").is_some_and(|flags| has(flags, "y")) {
            return Some("its domain is testing DKIM");
        }
        if tag("s").is_some_and(|services| !has(services, "*") && !has(services, "email")) {
            return Some("its key is not for mail");
        }
        if tag("h").is_some_and(|hashes| !has(hashes, "sha256")) {
            return Some("its key is not for SHA-256");
        }
        let length = tag("p").map_or(0, |key| key.chars().filter(|c| !c.is_whitespace()).count() * 3 / 4);
        let rsa = tag("k").is_none_or(|kind| kind.eq_ignore_ascii_case("rsa"));
        (rsa && length < SMALLEST_RSA).then_some("its key is too short")
    }

    fn find(&self, name: &str) -> Txt {
        let name = name.trim_end_matches('.').to_lowercase();
        let nothing = || Txt::Error(Error::Dns(DnsError::RecordNotFound(ResponseCode::NXDomain)));
        let (key, policy) = (name.contains("._domainkey."), name.starts_with("_dmarc."));
        if !(key || policy) || !is_name(&name) || name.contains("_report._domainkey") {
            return nothing();
        }
        let known = self.known.borrow();
        match known.get(&name) {
            Some(Lookup::Found(texts)) if key => parse::<DomainKey>(texts),
            Some(Lookup::Found(texts)) => parse::<Dmarc>(texts),
            Some(Lookup::Missing) => nothing(),
            Some(Lookup::Failed) => Txt::Error(Error::Dns(DnsError::Resolver("nobody answers".into()))),
            None if known.len() >= MAX_NAMES => nothing(),
            None => {
                self.missing.borrow_mut().insert(name);
                Txt::Error(Error::Dns(DnsError::Resolver("not looked up yet".into())))
            }
        }
    }
}

fn parse<T: TxtRecordParser>(texts: &[String]) -> Txt
where
    Txt: From<mail_auth::Result<T>>,
{
    let mut result = Err(Error::Dns(DnsError::InvalidRecordType));
    for text in texts {
        result = T::parse(text.as_bytes());
        if result.is_ok() {
            break;
        }
    }
    result.into()
}

/// Whether it can be a name of the DNS at all.
pub(crate) fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// The key of a cache is a text, but only what it is hashed from can be seen of it here.
#[derive(Default)]
struct Text(Vec<u8>);

impl Hasher for Text {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
    fn finish(&self) -> u64 {
        0
    }
}

impl ResolverCache<Box<str>, Txt> for Asked {
    fn get<Q>(&self, name: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let mut text = Text::default();
        name.hash(&mut text);
        // A text ends with a byte that no UTF-8 has.
        let bytes = text.0.strip_suffix(&[0xff]).unwrap_or(&text.0);
        Some(self.find(&String::from_utf8_lossy(bytes)))
    }
    fn remove<Q>(&self, _: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        None
    }
    fn insert(&self, _: Box<str>, _: Txt, _: Instant) {}
}

/// Addresses and servers of mail, which nobody asks for.
pub(super) struct Empty;

impl<K, V> ResolverCache<K, RecordSet<V>> for Empty {
    fn get<Q>(&self, _: &Q) -> Option<RecordSet<V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        Some(RecordSet { rrset: Arc::from(Vec::new()), dnssec_status: DnssecStatus::Indeterminate })
    }
    fn remove<Q>(&self, _: &Q) -> Option<RecordSet<V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        None
    }
    fn insert(&self, _: K, _: RecordSet<V>, _: Instant) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_known_is_asked_for() {
        let asked = Asked::default();
        let get = |name: &str| ResolverCache::<Box<str>, Txt>::get(&asked, name);
        assert!(matches!(get("S._domainkey.Example.org."), Some(Txt::Error(_))));
        assert!(matches!(get("_dmarc.example.org."), Some(Txt::Error(_))));
        get("_report._domainkey.example.org.");
        get("x y._domainkey.example.org.");
        assert_eq!(asked.missing(), ["_dmarc.example.org", "s._domainkey.example.org"]);
        let found = Lookup::Found(vec!["v=DMARC1; p=reject".into()]);
        asked.answer(&["_dmarc.example.org".into()], Records(vec![("_dmarc.example.org".into(), found)]));
        assert!(matches!(get("_dmarc.example.org."), Some(Txt::Dmarc(_))));
        assert!(asked.missing().is_empty());
    }
}
