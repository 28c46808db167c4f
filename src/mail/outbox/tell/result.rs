//! The result goes to who asked, as an answer in their thread: to them alone, and once.

use std::collections::BTreeSet;

use assistant_api::EventId;
use jiff::Timestamp;
use rusqlite::Connection;

use super::{Concerned, Telling, admin, letters};
use crate::{
    cx::Cx,
    error::Result,
    mail::{
        compose::recipients,
        outbox::{Kind, store},
    },
};

/// Share of the words of a result that a mail has to hold to count as that result.
const ENOUGH: f64 = 0.6;

/// A job is done.
pub(super) async fn completed(cx: &Cx, concerned: &Concerned) -> Result<()> {
    let (Some(asker), Some(requester)) = (concerned.asker(), concerned.requester.clone()) else { return Ok(()) };
    let text = |key: &str| concerned.job.metadata.get(key).and_then(serde_json::Value::as_str).map(str::to_owned);
    let (Some(response), Some(at)) = (text("final_response"), text("final_response_at")) else { return Ok(()) };
    let (job, address, told) = (concerned.job.id, asker.email.to_string(), response.clone());
    let last_at = requester.last_at;
    let told = cx.store.read(move |conn| has_told(conn, job, &address, last_at, &told)).await?;
    if told {
        return Ok(());
    }
    let telling = Telling {
        kind: Kind::Result,
        once: format!("result:{job}:{at}"),
        to: asker,
        subject: letters::answer_subject(&requester.subject, None),
        body: response,
        target: concerned.target(),
        code: None,
    };
    super::tell(cx, concerned, telling).await
}

/// A job has failed: who asked is not left without an answer. The admin hears of it in another way.
pub(super) async fn failed(cx: &Cx, concerned: &Concerned, reason: &str, event: EventId) -> Result<()> {
    let config = cx.config.load_full();
    let (Some(asker), Some(requester)) = (concerned.asker(), &concerned.requester) else { return Ok(()) };
    if admin(&config).is_some_and(|admin| recipients::same(&admin.email, &asker.email)) {
        return Ok(());
    }
    let telling = Telling {
        kind: Kind::Result,
        once: format!("failed:{}:{event}", concerned.job.id),
        to: asker,
        subject: letters::answer_subject(&requester.subject, None),
        body: format!("This could not be done:\n\n{}", letters::quoted(reason)),
        target: concerned.target(),
        code: None,
    };
    super::tell(cx, concerned, telling).await
}

/// Whether the model has mailed the result to who asked, after the last thing that came from them. A mail that only says
/// how far it has come, or asks something, holds another text and is none.
fn has_told(
    conn: &Connection,
    job: assistant_api::JobId,
    address: &str,
    since: Timestamp,
    response: &str,
) -> Result<bool> {
    let bodies = store::written_to(conn, job, address, since)?;
    Ok(bodies.iter().any(|body| holds(body, response)))
}

/// Whether a text holds what another one says: most of its words, and every number.
fn holds(body: &str, response: &str) -> bool {
    let words = |text: &str| -> BTreeSet<String> {
        let split = text.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase);
        split.filter(|word| word.chars().count() > 2 || word.chars().any(char::is_numeric)).collect()
    };
    let (there, wanted) = (words(body), words(response));
    if wanted.is_empty() {
        return body.contains(response.trim());
    }
    let number = |word: &&String| word.chars().any(char::is_numeric);
    if wanted.iter().filter(number).any(|word| !there.contains(word)) {
        return false;
    }
    let found = wanted.iter().filter(|word| there.contains(*word)).count();
    #[expect(clippy::cast_precision_loss, reason = "a share of some words")]
    let share = found as f64 / wanted.len() as f64;
    share >= ENOUGH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_mail_with_the_result_counts() {
        let result = "The three quotes add up to 1,240 EUR; the cheapest is from Berg (380 EUR).";
        assert!(holds(&format!("Hello,\n\n{result}\n\nAda"), result));
        assert!(holds("The cheapest of the quotes is from Berg (380 EUR), the three add up to 1,240 EUR.", result));
        for other in [
            "I have begun with the three quotes and will come back to you.",
            "Which of the three quotes do you mean: the one from Berg?",
            "The three quotes add up to 1,340 EUR; the cheapest is from Berg (380 EUR).",
            "",
        ] {
            assert!(!holds(other, result), "{other}");
        }
        assert!(holds("Ja!", "Ja") && !holds("Nein", "Ja"));
    }
}
