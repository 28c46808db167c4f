use std::borrow::Cow;

use assistant_api::{
    EmailId, JobId,
    effects::EffectState,
    mail::{
        Artifact, ByHand, Decide, Decision, EmailDetail, MailStatus, Outgoing, OutgoingDetail, OutgoingList, Received,
        ReceivedDetail, ReceivedList, TestResult, Watching,
    },
};
use serde_json::json;

use crate::{
    Cx,
    commands::{confirm, job_id},
    exit::{Code, Result},
    output::{Style, Table, cell, state},
    text,
};

/// See what came by mail, what was decided about it, and what went out
///
/// Each message that comes makes exactly one decision, with its reason.
#[derive(clap::Args)]
#[command(
    subcommand_negates_reqs = true,
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  assistantctl mail
  assistantctl mail --decision stored --search invoice
  assistantctl mail show 12
  assistantctl mail outbox --state unknown"
)]
pub struct Args {
    #[command(flatten)]
    list: List,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(clap::Args)]
struct List {
    /// Only what was decided about in this way: job, joined, answered,
    /// approved, denied, stored, ignored, duplicate, loop, bounce, own,
    /// set_aside
    #[arg(long)]
    decision: Option<Decision>,
    #[command(flatten)]
    page: Page,
}

#[derive(clap::Args)]
struct Page {
    /// Only mail of this job
    #[arg(long, value_name = "ID", value_parser = job_id)]
    job: Option<JobId>,
    /// Only mail with all these words in its addresses or its subject
    #[arg(long, value_name = "WORDS")]
    search: Option<String>,
    /// How many, 1 to 200
    #[arg(short = 'n', long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
    /// Where an earlier list ended
    #[arg(long)]
    cursor: Option<String>,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Try the mailbox, step by step
    ///
    /// TLS and login at both servers, the folders, whether the server tells of new
    /// mail, and a message to itself that has to arrive. For administrators.
    #[command(after_help = "Examples:
  assistantctl mail test")]
    Test,
    /// How it stands with the mailbox
    #[command(after_help = "Examples:
  assistantctl mail status")]
    Status,
    /// Show a message that came
    #[command(after_help = "Examples:
  assistantctl mail show 12
  assistantctl mail show 12 --headers")]
    Show {
        /// The message, as `mail` lists it
        id: i64,
        /// Its headers too
        #[arg(long)]
        headers: bool,
    },
    /// Show an item of a thread, whatever way it came
    #[command(after_help = "Examples:
  assistantctl mail read 31")]
    Read {
        /// The item
        id: EmailId,
    },
    /// List the mail that goes or went out
    #[command(after_help = "Examples:
  assistantctl mail outbox
  assistantctl mail outbox --state unknown
  assistantctl mail outbox --job 7")]
    Outbox {
        /// Only in this state: prepared, dispatched, confirmed, failed, unknown
        #[arg(long)]
        state: Option<EffectState>,
        #[command(flatten)]
        page: Page,
    },
    /// Show a mail that goes or went out
    #[command(after_help = "Examples:
  assistantctl mail sent 5")]
    Sent {
        /// The mail, as `mail outbox` lists it
        id: i64,
    },
    /// Act on a message that was only kept
    ///
    /// You stand for who sent it: it makes a job, or joins the open one of its
    /// thread.
    #[command(after_help = "Examples:
  assistantctl mail accept 12")]
    Accept {
        /// The message, as `mail` lists it
        id: i64,
    },
    /// Say that nothing is to be done about a message
    #[command(after_help = "Examples:
  assistantctl mail ignore 12")]
    Ignore {
        /// The message, as `mail` lists it
        id: i64,
    },
    /// Send a mail again of which nobody knows whether it arrived
    ///
    /// For administrators. If it did arrive, its recipient gets it twice.
    #[command(after_help = "Examples:
  assistantctl mail resend 5 --yes")]
    Resend {
        /// The mail, as `mail outbox --state unknown` lists it
        id: i64,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

pub async fn run(args: Args, cx: &Cx) -> Result {
    match args.verb {
        None => list(args.list, cx).await,
        Some(Verb::Test) => test(cx).await,
        Some(Verb::Status) => status(cx).await,
        Some(Verb::Show { id, headers }) => show(id, headers, cx).await,
        Some(Verb::Read { id }) => read(id, cx).await,
        Some(Verb::Outbox { state, page }) => outbox(state, page, cx).await,
        Some(Verb::Sent { id }) => sent(id, cx).await,
        Some(Verb::Accept { id }) => decide(id, ByHand::Accept, cx).await,
        Some(Verb::Ignore { id }) => decide(id, ByHand::Ignore, cx).await,
        Some(Verb::Resend { id, yes }) => resend(id, yes, cx).await,
    }
}

async fn test(cx: &Cx) -> Result {
    let found: TestResult = cx.client.request("POST", "/api/mail/test").timeout(None).fetch().await?;
    let code = if found.ok { Code::Ok } else { Code::Failed };
    if cx.out.json {
        cx.out.json(&serde_json::to_value(&found).unwrap_or_default())?;
        return Ok(code);
    }
    let mut table = Table::new(&["STEP", "STATE", "TIME", "FOUND"]);
    for step in &found.steps {
        let took = i64::try_from(step.duration_ms).unwrap_or(i64::MAX);
        let said = if step.ok { "ok" } else { "fail" };
        table.row([cell(&step.step), state(said), cell(text::millis(took)), cell(&step.detail)]);
    }
    cx.out.table(&table, "nothing is configured: sudo assistantctl setup --imap-host HOST")?;
    Ok(code)
}

async fn status(cx: &Cx) -> Result {
    let found: MailStatus = cx.client.get("/api/mail").await?;
    if cx.out.json {
        cx.out.json(&serde_json::to_value(&found).unwrap_or_default())?;
        return Ok(Code::Ok);
    }
    let MailStatus { inbox, sends, due, unknown, set_aside, to_archive } = found;
    let watching = match inbox.watching {
        Watching::Off => "not received: there is no email.imap_host",
        Watching::Connecting => "connecting",
        Watching::Fetching => "fetching",
        Watching::Idle => "the server tells of new mail at once",
        Watching::Polling => "looked at now and then: the server cannot tell of new mail",
        Watching::Failing => "no connection; it is tried again",
    };
    field(cx, "Mailbox", inbox.mailbox.as_deref().unwrap_or("none"))?;
    field(cx, "Receiving", watching)?;
    for (name, said) in [("Problem", inbox.error), ("To do", inbox.hint)] {
        if let Some(said) = said {
            field(cx, name, &said)?;
        }
    }
    field(cx, "Sending", if sends { "configured" } else { "not configured" })?;
    field(cx, "Waiting", &format!("{due} to be sent, {to_archive} to be archived"))?;
    field(cx, "For you", &format!("{unknown} unknown, {set_aside} set aside"))?;
    Ok(Code::Ok)
}

async fn list(List { decision, page }: List, cx: &Cx) -> Result {
    let request = cx.client.request("GET", "/api/mail/received").query("limit", page.limit);
    let request = request.maybe("decision", decision.map(Decision::as_str)).maybe("job", page.job);
    let list: ReceivedList = request.maybe("q", page.search).maybe("cursor", page.cursor).fetch().await?;
    if cx.out.json {
        cx.out.json(&json!({ "received": list.received, "next_cursor": list.next_cursor }))?;
        return Ok(Code::Ok);
    }
    let mut table = Table::new(&["ID", "CAME", "FROM", "VERIFIED", "DECISION", "JOB", "SUBJECT"]);
    for Received { id, received_at, from_address, verified, decision, job_id, subject, .. } in &list.received {
        table.row([
            cell(id.to_string()),
            cell(cx.out.when(*received_at)),
            cell(from_address.as_deref().unwrap_or("-")),
            cell(if *verified { "yes" } else { "no" }),
            state(decision.as_str()),
            job_cell(*job_id),
            cell(subject.as_deref().unwrap_or("-")),
        ]);
    }
    cx.out.table(&table, "no mail came")?;
    more(cx, list.next_cursor.as_deref());
    Ok(Code::Ok)
}

async fn outbox(in_state: Option<EffectState>, page: Page, cx: &Cx) -> Result {
    let request = cx.client.request("GET", "/api/mail/outbox").query("limit", page.limit);
    let request = request.maybe("state", in_state.map(EffectState::as_str)).maybe("job", page.job);
    let list: OutgoingList = request.maybe("q", page.search).maybe("cursor", page.cursor).fetch().await?;
    if cx.out.json {
        cx.out.json(&json!({ "outbox": list.outbox, "next_cursor": list.next_cursor }))?;
        return Ok(Code::Ok);
    }
    let mut table = Table::new(&["ID", "AT", "KIND", "STATE", "TRIES", "JOB", "TO", "SUBJECT"]);
    for one in &list.outbox {
        table.row([
            cell(one.id.to_string()),
            cell(cx.out.when(one.sent_at.unwrap_or(one.created_at))),
            cell(&one.kind),
            state(one.state.as_str()),
            cell(one.attempts.to_string()),
            job_cell(one.job_id),
            cell(one.to_addresses.join(", ")),
            cell(&one.subject),
        ]);
    }
    cx.out.table(&table, "no mail went out")?;
    more(cx, list.next_cursor.as_deref());
    Ok(Code::Ok)
}

async fn show(id: i64, with_headers: bool, cx: &Cx) -> Result {
    let detail: ReceivedDetail = cx.client.request("GET", format!("/api/mail/received/{id}")).fetch().await?;
    if cx.out.json {
        cx.out.json(&serde_json::to_value(&detail).unwrap_or_default())?;
        return Ok(Code::Ok);
    }
    let ReceivedDetail { received, headers, email, artifacts } = detail;
    let Received { decision, reason, verified, verification, job_id, decided_by, archive, archive_error, .. } =
        received;
    field(cx, "From", received.from_address.as_deref().unwrap_or("-"))?;
    field(cx, "Subject", received.subject.as_deref().unwrap_or("-"))?;
    field(cx, "Came", &text::utc(received.received_at))?;
    field(cx, "Mailbox", &received.mailbox)?;
    field(cx, "Verified", if verified { "yes" } else { "no" })?;
    if let Some(why) = verification.get("why").and_then(serde_json::Value::as_str) {
        field(cx, "", why)?;
    }
    field(cx, "Decision", decision.as_str())?;
    field(cx, "", &reason)?;
    if let Some(who) = decided_by {
        field(cx, "Decided by", &who)?;
    }
    if let Some(job) = job_id {
        field(cx, "Job", &job.to_string())?;
    }
    if archive != "none" {
        let problem = archive_error.map(|error| format!(": {error}")).unwrap_or_default();
        field(cx, "Archived", &format!("{archive}{problem}"))?;
    }
    files(cx, &artifacts)?;
    if with_headers {
        cx.out.line("")?;
        for (name, value) in headers {
            cx.out.text(&format!("{name}: {value}"))?;
        }
    }
    if let Some(body) = email.and_then(|email| email.body_text) {
        cx.out.line("")?;
        cx.out.text(&body)?;
    }
    Ok(Code::Ok)
}

async fn read(id: EmailId, cx: &Cx) -> Result {
    let detail: EmailDetail = cx.client.request("GET", format!("/api/emails/{id}")).fetch().await?;
    if cx.out.json {
        cx.out.json(&serde_json::to_value(&detail).unwrap_or_default())?;
        return Ok(Code::Ok);
    }
    let EmailDetail { email, artifacts } = detail;
    field(cx, "From", &email.from_address)?;
    field(cx, "To", &email.to_addresses.join(", "))?;
    field(cx, "Subject", &email.subject)?;
    field(cx, "Came", &text::utc(email.received_at))?;
    files(cx, &artifacts)?;
    cx.out.line("")?;
    cx.out.text(email.body_text.as_deref().unwrap_or_default())?;
    Ok(Code::Ok)
}

async fn sent(id: i64, cx: &Cx) -> Result {
    let detail: OutgoingDetail = cx.client.request("GET", format!("/api/mail/outbox/{id}")).fetch().await?;
    if cx.out.json {
        cx.out.json(&serde_json::to_value(&detail).unwrap_or_default())?;
        return Ok(Code::Ok);
    }
    let OutgoingDetail { outgoing, body_text, .. } = detail;
    let Outgoing { state, answer, bounce, attempts, next_attempt_at, job_id, effect_id, .. } = outgoing;
    field(cx, "To", &outgoing.to_addresses.join(", "))?;
    if !outgoing.cc_addresses.is_empty() {
        field(cx, "Cc", &outgoing.cc_addresses.join(", "))?;
    }
    field(cx, "Subject", &outgoing.subject)?;
    field(cx, "Kind", &outgoing.kind)?;
    field(cx, "State", &format!("{} (effect {effect_id}, attempts: {attempts})", state.as_str()))?;
    if let Some(at) = next_attempt_at {
        field(cx, "Next try", &text::utc(at))?;
    }
    for (name, said) in [("Server", answer), ("Came back", bounce)] {
        if let Some(said) = said {
            field(cx, name, &said)?;
        }
    }
    field(cx, "Copy", &outgoing.sent_copy)?;
    if let Some(job) = job_id {
        field(cx, "Job", &job.to_string())?;
    }
    cx.out.line("")?;
    cx.out.text(&body_text)?;
    Ok(Code::Ok)
}

async fn decide(id: i64, decision: ByHand, cx: &Cx) -> Result {
    let path = format!("/api/mail/received/{id}/decide");
    let reply: ReceivedDetail = cx.client.post(&path, &Decide { decision }).await?;
    let received = reply.received;
    if cx.out.json {
        cx.out.json(&serde_json::to_value(&received).unwrap_or_default())?;
        return Ok(Code::Ok);
    }
    cx.out.line(match (received.decision, received.job_id) {
        (Decision::Job, Some(job)) => format!("job {job} works on it"),
        (_, Some(job)) => format!("job {job} has it"),
        (_, None) => "nothing is done about it".to_owned(),
    })?;
    Ok(Code::Ok)
}

async fn resend(id: i64, yes: bool, cx: &Cx) -> Result {
    confirm(yes, "Nobody knows whether it arrived; if it did, its recipient gets it twice. Send it again?")?;
    let reply: OutgoingDetail = cx.client.post(&format!("/api/mail/outbox/{id}/resend"), &json!({})).await?;
    if cx.out.json {
        cx.out.json(&serde_json::to_value(&reply.outgoing).unwrap_or_default())?;
    } else {
        cx.out.line("it will be sent again")?;
    }
    Ok(Code::Ok)
}

fn files(cx: &Cx, artifacts: &[Artifact]) -> Result<()> {
    for one in artifacts {
        let name = one.original_filename.as_deref().unwrap_or(&one.label);
        let scan = &one.scan_status;
        let became = one.markdown_path.clone().or_else(|| one.error.clone());
        let became = became.unwrap_or_else(|| one.conversion_status.clone());
        field(cx, "Attached", &format!("{name}, scan: {scan}, {became}"))?;
    }
    Ok(())
}

fn field(cx: &Cx, name: &str, value: &str) -> Result<()> {
    let name = if name.is_empty() { String::new() } else { format!("{name}:") };
    let name = cx.out.style(Style::Dim, &format!("{name:<12}"));
    cx.out.line(format!("{name}{}", text::one_line(value)))
}

fn job_cell(job: Option<JobId>) -> (Cow<'static, str>, Style) {
    cell(job.map_or_else(|| "-".to_owned(), |id| id.to_string()))
}

fn more(cx: &Cx, cursor: Option<&str>) {
    if let Some(cursor) = cursor.filter(|_| cx.out.terminal) {
        cx.out.note(&format!("there are more: --cursor {}", text::one_line(cursor)));
    }
}
