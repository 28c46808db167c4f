//! A job waits for a person: who asked, or the owner, gets the question with a code by which a reply decides.

use assistant_api::jobs::JobStatus;
use serde_json::Value;

use super::{Concerned, StatusEvent, Telling, admin, digest, letters};
use crate::{
    cx::Cx,
    error::Result,
    jobs::{self, Approval, NeedsWhat},
    mail::{codes, outbox::Kind},
};

/// A job has gone to review.
pub(super) async fn asked(cx: &Cx, concerned: &Concerned, event: &StatusEvent) -> Result<()> {
    let job = concerned.job.id;
    // Somebody has answered it meanwhile.
    if concerned.job.status != JobStatus::NeedsReview {
        return Ok(());
    }
    let config = cx.config.load_full();
    let (request, approval) = cx
        .store
        .read(move |conn| {
            let request = codes::request(conn, &jobs::get(conn, job)?)?;
            let id = request.as_ref().and_then(|request| request.approval_id);
            let approval = id.map(|id| jobs::approvals::get(conn, id)).transpose()?.flatten();
            Ok((request, approval))
        })
        .await?;
    let Some(request) = request else { return super::trouble::job(cx, concerned, &event.reason, None).await };
    let needs = event.needs.as_ref();
    let ways = letters::ways(&config, concerned, needs);
    let about = letters::about(concerned);
    let once = |kind: &str| format!("{kind}:{job}:{}", digest(&request.key));
    let code = codes::random()?;

    if request.what == "answer" {
        let to_asker = event.reason.starts_with(NeedsWhat::FOR_REQUESTER);
        let question =
            event.reason.trim_start_matches(NeedsWhat::FOR_REQUESTER).trim_start_matches(NeedsWhat::FOR_ADMIN);
        // Who cannot be written to is asked through the owner.
        let asker = concerned.asker().filter(|_| to_asker);
        let telling = if let (Some(asker), Some(requester)) = (asker, &concerned.requester) {
            Telling {
                kind: Kind::Question,
                once: once("question"),
                to: asker,
                subject: letters::answer_subject(&requester.subject, Some(&code)),
                body: format!(
                    "{question}\n\n---\n\nReply to this mail with your answer, and leave the subject as it is."
                ),
                target: concerned.target(),
                code: Some((code, request)),
            }
        } else {
            let Some(admin) = admin(&config) else { return Ok(()) };
            let target = concerned.target().filter(|_| concerned.asked_by(&admin));
            Telling {
                kind: Kind::Question,
                once: once("question"),
                to: admin,
                subject: letters::subject(
                    &config,
                    &format!("input required for job {job}"),
                    &concerned.subject,
                    Some(&code),
                ),
                body: format!(
                    "The {about} asks:\n\n{}\n\nReply to this mail with your answer, and leave the subject as it is; or\n\n{ways}",
                    letters::quoted(question)
                ),
                target,
                code: Some((code, request)),
            }
        };
        return super::tell(cx, concerned, telling).await;
    }
    let Some(admin) = admin(&config) else { return Ok(()) };
    let target = concerned.target().filter(|_| concerned.asked_by(&admin));
    let (kind, before, body) = match (request.what.as_str(), approval) {
        ("approval", Some(approval)) => (
            Kind::Approval,
            format!("approve a call of job {job}?"),
            format!(
                "The {about} wants to do exactly this:\n\n{}\n\nIt is asked because {} (rule `{}`).\n\nReply to this mail \
                 with `approve` or `deny` on the first line, and leave the subject as it is; or\n\n{ways}",
                call(&approval),
                approval.reason.replace('`', "'"),
                approval.rule.replace('`', "'"),
            ),
        ),
        ("limits", _) => (
            Kind::Approval,
            format!("more room for job {job}?"),
            format!(
                "The {about} has come to its limits:\n\n{}\n\nReply to this mail with `approve` on the first line, and it \
                 goes on with {} times of what it had, or with `deny`; leave the subject as it is. Or\n\n{ways}",
                letters::quoted(&event.reason),
                config.mail.approval_increase_factor,
            ),
        ),
        _ => return super::trouble::job(cx, concerned, &event.reason, needs).await,
    };
    let telling = Telling {
        kind,
        once: once("approval"),
        to: admin,
        subject: letters::subject(&config, &before, &concerned.subject, Some(&code)),
        body,
        target,
        code: Some((code, request)),
    };
    super::tell(cx, concerned, telling).await
}

/// The call as people read it: its arguments one by one, long texts in full and each in a quotation of its own.
fn call(approval: &Approval) -> String {
    let mut lines = vec![format!("**{}**", approval.tool)];
    let Value::Object(arguments) = &approval.args else {
        return format!("**{}**\n\n{}", approval.tool, letters::quoted(&approval.args.to_string()));
    };
    for (name, value) in arguments {
        let text = match value {
            Value::String(text) => text.clone(),
            other => serde_json::to_string_pretty(other).unwrap_or_default(),
        };
        lines.push(format!("{}:\n\n{}", name.replace('`', "'"), letters::quoted(&text)));
    }
    lines.push(format!("(The call's hash is `{}`.)", &approval.args_hash[..approval.args_hash.len().min(16)]));
    lines.join("\n\n")
}
