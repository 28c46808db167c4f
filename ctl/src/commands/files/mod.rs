//! `assistantctl files ...`: the workspace.

mod copy;

use assistant_api::{
    client::{Client, Error},
    workspace::{ConvertReply, ConvertRequest, Deleted, Entry, ItemReply, Restore, Trash, Trashed},
};
use serde_json::json;

use crate::{
    Cx,
    commands::confirm,
    exit::{Code, Failure, Result},
    output::{Style, Table, cell},
    text, transfer,
};

/// Look at the files of the workspace, copy them, remove them
#[derive(clap::Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:
  assistantctl files ls jobs/7
  assistantctl files put reports/ notes.md
  assistantctl files get summary.md"
)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    Ls(Ls),
    Get(copy::Get),
    Put(copy::Put),
    Convert(Convert),
    Rm(Rm),
    Trash(ListTrash),
    Restore(Restored),
}

/// List a directory of the workspace
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl files ls
  assistantctl files ls jobs/7 -r")]
struct Ls {
    /// The directory, or one file
    #[arg(default_value = ".")]
    path: String,
    /// With everything below it
    #[arg(short, long)]
    recursive: bool,
}

/// Make Markdown, HTML, PDF or DOCX of a document
///
/// The result lies beside the document, under a free name.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl files convert report.docx markdown
  assistantctl files convert notes.md pdf --to out/notes.pdf")]
struct Convert {
    /// The document
    path: String,
    /// What to make of it
    #[arg(value_parser = ["markdown", "html", "pdf", "docx"])]
    format: String,
    /// Put it here instead of beside the document
    #[arg(long, value_name = "PATH")]
    to: Option<String>,
    /// Move the document to the trash afterwards
    #[arg(long)]
    delete_original: bool,
}

/// Move files or directories to the trash
///
/// From there `files restore` brings them back until the retention ends. What
/// lies in the trash already is removed for good; that asks first.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl files rm old.md drafts/")]
struct Rm {
    /// What to remove
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,
    /// Do not ask before removing for good
    #[arg(short, long)]
    yes: bool,
}

/// List what lies in the trash, newest first
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl files trash")]
struct ListTrash {}

/// Bring something back from the trash
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl files restore old.md
  assistantctl files restore old.md --to new.md")]
struct Restored {
    /// Where it was, or where it lies in the trash
    path: String,
    /// Put it here instead of where it was
    #[arg(long, value_name = "PATH")]
    to: Option<String>,
}

pub async fn run(args: Args, cx: &Cx) -> Result {
    match args.verb {
        Verb::Ls(args) => ls(args, cx).await,
        Verb::Get(args) => copy::get(args, cx).await,
        Verb::Put(args) => copy::put(args, cx).await,
        Verb::Convert(args) => convert(args, cx).await,
        Verb::Rm(args) => rm(args, cx).await,
        Verb::Trash(args) => trash(args, cx).await,
        Verb::Restore(args) => restore(args, cx).await,
    }
}

/// What is at a path; the root counts as a directory.
async fn entry(client: &Client, path: &str) -> Result<Entry, Error> {
    let reply: ItemReply = client.request("GET", "/api/workspace/metadata").query("path", path).fetch().await?;
    Ok(reply.item)
}

async fn ls(args: Ls, cx: &Cx) -> Result {
    // Asked first: a path that is not there is `not_found` here, and a file is shown by itself.
    let at = entry(&cx.client, &args.path).await?;
    let (entries, truncated) = if at.is_dir {
        let tree = transfer::list(cx, &args.path, args.recursive).await?;
        (tree.entries, tree.truncated)
    } else {
        (vec![at], false)
    };
    if cx.out.json {
        cx.out.json(&json!({ "entries": entries, "truncated": truncated }))?;
        return Ok(Code::Ok);
    }
    let mut table = Table::new(&["SIZE", "CHANGED", "NAME"]);
    for entry in &entries {
        let nanos = entry.mtime_ns.parse().ok().and_then(|nanos| jiff::Timestamp::from_nanosecond(nanos).ok());
        let name = if args.recursive { &entry.relative_path } else { &entry.name };
        let (size, name) = if entry.is_dir {
            ("-".to_owned(), (format!("{name}/").into(), Style::Busy))
        } else {
            (text::bytes(entry.size_bytes), cell(name))
        };
        table.row([cell(size), cell(nanos.map(|at| cx.out.when(at)).unwrap_or_default()), name]);
    }
    cx.out.table(&table, "nothing is in it")?;
    if truncated {
        cx.out.note("warning: there is more than is listed here");
    }
    Ok(Code::Ok)
}

async fn convert(args: Convert, cx: &Cx) -> Result {
    let Convert { path, format, to, delete_original } = args;
    let asked = ConvertRequest { path, output_format: format, destination_path: to, delete_original };
    let made: ConvertReply = cx.client.request("POST", "/api/workspace/convert").json(&asked).fetch().await?;
    if cx.out.json {
        cx.out.json(&made)?;
        return Ok(Code::Ok);
    }
    cx.out.line(&made.file.relative_path)?;
    Ok(Code::Ok)
}

async fn rm(args: Rm, cx: &Cx) -> Result {
    let mut removed = Vec::new();
    for path in &args.paths {
        // Asked first: a path that is not there is `not_found` here.
        let found = entry(&cx.client, path).await?;
        if !args.yes && is_trashed(cx, &found.relative_path).await? {
            confirm(false, &format!("Remove {path} for good?"))?;
        }
        let request = cx.client.request("DELETE", "/api/workspace/file").query("path", path);
        let deleted: Deleted = request.fetch().await?;
        if !cx.out.json {
            let end = if deleted.permanent { "is gone for good" } else { "is in the trash" };
            cx.out.line(format!("{} {end}", text::one_line(&deleted.deleted_path)))?;
        }
        removed.push(deleted);
    }
    if cx.out.json {
        cx.out.json(&json!({ "removed": removed }))?;
    }
    Ok(Code::Ok)
}

/// Whether a path lies in the trash. Only hidden directories can be it, and nothing else is looked up.
async fn is_trashed(cx: &Cx, path: &str) -> Result<bool> {
    if !path.starts_with('.') {
        return Ok(false);
    }
    let within = |trashed: &Trashed| {
        path.strip_prefix(&trashed.trash_path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    Ok(trashed(cx).await?.iter().any(within))
}

/// Everything in the trash, newest first.
async fn trashed(cx: &Cx) -> Result<Vec<Trashed>> {
    let mut all = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let request = cx.client.request("GET", "/api/workspace/trash").maybe("cursor", cursor);
        let page: Trash = request.fetch().await?;
        all.extend(page.entries);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(all);
        }
    }
}

async fn trash(_: ListTrash, cx: &Cx) -> Result {
    let entries = trashed(cx).await?;
    if cx.out.json {
        cx.out.json(&json!({ "entries": entries }))?;
        return Ok(Code::Ok);
    }
    let mut table = Table::new(&["REMOVED", "BY", "SIZE", "WAS"]);
    for entry in &entries {
        let by = entry.job_id.map_or_else(|| "-".to_owned(), |id| format!("job {id}"));
        let name = format!("{}{}", entry.original_path, if entry.is_dir { "/" } else { "" });
        table.row([cell(cx.out.when(entry.deleted_at)), cell(by), cell(text::bytes(entry.size_bytes)), cell(name)]);
    }
    cx.out.table(&table, "the trash is empty")?;
    Ok(Code::Ok)
}

async fn restore(args: Restored, cx: &Cx) -> Result {
    let wanted = args.path.trim_start_matches("./").trim_end_matches('/');
    let found = trashed(cx).await?;
    // The newest of that name, as the list begins with it.
    let found = found.into_iter().find(|entry| entry.original_path == wanted || entry.trash_path == wanted);
    let Some(Trashed { trash_path, .. }) = found else {
        return Err(Failure::new(Code::NotFound, format!("{wanted} is not in the trash"))
            .hint("assistantctl files trash lists what is"));
    };
    let reply: ItemReply =
        cx.client.post("/api/workspace/restore", &Restore { trash_path, destination_path: args.to }).await?;
    if cx.out.json {
        cx.out.json(&reply)?;
    } else {
        cx.out.line(format!("{} is back", text::one_line(&reply.item.relative_path)))?;
    }
    Ok(Code::Ok)
}
