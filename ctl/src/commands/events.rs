use std::time::Duration;

use assistant_api::{EventId, JobId, events::Event};
use serde_json::{Value, json};

use crate::{
    Cx,
    commands::job_id,
    exit::{Code, Result},
    output::Style,
    text,
};

/// Without -f, the stream counts as read to its end when nothing came for this long.
const QUIET: Duration = Duration::from_millis(300);

/// Show what happens in the daemon
///
/// Without -f it shows what is kept after --since-id and ends. With -f it goes
/// on, also over a restart of the daemon, until Ctrl-C.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl events -f
  assistantctl events --since-id 1200 --job 7
  assistantctl events -f -o json | jq .event.kind")]
pub struct Args {
    /// Go on with what happens from now on
    #[arg(short, long)]
    follow: bool,
    /// Begin after this event; 0 is the oldest that is kept
    /// [default: 0, or with -f the newest]
    #[arg(long, value_name = "ID")]
    since_id: Option<EventId>,
    /// Only events of this job
    #[arg(long, value_name = "ID", value_parser = job_id)]
    job: Option<JobId>,
}

pub async fn run(args: Args, cx: &Cx) -> Result {
    let path = args.job.map_or_else(|| "/api/events".to_owned(), |id| format!("/api/events?job={id}"));
    let since = args.since_id.or((!args.follow).then_some(EventId(0)));
    let mut events = cx.client.events(&path, since);
    events.connect().await?;
    loop {
        let quiet = async { if args.follow { std::future::pending().await } else { tokio::time::sleep(QUIET).await } };
        tokio::select! {
            biased;
            event = events.next() => show(cx, &event?)?,
            () = quiet => return Ok(Code::Ok),
        }
    }
}

fn show(cx: &Cx, event: &Event) -> Result<()> {
    if cx.out.json {
        return cx.out.json_line(&json!({ "event": event }));
    }
    let time = if cx.out.terminal { text::clock(event.at) } else { text::utc(event.at) };
    let job = event.job_id.map_or_else(|| "-".to_owned(), |id| format!("job {id}"));
    let kind = text::one_line(&event.kind);
    let head = format!("{:<6}  {time}  {kind:<17}  {job:<8}  ", event.id);
    let data = match &event.data {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                format!("{}={}", text::one_line(name), text::one_line(&value))
            })
            .collect::<Vec<_>>()
            .join(" "),
        other => text::one_line(&other.to_string()),
    };
    let left = cx.out.columns().saturating_sub(text::width(&head)).max(20);
    let state = event.data.get("status").and_then(Value::as_str).map_or(Style::Plain, Style::of);
    cx.out.line(format!("{head}{}", cx.out.style(state, &text::shorten(&data, left))).trim_end())
}
