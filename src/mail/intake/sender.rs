//! Who sent it: the address in `From`, if the mail system proves it, and what that address may do.

use assistant_mail::protocol::{Authentication, Chain, Found, Message};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{config::Config, mail::codes, policy::Origin};

/// What an address may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The owner's: it may decide about requests too.
    Admin,
    /// One of `email.actionable_senders`.
    Actionable,
    /// Somebody else.
    Stranger,
}

/// The sender of a message.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    pub(super) address: Option<String>,
    pub(super) verified: bool,
    /// By what, or why not.
    pub(super) why: String,
    pub(super) standing: Standing,
    /// Whether mail of theirs makes jobs.
    pub(super) actionable: bool,
    /// The domain whose keys nobody could look up, where they may prove an address that the configuration names: another
    /// time may tell.
    pub(super) doubtful: Option<String>,
    /// Of signatures that hold, by which a copy is known again.
    pub(super) signatures: Vec<String>,
    /// Of sender, subject and text.
    pub(super) print: String,
    /// What is kept of all this.
    pub(super) verification: Value,
}

impl Sender {
    /// What a text of theirs is to a job.
    pub(super) fn origin(&self) -> Origin {
        match self.standing {
            Standing::Admin if self.verified => Origin::Owner,
            Standing::Actionable if self.verified => Origin::Contact,
            _ => Origin::Stranger,
        }
    }
}

pub(super) fn judge(config: &Config, message: &Message) -> Sender {
    let address = match &message.from[..] {
        [one] => Some(one.address.clone()),
        _ => message.sender.as_ref().or(message.from.first()).map(|one| one.address.clone()),
    };
    let proof = proof(&config.email.trusted_authserv_ids, message);
    let (verified, why) = match proof {
        Ok(why) => (true, why),
        Err(why) => (false, why),
    };
    let listed = |wanted: &str| address.as_deref().is_some_and(|address| address.eq_ignore_ascii_case(wanted));
    let admin = config.admin.email.as_deref().is_some_and(listed);
    let actionable = config.email.actionable_senders.iter().any(|sender| sender == "*" || listed(sender));
    let standing = match (admin, actionable) {
        (true, _) => Standing::Admin,
        (false, true) => Standing::Actionable,
        (false, false) => Standing::Stranger,
    };
    // Whoever only claims such an address cannot have us wait: the keys are those of its own domain.
    let unanswered = message.authentication.dkim.iter().find(|one| one.result == "temperror" && one.aligned);
    let named = admin || config.email.actionable_senders.iter().any(|sender| listed(sender));
    let doubtful = unanswered.filter(|_| !verified && named).map(|one| one.domain.clone());
    let signatures: Vec<String> = message
        .authentication
        .dkim
        .iter()
        .filter(|one| one.result == "pass" && one.covers)
        .map(|one| one.signature.clone())
        .collect();
    let print = Sha256::digest(format!(
        "{}\0{}\0{}",
        address.as_deref().unwrap_or_default(),
        message.subject,
        message.text.split_whitespace().collect::<Vec<_>>().join(" ")
    ));
    let print = codes::hex(&print[..16]);
    let verification = json!({ "why": why, "dkim": message.authentication.dkim, "arc": message.authentication.arc,
        "dmarc": message.authentication.dmarc, "claims": message.authentication.claims, "print": print,
        "signatures": signatures, "defects": message.defects });
    Sender {
        address,
        verified,
        why,
        standing,
        actionable: verified && actionable,
        doubtful,
        signatures,
        print,
        verification,
    }
}

/// What proves that `From` is true, or why nothing does.
fn proof(trusted: &[String], message: &Message) -> Result<String, String> {
    let found = &message.authentication;
    let from = match &message.from[..] {
        [one] => &one.address,
        [] => return Err("it names no sender".into()),
        several => return Err(format!("it names {} senders", several.len())),
    };
    let domain = match from.rsplit_once('@') {
        Some((local, domain)) if !local.is_empty() && domain.contains('.') => domain,
        _ => return Err(format!("its sender {from:?} is not an address")),
    };
    if let Some(dmarc) = found.dmarc.as_ref().filter(|dmarc| dmarc.result == "pass") {
        return Ok(format!("DMARC by DKIM for {}", dmarc.domain));
    }
    let forbids = found.dmarc.as_ref().is_some_and(|dmarc| dmarc.result == "fail");
    if !forbids && let Some(one) = found.dkim.iter().find(|one| one.result == "pass" && one.covers && one.aligned) {
        return Ok(format!("DKIM by {}", one.domain));
    }
    if let Some(why) = claimed(trusted, found, domain) {
        return Ok(why);
    }
    if let Some(chain) = found.arc.as_ref().filter(|chain| sealed(trusted, chain))
        && let Some(why) = proves(&chain.found, domain, true)
    {
        return Ok(format!("ARC sealed by {}: {why}", chain.sealers.join(", ")));
    }
    Err(unproved(found, domain))
}

/// What a server that the configuration names says, if it can be that server.
fn claimed(trusted: &[String], found: &Authentication, domain: &str) -> Option<String> {
    let is_ours = |host: &str| trusted.iter().any(|id| id.eq_ignore_ascii_case(host));
    // Below the line of any other server it may have come with the message.
    let ours = found.claims.iter().filter(|claim| {
        claim.above_own_received && is_ours(&claim.authserv_id) && claim.handed_on_by.iter().all(|host| is_ours(host))
    });
    ours.clone().find_map(|claim| {
        let why = proves(&claim.results, domain, false)?;
        Some(format!("{} says: {why}", claim.authserv_id))
    })
}

/// What of a server's results proves the domain of `From`.
fn proves(results: &[Found], domain: &str, dkim: bool) -> Option<&'static str> {
    let of = |method: &'static str| results.iter().filter(move |one| one.method == method);
    let about = |one: &Found| one.domain.as_deref().is_some_and(|other| is_or_lies_below(domain, other));
    // Whoever says that it fails cannot prove it by another word.
    if of("dmarc").any(|one| one.result == "fail" && one.domain.as_deref().is_none_or(|other| other == domain)) {
        return None;
    }
    if of("dmarc").any(|one| one.result == "pass" && one.domain.as_deref() == Some(domain)) {
        return Some("DMARC passes");
    }
    if of("spf").any(|one| one.result == "pass" && about(one)) {
        return Some("SPF passes for the domain of From");
    }
    (dkim && of("dkim").any(|one| one.result == "pass" && about(one))).then_some("DKIM passes for the domain of From")
}

/// Whether a chain holds and everybody who sealed it is trusted.
fn sealed(trusted: &[String], chain: &Chain) -> bool {
    let known =
        |sealer: &String| trusted.iter().any(|id| sealer.contains('.') && is_or_lies_below(&id.to_lowercase(), sealer));
    chain.result == "pass" && chain.covers && !chain.sealers.is_empty() && chain.sealers.iter().all(known)
}

fn is_or_lies_below(domain: &str, other: &str) -> bool {
    other.contains('.') && (domain == other || domain.strip_suffix(other).is_some_and(|rest| rest.ends_with('.')))
}

/// Why nothing proves it, in the words that help most.
fn unproved(found: &Authentication, domain: &str) -> String {
    if found.temporary {
        return format!("nobody could look up the keys of {domain}");
    }
    let passes = found.dkim.iter().find(|one| one.result == "pass");
    if let Some(one) = passes.filter(|one| !one.covers) {
        let reason = one.reason.as_deref().unwrap_or("it does not cover the message");
        return format!("the DKIM signature of {} does not count: {reason}", one.domain);
    }
    if let Some(one) = passes {
        return format!("the DKIM signature is that of {}, not of {domain}", one.domain);
    }
    if let Some(one) = found.dkim.first() {
        let reason = one.reason.as_deref().unwrap_or(&one.result);
        return format!("its DKIM signature does not hold: {reason}");
    }
    if found.claims.iter().any(|claim| claim.results.iter().any(|one| one.result == "pass")) {
        return "it has no DKIM signature, and what it says of its own authentication is not from a trusted server"
            .into();
    }
    "it has no DKIM signature".into()
}
