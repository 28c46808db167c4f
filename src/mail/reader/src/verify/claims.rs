//! What servers on the way say that they found (RFC 8601), and whether it can be they who said it.

use crate::protocol::{Claim, Found};

const MAX_CLAIMS: usize = 20;
const MAX_RESULTS: usize = 50;
const MAX_HOPS: usize = 50;

/// All of them, from the top.
pub(super) fn all(headers: &[(String, String)]) -> Vec<Claim> {
    let by: Vec<_> = headers
        .iter()
        .enumerate()
        .filter(|(_, (name, _))| name.eq_ignore_ascii_case("received"))
        .filter_map(|(at, (_, value))| Some((at, receiver(value)?, value)))
        .collect();
    headers
        .iter()
        .enumerate()
        .filter(|(_, (name, _))| name.eq_ignore_ascii_case("authentication-results"))
        .filter_map(|(at, (_, value))| {
            let mut claim = claim(value)?;
            let first = by.iter().find(|(_, host, _)| *host == claim.authserv_id);
            claim.above_own_received = first.is_some_and(|(received, ..)| at < *received);
            let above = by.iter().take_while(|(received, ..)| *received < at);
            let others = above.filter(|(_, host, value)| *host != claim.authserv_id && !is_delivery(value));
            claim.handed_on_by = others.map(|(_, host, _)| host.clone()).take(MAX_HOPS).collect();
            Some(claim)
        })
        .take(MAX_CLAIMS)
        .collect()
}

/// The results of an `ARC-Authentication-Results` header.
pub(super) fn sealed(value: &[u8]) -> Vec<Found> {
    let value = String::from_utf8_lossy(value);
    let behind_instance = value.split_once(';').map_or("", |(_, rest)| rest);
    claim(behind_instance).map(|claim| claim.results).unwrap_or_default()
}

/// The server that wrote a `Received` line.
fn receiver(value: &str) -> Option<String> {
    let value = without_comments(value);
    let mut words = value.split([' ', '\t', '\r', '\n', ';']).filter(|word| !word.is_empty());
    words.find(|word| word.eq_ignore_ascii_case("by"))?;
    words.next().map(|host| host.trim_end_matches('.').to_ascii_lowercase())
}

/// Whether it tells of a delivery into a mailbox: LMTP is spoken by a server with its own (RFC 2033, RFC 3848).
fn is_delivery(value: &str) -> bool {
    let value = without_comments(value);
    let mut words = value.split([' ', '\t', '\r', '\n', ';']).filter(|word| !word.is_empty());
    words.find(|word| word.eq_ignore_ascii_case("with"));
    words
        .next()
        .is_some_and(|how| ["LMTP", "LMTPA", "LMTPS", "LMTPSA"].iter().any(|lmtp| how.eq_ignore_ascii_case(lmtp)))
}

fn claim(value: &str) -> Option<Claim> {
    let value = without_comments(value);
    let mut parts = split(&value);
    let id = parts.next()?;
    let authserv_id = id.split_whitespace().next()?.trim_matches('"').trim_end_matches('.').to_ascii_lowercase();
    let results = parts.take(MAX_RESULTS).filter_map(|part| found(&part)).collect();
    Some(Claim { authserv_id, above_own_received: false, handed_on_by: Vec::new(), results })
}

fn found(part: &str) -> Option<Found> {
    let part = part.replace(" =", "=").replace("= ", "=");
    let mut words = part.split_whitespace();
    let (method, result) = words.next()?.split_once('=')?;
    let method = method.split('/').next().unwrap_or_default().to_ascii_lowercase();
    let wanted: &[&str] = match method.as_str() {
        "spf" => &["smtp.mailfrom", "smtp.mail"],
        "dmarc" => &["header.from"],
        "dkim" => &["header.d", "header.i"],
        _ => &[],
    };
    let properties: Vec<_> = words.filter_map(|word| word.split_once('=')).collect();
    let value = wanted.iter().find_map(|wanted| {
        let mut of = properties.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        let first = of.next()?.1;
        // Two that differ prove neither.
        of.all(|(_, other)| *other == first).then_some(first)
    });
    let domain = value.map(|value| {
        let value = value.trim_matches(['"', '<', '>']);
        value.rsplit_once('@').map_or(value, |(_, domain)| domain).trim_end_matches('.').to_ascii_lowercase()
    });
    Some(Found { method, result: result.to_ascii_lowercase(), domain: domain.filter(|domain| !domain.is_empty()) })
}

/// At semicolons outside of quotes.
fn split(value: &str) -> impl Iterator<Item = String> + '_ {
    let mut quoted = false;
    let mut escaped = false;
    value
        .split(move |c: char| {
            let plain = !escaped;
            escaped = plain && quoted && c == '\\';
            quoted ^= plain && c == '"';
            c == ';' && !quoted
        })
        .map(|part| part.trim().to_owned())
}

/// Comments nest (RFC 5322, section 3.2.2).
fn without_comments(value: &str) -> String {
    let (mut depth, mut quoted, mut escaped) = (0_u32, false, false);
    let mut kept = String::with_capacity(value.len());
    for c in value.chars() {
        let plain = !escaped;
        escaped = plain && c == '\\';
        match c {
            '"' if plain && depth == 0 => quoted = !quoted,
            '(' if plain && !quoted => depth += 1,
            ')' if plain && !quoted && depth > 0 => {
                depth -= 1;
                kept.push(' ');
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            kept.push(c);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn only_what_stands_above_the_servers_own_line_can_be_its() {
        let own = "from x (y [1.2.3.4]) by MX.example.org (Postfix) with ESMTPS id 1; Mon, 1 Jan 2024 00:00:00 +0000";
        let says = "mx.example.org; spf=pass (sender \"; dmarc=pass\") smtp.mailfrom=a@bounce.example.com; \
                    dmarc=fail header.from=example.com";
        let found = all(&headers(&[
            ("Authentication-Results", says),
            ("Received", own),
            ("Authentication-Results", says),
            ("Received", "by other"),
            ("Received", own),
        ]));
        assert_eq!(found.len(), 2);
        assert!(found[0].above_own_received && !found[1].above_own_received);
        let told: Vec<_> =
            found[0].results.iter().map(|one| (&*one.method, &*one.result, one.domain.as_deref())).collect();
        assert_eq!(told, [("spf", "pass", Some("bounce.example.com")), ("dmarc", "fail", Some("example.com"))]);
        let under = |line| all(&headers(&[("Received", line), ("Authentication-Results", says), ("Received", own)]));
        let relayed = under("from o by relay.example.org with ESMTP; x");
        assert!(relayed[0].above_own_received);
        assert_eq!(relayed[0].handed_on_by, ["relay.example.org"]);
        assert!(under("from mx by box.example.org (Dovecot) with LMTP id x; x")[0].handed_on_by.is_empty());
        let alone = all(&headers(&[("Authentication-Results", says)]));
        assert!(!alone[0].above_own_received);
    }

    #[test]
    fn results_that_are_hidden_in_quotes_and_comments_are_none() {
        for value in [
            "mx; spf=fail reason=\"x; dmarc=pass header.from=a.b\"",
            "mx; spf=fail (x; dmarc=pass header.from=a.b (nested) )",
            "mx; spf=fail (x \\) ; dmarc=pass header.from=a.b)",
        ] {
            let found = claim(value).unwrap();
            assert!(found.results.iter().all(|one| one.method != "dmarc"), "{value}: {found:?}");
        }
        let twice = claim("mx; dmarc=pass header.from=a.b header.from=c.d").unwrap();
        assert_eq!(twice.results[0].domain, None);
    }
}
