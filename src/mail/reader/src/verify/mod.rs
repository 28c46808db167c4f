//! Who sent it: DKIM, ARC and DMARC by aligned DKIM, verified here; what servers on the way claim, told as claims.

mod claims;
mod covers;
mod records;

use std::{fmt::Write as _, io};

use futures_util::FutureExt as _;
use mail_auth::{
    AuthenticatedMessage, DkimOutput, DkimResult, DmarcResult, MessageAuthenticator, Parameters, SpfOutput,
    arc::Set,
    common::crypto::Algorithm,
    dkim::Signature as Tags,
    dmarc::{Policy, verify::DmarcParameters},
    hickory_resolver::config::{ResolveHosts, ResolverConfig, ResolverOpts},
};

pub use self::records::Asked;
pub(crate) use self::records::is_name;
use self::{covers::Covered, records::Empty};
use crate::{
    lookup,
    protocol::{Authentication, Chain, Dmarc, Message, Records, Signature},
};

/// Signatures that are looked at.
const MAX_SIGNATURES: usize = 10;
/// Rounds of questions: the keys and policies, and what they lead to.
const MAX_ROUNDS: usize = 6;

/// Made before the process gives up opening files.
pub struct Verifier(MessageAuthenticator);

impl Verifier {
    /// One that asks nobody by itself.
    ///
    /// # Errors
    /// In words; nothing known leads to it.
    pub fn new() -> Result<Self, String> {
        let mut options = ResolverOpts::default();
        options.use_hosts_file = ResolveHosts::Never;
        let config = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
        lookup::made(config, options).map(|resolver| Self(MessageAuthenticator(resolver)))
    }

    /// What can be said of a message; `ask` looks names up.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn verify(
        &self,
        raw: &[u8],
        message: &Message,
        ask: &mut dyn FnMut(Vec<String>) -> io::Result<Records>,
    ) -> io::Result<Authentication> {
        let many = message.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("dkim-signature")).count();
        let parsed = AuthenticatedMessage::parse_with_opts(raw, None, many > MAX_SIGNATURES);
        let mut found = Authentication { claims: claims::all(&message.headers), ..Authentication::default() };
        let Some(mut parsed) = parsed else { return Ok(found) };
        parsed.dkim_headers.truncate(MAX_SIGNATURES);
        parsed.errors.truncate(MAX_SIGNATURES);
        let asked = Asked::default();
        for _ in 0..MAX_ROUNDS {
            self.round(&parsed, message, &asked, &mut found);
            let missing = asked.missing();
            if missing.is_empty() {
                break;
            }
            asked.answer(&missing, ask(missing.clone())?);
        }
        found.temporary = asked.failed();
        Ok(found)
    }

    fn round(&self, parsed: &AuthenticatedMessage<'_>, message: &Message, asked: &Asked, found: &mut Authentication) {
        let outputs = self.0.verify_dkim(parameters(parsed, asked)).now_or_never().unwrap_or_default();
        // Two readers must see one sender, or what one of them proves says nothing of what the other shows.
        let from = match (&message.from[..], &parsed.from[..]) {
            ([shown], [signed]) if shown.address == *signed => shown.address.rsplit_once('@').map(|(_, domain)| domain),
            _ => None,
        };
        let covered = Covered::new(parsed, from.is_some());
        found.dkim = outputs.iter().map(|output| signature(output, from, &covered, asked)).collect();
        let good: Vec<DkimOutput<'_>> = outputs
            .iter()
            .zip(&found.dkim)
            .filter(|(output, told)| {
                !matches!(output.result(), DkimResult::Pass) || told.result == "pass" && told.covers
            })
            .map(|(output, _)| output.clone())
            .collect();
        found.dmarc = from.and_then(|_| self.dmarc(parsed, &good, asked));
        found.arc = self.arc(parsed, &covered, asked);
    }

    fn dmarc(&self, parsed: &AuthenticatedMessage<'_>, good: &[DkimOutput<'_>], asked: &Asked) -> Option<Dmarc> {
        let spf = SpfOutput::new(String::new());
        let about = DmarcParameters {
            message: parsed,
            dkim_output: good,
            dkim2_output: None,
            rfc5321_mail_from_domain: "",
            spf_output: &spf,
        };
        let output = self.0.verify_dmarc(parameters(about, asked)).now_or_never()?;
        let policy = output.dmarc_record().is_some().then(|| match output.policy() {
            Policy::Quarantine => "quarantine",
            Policy::Reject => "reject",
            Policy::None | Policy::Unspecified => "none",
        });
        let result = match output.dkim_result() {
            DmarcResult::Pass => "pass",
            DmarcResult::Fail(_) => "fail",
            DmarcResult::TempError(_) => "temperror",
            DmarcResult::PermError(_) => "permerror",
            DmarcResult::None if policy.is_some() => "fail",
            DmarcResult::None => "none",
        };
        Some(Dmarc { domain: output.domain().to_owned(), result: result.into(), policy: policy.map(Into::into) })
    }

    fn arc(&self, parsed: &AuthenticatedMessage<'_>, covered: &Covered, asked: &Asked) -> Option<Chain> {
        let output = self.0.verify_arc(parameters(parsed, asked)).now_or_never()?;
        let (result, reason) = words(output.result());
        if result == "none" {
            return None;
        }
        let sets: &[Set<'_>] = output.sets();
        let found = sets.first().map(|set| claims::sealed(set.results.value)).unwrap_or_default();
        let tags = sets.last().map(|set| set.signature.header);
        let refused = tags.map_or(Some("it is not signed"), |tags| {
            let weak = sets.iter().find_map(|set| asked.flaw(&set.seal.header.s, &set.seal.header.d, false));
            weak.or_else(|| asked.flaw(&tags.s, &tags.d, tags.a == Algorithm::RsaSha1))
                .or_else(|| covered.flaw(&tags.h, tags.l))
        });
        Some(Chain {
            result: result.into(),
            reason: reason.or_else(|| refused.map(Into::into)),
            sealers: sets.iter().map(|set| set.seal.header.d.to_lowercase()).collect(),
            found,
            covers: refused.is_none(),
        })
    }
}

type About<'x, P> = Parameters<'x, P, Asked, Empty, Empty, Empty, Empty>;

fn parameters<P>(about: P, asked: &Asked) -> About<'_, P> {
    Parameters {
        params: about,
        cache_txt: Some(asked),
        cache_mx: Some(&Empty),
        cache_ptr: Some(&Empty),
        cache_ipv4: Some(&Empty),
        cache_ipv6: Some(&Empty),
    }
}

fn signature(output: &DkimOutput<'_>, from: Option<&str>, covered: &Covered, asked: &Asked) -> Signature {
    let (result, mut reason) = words(output.result());
    let Some(tags) = output.signature() else {
        return Signature { result: result.into(), reason, ..Signature::default() };
    };
    let flaw = flaw(tags, covered, asked);
    if let Some(flaw) = flaw.filter(|_| result == "pass" || reason.is_none() || result == "fail") {
        reason = Some(flaw.into());
    }
    let domain = tags.d.to_lowercase();
    Signature {
        aligned: from.is_some_and(|from| is_below(from, &domain)),
        selector: tags.s.clone(),
        result: result.into(),
        reason,
        covers: flaw.is_none(),
        signature: hex(&tags.b),
        domain,
    }
}

/// Its first bytes.
fn hex(signature: &[u8]) -> String {
    signature.iter().take(32).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // a text takes everything
        text
    })
}

/// Why a signature that is right counts for nothing all the same.
fn flaw(tags: &Tags, covered: &Covered, asked: &Asked) -> Option<&'static str> {
    let day = 86_400;
    #[expect(clippy::disallowed_methods, reason = "a process for one message has no other clock")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    asked
        .flaw(&tags.s, &tags.d, tags.a == Algorithm::RsaSha1)
        .or_else(|| covered.flaw(&tags.h, tags.l))
        .or_else(|| (tags.t > now + day).then_some("it was made in the future"))
}

/// Whether a domain is another one or lies below it.
fn is_below(domain: &str, other: &str) -> bool {
    let domain = mail_auth::common::to_a_label(domain);
    let other = mail_auth::common::to_a_label(other);
    other.contains('.') && (domain == other || domain.strip_suffix(&*other).is_some_and(|rest| rest.ends_with('.')))
}

fn words(result: &DkimResult) -> (&'static str, Option<String>) {
    let (word, error) = match result {
        DkimResult::Pass => ("pass", None),
        DkimResult::Neutral(error) => ("neutral", Some(error)),
        DkimResult::Fail(error) => ("fail", Some(error)),
        DkimResult::PermError(error) => ("permerror", Some(error)),
        DkimResult::TempError(error) => ("temperror", Some(error)),
        DkimResult::None => ("none", None),
    };
    (word, error.map(|error| error.to_string().to_lowercase()))
}
