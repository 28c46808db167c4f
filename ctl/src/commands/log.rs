use std::fmt::Write as _;

use assistant_api::{
    EventId, JobId,
    events::Event,
    log::{LogLevel, LogLine, LogList},
};
use serde_json::{Map, Value, json};

use crate::{
    Cx,
    commands::job_id,
    exit::{Code, Result},
    output::Style,
    text,
};

/// Show the daemon's own log
///
/// The newest lines that the daemon has in memory: the last 2000 at most, since
/// it was started. The journal has all of them: journalctl -u assistantd.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl log
  assistantctl log -f --level warn
  assistantctl log --job 7 -n 1000
  assistantctl log --grep imap -o json")]
pub struct Args {
    /// Go on with what is written from now on, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Lines to begin with, 1 to 2000
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=2000))]
    lines: u32,
    /// Leave out lines that matter less: error, warn, info, debug, trace
    #[arg(long, value_name = "LEVEL")]
    level: Option<LogLevel>,
    /// Only lines about this job
    #[arg(long, value_name = "ID", value_parser = job_id)]
    job: Option<JobId>,
    /// Only lines with this text in them, in whatever case
    #[arg(long, value_name = "TEXT")]
    grep: Option<String>,
}

pub async fn run(args: Args, cx: &Cx) -> Result {
    let wanted = |path| {
        let request = cx.client.request("GET", path).maybe("level", args.level.map(LogLevel::as_str));
        request.maybe("job", args.job).maybe("text", args.grep.as_ref())
    };
    let list: LogList = wanted("/api/log").query("limit", args.lines).fetch().await?;
    if cx.out.json && !args.follow {
        cx.out.json(&list)?;
        return Ok(Code::Ok);
    }
    for line in &list.lines {
        show(cx, line)?;
    }
    if !args.follow {
        return Ok(Code::Ok);
    }
    // Behind the last line that was seen; without one, what is written from now on.
    let seen = list.lines.last().map(|line| EventId(line.id));
    let mut events = wanted("/api/log/stream").events(seen);
    loop {
        if let Some(line) = line(events.next().await?) {
            show(cx, &line)?;
        }
    }
}

/// The line that an event of the stream is.
fn line(event: Event) -> Option<LogLine> {
    let Event { id, at, job_id, data, .. } = event;
    let text = |name: &str| data.get(name).and_then(Value::as_str);
    Some(LogLine {
        id: id.0,
        at,
        job_id,
        level: text("level")?.parse().ok()?,
        target: text("target")?.to_owned(),
        text: text("text")?.to_owned(),
        fields: data.get("fields").and_then(Value::as_object).cloned().unwrap_or_else(Map::new),
    })
}

fn show(cx: &Cx, line: &LogLine) -> Result<()> {
    if cx.out.json {
        return cx.out.json_line(&json!({ "line": line }));
    }
    let time = if cx.out.terminal { text::clock(line.at) } else { text::utc(line.at) };
    let style = match line.level {
        LogLevel::Error => Style::Bad,
        LogLevel::Warn => Style::Attention,
        _ => Style::Plain,
    };
    let level = cx.out.style(style, &format!("{:<5}", line.level.as_str()));
    let job = line.job_id.map_or_else(String::new, |id| format!("job {id}: "));
    let mut fields = String::new();
    for (name, value) in &line.fields {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        _ = write!(fields, " {}={}", text::one_line(name), text::one_line(&value));
    }
    let text = text::one_line(&line.text);
    cx.out.line(format!("{time}  {level}  {job}{text}{}", cx.out.style(Style::Dim, &fields)))
}
