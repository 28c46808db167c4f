use std::path::{Path, PathBuf};

use serde_json::json;

use super::entry;
use crate::{
    Cx,
    exit::{Code, Failure, Result},
    text,
    transfer::{self, Fetched, Plan},
};

/// Copy files or directories from the workspace to this machine
///
/// Without --to they come into the current directory under their names; `--to -`
/// prints one file. Local files are not replaced without --force.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl files get summary.md
  assistantctl files get jobs/7/out --to results
  assistantctl files get summary.md --to - | less")]
pub struct Get {
    /// What to copy
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,
    /// A directory to copy into, or the new name of one file; `-` prints it
    #[arg(short, long, value_name = "DEST")]
    to: Option<PathBuf>,
    /// Replace local files
    #[arg(short, long)]
    force: bool,
}

/// Copy files or directories from this machine to the workspace
///
/// Links inside of directories are left out. Files of the workspace are not
/// replaced without --force.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assistantctl files put reports/ notes.md
  assistantctl files put data.csv --to inbox")]
pub struct Put {
    /// What to copy
    #[arg(required = true, value_name = "FILE")]
    paths: Vec<PathBuf>,
    /// Directory of the workspace to copy into
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    to: String,
    /// Replace files of the workspace
    #[arg(short, long)]
    force: bool,
}

pub async fn get(args: Get, cx: &Cx) -> Result {
    if args.to.as_deref() == Some(Path::new("-")) {
        return print(&args.paths, cx).await;
    }
    let mut fetched = Fetched::default();
    for path in &args.paths {
        let last = args.paths.len() > 1 && args.to.is_none() && args.paths.last() == Some(path);
        let entry = entry(&cx.client, path).await.map_err(|err| meant_as_destination(err.into(), last, path))?;
        let to = destination(&entry.name, args.to.as_deref(), entry.is_dir, args.paths.len() > 1)?;
        transfer::fetch(cx, &entry, &to, args.force, &mut fetched).await?;
    }
    if cx.out.json {
        cx.out.json(&json!({ "files": fetched.files, "kept": fetched.kept }))?;
        return Ok(fetched.code());
    }
    for path in &fetched.files {
        cx.out.line(path.display().to_string())?;
    }
    match fetched.kept.as_slice() {
        [] => Ok(Code::Ok),
        [first, rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            Err(Failure::new(Code::Conflict, format!("{}{more} exists here with other content", first.display()))
                .hint("replace it with --force, or choose another place with --to"))
        }
    }
}

/// Where something comes to lie: below a directory that exists, or that several things go to; else under a new name.
fn destination(name: &str, to: Option<&Path>, is_dir: bool, several: bool) -> Result<PathBuf> {
    let safe = Path::new(name).components().all(|part| matches!(part, std::path::Component::Normal(_)));
    match to {
        Some(to) if !several && !to.is_dir() && (is_dir || !to.as_os_str().as_encoded_bytes().ends_with(b"/")) => {
            Ok(to.to_owned())
        }
        _ if !safe || name.is_empty() => Err(Failure::usage("this has no name of its own: name a new one with --to")),
        Some(to) => Ok(to.join(name)),
        None => Ok(name.into()),
    }
}

async fn print(paths: &[String], cx: &Cx) -> Result {
    let [path] = paths else { return Err(Failure::usage("only one file can be printed")) };
    if cx.out.json {
        return Err(Failure::usage("a file's bytes are no JSON").hint("leave out -o json, or copy it to a file"));
    }
    if entry(&cx.client, path).await?.is_dir {
        return Err(Failure::usage(format!("{path} is a directory")).hint("copy it with --to DIR"));
    }
    if !cx.out.terminal {
        transfer::download(&cx.client, path, &mut std::io::stdout().lock()).await?;
        return Ok(Code::Ok);
    }
    let mut bytes = Vec::new();
    transfer::download(&cx.client, path, &mut bytes).await?;
    match String::from_utf8(bytes) {
        Ok(text) => cx.out.text(&text)?,
        Err(_) => return Err(Failure::usage(format!("{path} is not text")).hint("copy it with --to FILE")),
    }
    Ok(Code::Ok)
}

/// The last of several sources that does not exist is often meant as the place to copy to, as `cp` has it.
fn meant_as_destination(failure: Failure, last: bool, path: &str) -> Failure {
    if last && failure.code == Code::NotFound {
        return failure.hint(format!("if it is where to copy to: --to {}", text::one_line(path)));
    }
    failure
}

pub async fn put(args: Put, cx: &Cx) -> Result {
    let mut plan = Plan::default();
    let to = args.to.trim_matches('/');
    for path in &args.paths {
        let last = args.paths.len() > 1 && args.paths.last() == Some(path);
        let name =
            transfer::name(path).map_err(|failure| meant_as_destination(failure, last, &path.to_string_lossy()))?;
        plan.add(path, &if matches!(to, "" | ".") { name } else { format!("{to}/{name}") })?;
    }
    plan.warn(cx);
    let sent = plan.send(cx, args.force).await.map_err(|failure| match failure.code {
        Code::Conflict if !args.force && failure.hint.is_none() => failure.hint("replace it with --force"),
        _ => failure,
    })?;
    if cx.out.json {
        cx.out.json(&json!({ "entries": sent }))?;
        return Ok(Code::Ok);
    }
    for entry in &sent {
        let path = text::one_line(&entry.relative_path);
        let below = format!("{}/", entry.relative_path);
        if !entry.is_dir {
            cx.out.line(path)?;
        } else if !sent.iter().any(|other| other.relative_path.starts_with(&below)) {
            cx.out.line(format!("{path}/"))?;
        }
    }
    Ok(Code::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_come_to_lie_where_expected() {
        let dir = tempfile::tempdir().unwrap();
        let there = Some(dir.path());
        let new = dir.path().join("new");
        assert_eq!(destination("a.md", None, false, false).unwrap(), Path::new("a.md"));
        assert_eq!(destination("a.md", there, false, false).unwrap(), dir.path().join("a.md"));
        assert_eq!(destination("a.md", Some(&new), false, false).unwrap(), new);
        assert_eq!(destination("a.md", Some(&new), false, true).unwrap(), new.join("a.md"));
        assert_eq!(destination("d", Some(&new), true, false).unwrap(), new);
        assert_eq!(destination("a.md", Some(Path::new("out/")), false, false).unwrap(), Path::new("out/a.md"));
        for bad in ["..", "", "/x"] {
            assert!(destination(bad, None, false, false).is_err(), "{bad}");
        }
    }
}
