//! What a final answer says was done, checked against what was: mails, files, appointments. Only plain claims are taken up
//! ("I have sent", "was saved to"), since a claim that is missed does less harm than a true answer that is called false.

mod changed;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::LazyLock};

use assistant_api::{JobId, effects::EffectState};
use jiff::Timestamp;
use regex_lite::Regex;
use rusqlite::Connection;
use serde_json::Value;

use crate::{error::Result, ledger};

/// Effects of a job that are looked at; one with more has done something of everything.
const EFFECTS: i64 = 2000;

/// What a job has done, as far as its ledger can show it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    /// Who was written to, in lower case: mails that went out or are on their way.
    pub mailed: BTreeSet<String>,
    /// Paths that were written, moved or deleted; of what changed in the workspace while programs ran, the names.
    pub files: BTreeSet<String>,
    /// Since when programs ran, which write no record of what they do.
    pub ran: Option<Timestamp>,
    /// They ran where there is too much to see what they did: it may be anything.
    pub anything: bool,
    /// Something was entered into a calendar or set to remind.
    pub scheduled: bool,
}

/// What kind of thing is said to have been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Mail,
    File,
    Schedule,
}

/// Something that an answer says and nothing shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unproven {
    pub kind: Kind,
    /// The sentence that says it.
    pub sentence: String,
}

/// Reads what a job has done.
pub(crate) fn done(conn: &Connection, job: JobId) -> Result<Done> {
    let mut done = Done::default();
    for effect in ledger::for_job(conn, job, EFFECTS)? {
        let under_way = matches!(effect.state, EffectState::Prepared | EffectState::Dispatched);
        match effect.tool.as_str() {
            // What the daemon itself told is nobody's claim.
            "email_send"
                if effect.detail["kind"].as_str().is_none_or(|kind| kind == "agent")
                    && (under_way || effect.state == EffectState::Confirmed) =>
            {
                let names = ["to", "cc"].into_iter().filter_map(|field| effect.detail[field].as_array()).flatten();
                let names = names.filter_map(Value::as_str).chain([effect.target.as_str()]).map(str::to_lowercase);
                let refused: BTreeSet<_> = effect.detail["refused"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|one| one["recipient"].as_str().map(str::to_lowercase))
                    .collect();
                done.mailed.extend(names.filter(|name| !refused.iter().any(|one| one.contains(name.as_str()))));
            }
            "command_execute" if effect.state != EffectState::Failed => {
                done.ran = Some(done.ran.map_or(effect.prepared_at, |ran| ran.min(effect.prepared_at)));
            }
            tool if effect.state == EffectState::Confirmed => {
                done.scheduled |= tool.starts_with("calendar_") || tool.starts_with("reminder_");
                if tool.starts_with("file_") {
                    done.files.insert(effect.target.clone());
                    let written = effect.detail["written"].as_array().into_iter().flatten();
                    done.files.extend(written.filter_map(|path| path.as_str().map(str::to_owned)));
                }
            }
            _ => {}
        }
    }
    Ok(done)
}

struct Patterns {
    mail: Regex,
    file: Regex,
    file_thing: Regex,
    gone: Regex,
    schedule: Regex,
    not: Regex,
    path: Regex,
    address: Regex,
    recipients: Regex,
}

/// `what` by the writer, or having been done to something.
fn pattern(text: &str) -> Option<Regex> {
    Regex::new(&format!("(?i){}", text.replace(char::is_whitespace, ""))).ok()
}

const ADDRESS: &str = r"[a-z\d._%+-]+@[a-z\d.-]+\.[a-z]{2,}";

/// `None` cannot be: a test makes them.
static PATTERNS: LazyLock<Option<Patterns>> = LazyLock::new(|| {
    // Whoever writes says "I"; what a mail says of others has another subject.
    let i = r"(?:^|\b)(?:i|we|i've|i\x20have|we've|we\x20have|i’ve|we’ve)\x20(?:(?:also|already|just|now|then|successfully|have|has)\x20)*";
    let been = r"\x20(?:has|have)\x20(?:now\x20|already\x20|also\x20|successfully\x20)*been\x20(?:successfully\x20)?";
    Some(Patterns {
        mail: pattern(&format!(
            r"{i}(?:sent|e-?mailed|mailed|forwarded|messaged|notified|replied\x20to|written\x20to|invited)\b
            |\b(?:e-?mails?|mails?|messages?|repl(?:y|ies)|invitations?|letters?|newsletters?|copy|copies|notifications?|summary|report){been}(?:sent|e-?mailed|mailed|delivered|forwarded|dispatched)\b
            |\b(?:e-?mail|mail|message|reply|invitation)\x20(?:was\x20(?:successfully\x20)?(?:sent|delivered)\x20to|(?:successfully\x20)?sent\x20to|sent$|sent\x20successfully)
            |^(?:done[:,]?\x20)?(?:sent|e-?mailed|mailed|forwarded)\x20(?:it|the|an?|your|this|them|him|her|everyone|all)\b
            |\b(?:habe|haben)\x20(?:\S+\x20){{0,12}}(?:gesendet|geschickt|verschickt|versandt|gemailt|weitergeleitet|benachrichtigt)\b
            |\b(?:e-?mail|mail|nachricht)\x20wurde\x20(?:\S+\x20){{0,6}}(?:gesendet|geschickt|verschickt|versandt)\b"
        ))?,
        file: pattern(&format!(
            r"{i}(?:saved|written|wrote|created|stored|exported|updated|added|uploaded|put|generated|placed|copied|moved|renamed|deleted|removed|archived|produced)\b
            |{been}(?:saved|written|created|stored|exported|updated|uploaded|generated|placed|copied|moved|renamed|deleted|archived|produced)\b
            |\b(?:was|were|is|are)\x20(?:now\x20|successfully\x20)?(?:saved|written|stored|exported)\x20(?:to|in|as|at|under)\b
            |^(?:done[:,]?\x20)?(?:saved|wrote|written|created|stored|exported|updated)\x20(?:it|the|an?|your|this|them|to|in|as|all)\b
            |\b(?:habe|haben)\x20(?:\S+\x20){{0,12}}(?:gespeichert|geschrieben|erstellt|abgelegt|angelegt|exportiert|aktualisiert|verschoben|gelöscht)\b
            |\bwurde\x20(?:\S+\x20){{0,8}}(?:gespeichert|erstellt|abgelegt|angelegt|exportiert)\b"
        ))?,
        file_thing: pattern(
            r"\b(?:files?|workspace|folders?|director(?:y|ies)|documents?|spreadsheets?|datei(?:en)?|ordner|arbeitsbereich)\b",
        )?,
        gone: pattern(r"\b(?:moved|renamed|deleted|removed|archived|verschoben|umbenannt|gelöscht|entfernt)\b")?,
        schedule: pattern(&format!(
            r"{i}(?:scheduled|booked|set\x20(?:up\x20)?(?:a\x20|the\x20|your\x20)?reminders?|set\x20up\x20(?:a\x20|the\x20)?(?:meeting|appointment|recurring|call)|created\x20(?:an?\x20|the\x20)?(?:reminder|event|appointment|calendar)|added\x20(?:\S+\x20){{0,10}}calendar|put\x20(?:\S+\x20){{0,10}}calendar)
            |\b(?:meetings?|reminders?|events?|appointments?|calls?|calendar\x20entr(?:y|ies)){been}(?:scheduled|set|created|booked|added)
            |\b(?:meeting|reminder|appointment|event)\x20(?:is|was)\x20(?:now\x20)?(?:scheduled|set|booked)\x20(?:for|at|on)
            |^(?:done[:,]?\x20)?(?:scheduled|booked)\x20(?:it|the|an?|your)\b
            |\b(?:habe|haben)\x20(?:\S+\x20){{0,12}}(?:eingetragen|terminiert|erinnerung\x20(?:gesetzt|angelegt|eingerichtet))"
        ))?,
        not: pattern(
            r"\b(?:not|never|no|nothing|none|cannot|unable|fail(?:ed|s|ure)?|without|unless|until|if|would|could|can|should|will|shall|may|might|blocked|refused|queued|please|nicht|nichts|kein|keine|keinen|konnte|wird|werde|würde|falls|wenn)\b
            |n't\b|n’t\b|\?$",
        )?,
        path: pattern(r"[^\s()\[\]<>,;:!?\x22]+\.[a-z][a-z\d]{0,4}\b")?,
        address: pattern(ADDRESS)?,
        recipients: pattern(&format!(
            r"\b(?:to|an)\x20(?:both\x20)?{ADDRESS}(?:(?:,|,?\x20and|,?\x20und|\x20&)\x20{ADDRESS})+"
        ))?,
    })
});

/// What an answer claims and the ledger does not show.
pub(crate) fn unproven(answer: &str, done: &Done) -> Vec<Unproven> {
    let Some(patterns) = PATTERNS.as_ref() else { return Vec::new() };
    let mut found = Vec::new();
    for sentence in sentences(answer) {
        if patterns.not.is_match(&sentence) {
            continue;
        }
        let kind = if patterns.schedule.is_match(&sentence) && !done.scheduled {
            Kind::Schedule
        } else if patterns.mail.is_match(&sentence) && !mailed(patterns, &sentence, done) {
            Kind::Mail
        } else if patterns.file.is_match(&sentence) && !written(patterns, &sentence, done) {
            Kind::File
        } else {
            continue;
        };
        found.push(Unproven { kind, sentence });
    }
    found
}

/// Whether mail went to those whom the sentence names, or to anybody if it names none.
fn mailed(patterns: &Patterns, sentence: &str, done: &Done) -> bool {
    let addresses = |text: &str| -> Vec<String> {
        patterns.address.find_iter(text).map(|found| found.as_str().to_lowercase()).collect()
    };
    let known = |name: &String| done.mailed.iter().any(|known| known.contains(name));
    // The assistant's own and others may be named beside them: one is enough. In a list after "to" it is every one.
    let named = addresses(sentence);
    !done.mailed.is_empty()
        && (named.is_empty() || named.iter().any(known))
        && patterns.recipients.find_iter(sentence).all(|list| addresses(list.as_str()).iter().all(known))
}

/// Whether it speaks of no file, or of one that was written.
fn written(patterns: &Patterns, sentence: &str, done: &Done) -> bool {
    let named: Vec<_> = patterns
        .path
        .find_iter(sentence)
        .map(|found| found.as_str())
        .filter(|name| !sentence.contains(&format!("@{name}")) && !sentence.contains(&format!("//{name}")))
        .collect();
    if named.is_empty() && !patterns.file_thing.is_match(sentence) {
        return true;
    }
    // What a program moved or took away is no longer there to be seen.
    if done.anything || (done.ran.is_some() && patterns.gone.is_match(sentence)) {
        return true;
    }
    let end = |path: &str| path.rsplit('/').next().unwrap_or(path).to_lowercase();
    let known: BTreeSet<_> = done.files.iter().map(|path| end(path)).collect();
    !known.is_empty() && (named.is_empty() || named.iter().any(|name| known.contains(&end(name))))
}

/// The sentences of an answer, without what it quotes and without its marks.
fn sentences(answer: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut fenced = false;
    for line in answer.lines() {
        let line = line.trim();
        if line.starts_with("```") || line.starts_with("~~~") {
            fenced = !fenced;
            continue;
        }
        if fenced || line.starts_with('>') {
            continue;
        }
        let line =
            line.trim_start_matches(['-', '*', '+', '#', ' ', '•', '✅', '✓', '✔']).replace(['*', '`', '_'], " ");
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut begin = 0;
        for (at, c) in line.char_indices() {
            let ends = matches!(c, '.' | '!' | '?' | ';') && line[at + c.len_utf8()..].starts_with([' ', ')', '"']);
            if ends {
                all.push(line[begin..=at].to_owned());
                begin = at + c.len_utf8();
            }
        }
        all.push(line[begin..].to_owned());
    }
    // What stands in quotation marks is somebody's words.
    let plain = |text: String| text.trim().trim_end_matches(['.', '!', ':']).trim().to_owned();
    let all = all.into_iter().map(plain);
    all.filter(|text| !text.is_empty() && !text.starts_with(['"', '“', '„', '«'])).collect()
}

impl Kind {
    /// What nothing shows, in words.
    fn missing(self) -> &'static str {
        match self {
            Self::Mail => "no such mail was sent by this job",
            Self::File => "no such file was written by this job",
            Self::Schedule => "nothing was scheduled by this job",
        }
    }
}

/// What the model is told.
pub(crate) fn objection(unproven: &[Unproven]) -> String {
    format!(
        "The answer is not handed over yet: it says what the record of this job does not show.\n{}\nDo it now with the \
         tool for it, if it belongs to the task, or say truly what was done and what was not; then call task_complete \
         again.",
        list(unproven)
    )
}

/// What whoever asked is told, below an answer that insists.
pub(crate) fn mark(unproven: &[Unproven]) -> String {
    format!(
        "\n\n---\n\n**Not confirmed.** The record of this job does not show what is said above:\n{}",
        list(unproven)
    )
}

fn list(unproven: &[Unproven]) -> String {
    let lines: Vec<_> = unproven
        .iter()
        .take(10)
        .map(|one| format!("- \"{}\": {}", super::segment::line(&one.sentence, 200), one.kind.missing()))
        .collect();
    lines.join("\n")
}
