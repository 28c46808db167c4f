use assistant_api::notify::{Notifications, NotifyWay};

use crate::{
    Cx,
    exit::{Code, Result},
    output::{Style, Table, cell, state},
    text,
};

/// Show who is told of what, and what was told last
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl notifications
  sudo assistantctl config set admin.email ada@example.org")]
pub struct Args {}

pub async fn run(_: Args, cx: &Cx) -> Result {
    let found: Notifications = cx.client.get("/api/notifications").await?;
    if cx.out.json {
        cx.out.json(&found)?;
        return Ok(Code::Ok);
    }
    for way in &found.ways {
        let to = way.to.as_deref().unwrap_or(if way.way == "requester" { "whoever asked" } else { "nobody" });
        cx.out.line(cx.out.style(Style::Bold, &format!("{}: {}", name(way), text::one_line(to))))?;
        if let Some(problem) = &way.problem {
            cx.out.line(format!("  off: {}", text::one_line(problem)))?;
        }
        for when in &way.told {
            cx.out.line(format!("  - {}", text::one_line(when)))?;
        }
        cx.out.line(format!("  keys: {}\n", way.keys.join(", ")))?;
    }
    let mut table = Table::new(&["WHEN", "WAY", "TO", "WHAT", "JOB", "SUBJECT", "STATE"]);
    for notice in &found.lately {
        table.row([
            cell(cx.out.when(notice.at)),
            cell(&notice.way),
            cell(text::one_line(&notice.to)),
            cell(notice.kind.replace('_', " ")),
            cell(notice.job_id.map_or_else(|| "-".to_owned(), |id| id.to_string())),
            cell(text::one_line(&notice.subject)),
            state(notice.state.as_str()),
        ]);
    }
    cx.out.table(&table, "nothing was told yet")?;
    Ok(Code::Ok)
}

fn name(way: &NotifyWay) -> &str {
    match way.way.as_str() {
        "owner" => "mail to the owner",
        "requester" => "mail to who asked",
        other => other,
    }
}
