//! What stands in the mails that the daemon writes itself.

use assistant_api::jobs::Needs;

use super::Concerned;
use crate::{config::Config, mail::compose};

/// What it is called.
fn name(config: &Config) -> &str {
    config.identity.name.as_deref().unwrap_or(&config.app.name)
}

/// One line of a subject, with what is to stand before it.
pub(super) fn subject(config: &Config, before: &str, about: &str, code: Option<&str>) -> String {
    let code = code.map(|code| format!(" [{code}]")).unwrap_or_default();
    let before = format!("[{}] {before}", name(config));
    let room = 235_usize.saturating_sub(before.chars().count() + code.len());
    let about: String = about.split_whitespace().collect::<Vec<_>>().join(" ");
    let about: String = about.chars().filter(|c| !c.is_control()).take(room).collect();
    let line = if about.is_empty() { before } else { format!("{before}: {about}") };
    format!("{}{code}", line.chars().filter(|c| !c.is_control()).take(225).collect::<String>())
}

/// The subject of an answer, with a code behind it.
pub(super) fn answer_subject(subject: &str, code: Option<&str>) -> String {
    let subject: String = compose::reply_subject(subject).chars().take(220).collect();
    code.map_or_else(|| subject.clone(), |code| format!("{} [{code}]", subject.trim_end()))
}

/// A text of a model or of a program as a quotation: what stands in it is nobody's markup.
pub(super) fn quoted(text: &str) -> String {
    let text: String = text.chars().take(8000).collect();
    // Longer than any fence in the text.
    let fence = "`".repeat(text.split(|c| c != '`').map(str::len).max().unwrap_or(0).max(2) + 1);
    format!("{fence}\n{}\n{fence}", text.trim())
}

/// Where to look at the job, and how to act on it.
pub(super) fn ways(config: &Config, concerned: &Concerned, needs: Option<&Needs>) -> String {
    let id = concerned.job.id;
    let mut lines = vec![
        format!("- in the dashboard: {}/admin/jobs/{id}", config.app.base_url.trim_end_matches('/')),
        format!("- on the host: `assistantctl job show {id}`"),
    ];
    if let Some(command) = needs.map(|needs| needs.command.as_str()).filter(|command| !command.is_empty()) {
        lines.push(format!("- and to act: `{command}`"));
    }
    lines.join("\n")
}

/// What the job is, for somebody who has many.
pub(super) fn about(concerned: &Concerned) -> String {
    let from = concerned.requester.as_ref().map(|requester| format!(" for {}", requester.address)).unwrap_or_default();
    let subject: String = concerned.subject.split_whitespace().collect::<Vec<_>>().join(" ");
    let subject: String = subject.chars().filter(|c| !c.is_control() && *c != '`').take(200).collect();
    format!("job {} (`{subject}`){from}", concerned.job.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_always_fits_into_the_subject() {
        let config = Config::default();
        let code = "K7QM-2XWR-9TBA";
        for about in ["", "Report", &"ü".repeat(500), "a\r\nBcc: evil@evil.example"] {
            for line in
                [subject(&config, "Approve a call of job 7?", about, Some(code)), answer_subject(about, Some(code))]
            {
                assert!(line.ends_with("[K7QM-2XWR-9TBA]") && line.chars().count() <= 240, "{line}");
                assert!(!line.chars().any(char::is_control));
            }
        }
    }

    #[test]
    fn nothing_leaves_a_quotation() {
        assert_eq!(quoted("a ``` b"), "````\na ``` b\n````");
        assert_eq!(quoted("x"), "```\nx\n```");
    }
}
