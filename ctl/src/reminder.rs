//! What mail does not tell the owner is told at their next command, below its output.

use std::time::Duration;

use assistant_api::notify::Untold;

use crate::{Cx, output::Style, progress, text};

/// How long a command that is done waits for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Says it to a person; a program, and a person whose daemon does not answer, hear nothing.
pub async fn remind(cx: &Cx) {
    if cx.out.json || !cx.out.terminal || !cx.out.error_terminal {
        return;
    }
    let asked = cx.client.request("POST", "/api/notifications/untold").timeout(Some(PATIENCE));
    // The command itself has its result: that nothing can be added to it is no failure of it.
    let Ok(untold) = asked.fetch::<Untold>().await else { return };
    let said = sentences(&untold);
    if !said.is_empty() {
        progress::tell(&format!("\n{}", cx.out.style(Style::Attention, &said.join("\n"))));
    }
}

fn sentences(untold: &Untold) -> Vec<String> {
    let jobs = |count: i64, one: &str, more: &str| match count {
        1 => format!("1 job {one}"),
        count => format!("{} jobs {more}", text::grouped(count)),
    };
    let mut said = Vec::new();
    if untold.waiting > 0 {
        said.push(format!("{}: assistantctl status", jobs(untold.waiting, "waits for a person", "wait for a person")));
    }
    if let Some(newest) = untold.failed_jobs.first() {
        said.push(format!("{}: assistantctl job show {newest}", jobs(untold.failed, "has failed", "have failed")));
    }
    if let Some(problem) = &untold.commands {
        said.push(format!("commands cannot run: {}: assistantctl doctor", text::one_line(problem)));
    }
    if let (Some(why), false) = (&untold.no_mail, said.is_empty()) {
        said.push(format!("No mail tells of it: {}.", text::one_line(why)));
    }
    said
}

#[cfg(test)]
mod tests {
    use assistant_api::JobId;

    use super::*;

    #[test]
    fn it_says_what_there_is() {
        let nothing = Untold { no_mail: Some("admin.email is not set".into()), ..Untold::default() };
        assert!(sentences(&nothing).is_empty() && sentences(&Untold::default()).is_empty());
        let all = Untold {
            waiting: 1,
            failed: 1200,
            failed_jobs: vec![JobId(9), JobId(8)],
            commands: Some("no\nlandlock".into()),
            ..nothing
        };
        assert_eq!(
            sentences(&all),
            [
                "1 job waits for a person: assistantctl status",
                "1,200 jobs have failed: assistantctl job show 9",
                "commands cannot run: no landlock: assistantctl doctor",
                "No mail tells of it: admin.email is not set.",
            ]
        );
    }
}
