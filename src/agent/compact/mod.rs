//! What of a conversation goes into the next prompt, so that it always fits.
//!
//! First stage, by rule: answers beyond the window become one digest. Second stage, when the prompt is still longer than
//! `limits.max_prompt_chars`: a model summarizes all but the newest messages, once, and the summary is stored. Whatever
//! happens, the prompt is measured at the end: texts are shortened, then the oldest messages left out, and if even that
//! is not enough the plan says so. A result never goes without its call, nor a call without its result.

mod render;
#[cfg(test)]
mod tests;

use self::render::{Unit, units};
use super::{history::History, segment};
use crate::{llm::Message, policy::Origin};

/// The bounds of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// Of the whole prompt, tools included.
    pub max_chars: usize,
    /// Messages that are kept whole; twice as many start the first stage.
    pub window: usize,
    /// Newest messages that a summary leaves alone.
    pub keep_recent: usize,
    /// Characters of the text that is given to be summarized.
    pub max_transcript: usize,
    /// Whether a summary can still be asked for at this step.
    pub may_summarize: bool,
}

impl Room {
    /// `limits.max_prompt_chars` below this makes no sense.
    pub(crate) const LEAST_CHARS: usize = 10_000;
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Plan {
    /// Ask with these messages.
    Ready(Vec<Message>),
    /// Have everything up to a step summarized first.
    Summarize { upto: i64, transcript: String, origin: Origin },
    /// Nothing that may be left out is left.
    TooLarge { chars: usize },
}

/// Units of which the digest tells more than their number.
const DIGESTED: usize = 40;

/// Plans the next prompt. `fixed` counts the characters of the system prompt and the tools.
pub(crate) fn plan(history: &History, fixed: usize, room: &Room) -> Plan {
    let max = room.max_chars.max(Room::LEAST_CHARS);
    let units = units(history);
    let cut = window(&units, room.window);
    let messages = build(history, &units, cut, None, max);
    if fixed + chars(&messages) <= max {
        return Plan::Ready(messages);
    }
    if room.may_summarize
        && let Some(plan) = summarize(history, &units, room)
    {
        return plan;
    }
    squeeze(history, &units, cut, fixed, max)
}

/// The first unit that is kept: grows in steps of a whole window, so that the prompt's beginning stays the same from one
/// answer to the next and a provider can reuse it.
fn window(units: &[Unit<'_>], window: usize) -> usize {
    let (keep, most) = (window.max(2), (window * 2).max(4));
    // Counted from the beginning, so that it depends on the conversation alone.
    if units.len() > most { (units.len() - most).div_ceil(most - keep + 1) * (most - keep + 1) } else { 0 }
}

/// The second stage, if there is anything to summarize.
fn summarize(history: &History, units: &[Unit<'_>], room: &Room) -> Option<Plan> {
    let keep = room.keep_recent.max(2);
    let mut kept = 0;
    let mut first_kept = units.len();
    while first_kept > 0 && (kept == 0 || kept + units[first_kept - 1].messages() <= keep) {
        first_kept -= 1;
        kept += units[first_kept].messages();
    }
    let older = &units[..first_kept];
    let upto = older.last()?.last_seq;
    let mut text = String::new();
    let mut origin = Origin::Host;
    if let Some((summary, its_origin)) = &history.summary {
        text.push_str(&summary.text);
        origin = origin.least(*its_origin);
    }
    for unit in older {
        origin = origin.least(unit.origin);
        text.push('\n');
        text.push_str(&unit.line(1000, 2000));
    }
    let transcript = tail(&text, room.max_transcript.max(Room::LEAST_CHARS));
    Some(Plan::Summarize { upto, transcript, origin })
}

/// By rule, what a model would have summarized; used when it cannot.
pub(crate) fn by_rule(transcript: &str, max: usize) -> String {
    tail(transcript, max)
}

/// The end of a text.
fn tail(text: &str, max: usize) -> String {
    let all = segment::chars(text);
    if all <= max {
        return text.trim_start().to_owned();
    }
    let end: String = text.chars().skip(all - max).collect();
    format!("[{} earlier characters not shown]\n{end}", all - max)
}

/// The last resort: shorter and shorter texts, then fewer and fewer messages.
fn squeeze(history: &History, units: &[Unit<'_>], cut: usize, fixed: usize, max: usize) -> Plan {
    const CAPS: [usize; 9] = [20_000, 10_000, 5_000, 2_000, 1_000, 500, 200, 80, 40];
    let fits = |messages: &Vec<Message>| fixed + chars(messages) <= max;
    // The newest messages matter most, so older ones go before the newest are cut to pieces.
    for cap in CAPS {
        let messages = build(history, units, cut, Some(cap), max);
        if fits(&messages) {
            return Plan::Ready(messages);
        }
        if cap <= 1_000 {
            let cut = fewest(cut + 1, units.len(), |cut| fits(&build(history, units, cut, Some(cap), max)));
            let messages = build(history, units, cut.min(units.len().saturating_sub(1)), Some(cap), max);
            if fits(&messages) {
                return Plan::Ready(messages);
            }
        }
    }
    let least = build(history, units, units.len().saturating_sub(1), Some(CAPS[CAPS.len() - 1]), max);
    Plan::TooLarge { chars: fixed + chars(&least) }
}

/// The first number of `from..to` that fits, if all after it do; `to` when none does.
fn fewest(from: usize, to: usize, fits: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (from.min(to), to);
    while low < high {
        let middle = low.midpoint(high);
        if fits(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// The messages when the units before `cut` are digested and every text is at most `cap` characters.
fn build(history: &History, units: &[Unit<'_>], cut: usize, cap: Option<usize>, max: usize) -> Vec<Message> {
    let mut first = history.user.clone();
    if let Some((summary, origin)) = &history.summary {
        let text = segment::cut(&summary.text, cap.map_or(max / 4, |cap| cap.saturating_mul(4).min(max / 4)));
        first.push_str("\n\nEarlier steps of this job, summarized:\n");
        first.push_str(&history.fence.wrap("summary", *origin, &text));
    }
    if cut > 0 {
        first.push_str("\n\n");
        first.push_str(&digest(history, &units[..cut], cap.map_or(max / 4, |cap| cap.saturating_mul(4).min(max / 4))));
    }
    let mut messages = vec![Message::User { text: first }];
    for unit in &units[cut..] {
        for message in unit.render(history, cap) {
            match (messages.last_mut(), message) {
                // Some protocols want users and assistants to take turns.
                (Some(Message::User { text }), Message::User { text: more }) => {
                    text.push_str("\n\n");
                    text.push_str(&more);
                }
                (_, message) => messages.push(message),
            }
        }
    }
    messages
}

/// One segment for everything before the window.
fn digest(history: &History, older: &[Unit<'_>], max: usize) -> String {
    let unseen = older.len().saturating_sub(DIGESTED);
    let origin = older.iter().fold(Origin::Host, |origin, unit| origin.least(unit.origin));
    let mut lines = Vec::new();
    let mut left = max.saturating_sub(200);
    for unit in older[unseen..].iter().rev() {
        let line = unit.line(300, 400);
        let long = segment::chars(&line) + 1;
        if long > left {
            break;
        }
        left -= long;
        lines.push(line);
    }
    lines.reverse();
    let missing = older.len() - lines.len();
    if missing > 0 {
        lines.insert(0, format!("[{missing} earlier steps not shown]"));
    }
    format!("Earlier steps of this job, shortened:\n{}", history.fence.wrap("earlier steps", origin, &lines.join("\n")))
}

/// Characters of the messages, as `Request::chars` counts them.
pub(crate) fn chars(messages: &[Message]) -> usize {
    messages.iter().map(Message::chars).sum()
}
