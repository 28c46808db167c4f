//! Script runs: a command that a person runs, with a transcript of it in the workspace.

use std::fmt::Write as _;

use assistant_api::{
    Role,
    sandbox::{CommandResult, ScriptReply, ScriptRequest},
};
use jiff::Timestamp;

use super::{Asked, tools::target};
use crate::{
    cx::Cx,
    error::{Error, Result},
    root::{Mode, RelPath},
    sandbox,
    workspace::{self, Actor},
};

/// Where transcripts go.
const FOLDER: &str = "script-runs";
/// Characters of a transcript's name that tell what was run.
const LABEL: usize = 120;

/// Runs it and writes the transcript, also of a command that failed or could not be run.
///
/// # Errors
/// `sandbox_disabled`, and nothing is written; `validation` or `invalid` naming the field; what a write can give.
pub(super) async fn run(cx: &Cx, role: Role, asked: ScriptRequest) -> Result<ScriptReply> {
    sandbox::check_enabled(&cx.config.load())?;
    let root = cx.root()?;
    let path = asked.path.as_deref().map(|path| root.rel(path)).transpose().map_err(|err| err.field("path"))?;
    if let Some(path) = path.as_ref().filter(|_| asked.command.is_empty()) {
        let (root, path) = (root.clone(), path.clone());
        let there = tokio::task::spawn_blocking(move || Ok((root.metadata(&path)?.is_some(), path)));
        if let (false, path) = there.await.map_err(Error::internal).flatten()? {
            return Err(Error::not_found("file", path.as_str()).field("path"));
        }
    }
    let command = match (asked.command, &path) {
        (command, _) if !command.is_empty() => command,
        (_, Some(path)) => by_extension(path)?,
        _ => return Err(Error::validation("neither a path nor a command was given").field("command")),
    };
    let own = |path: &RelPath| path.parent().map_or_else(String::new, |folder| folder.as_str().to_owned());
    let workdir = asked.workdir.or_else(|| path.as_ref().map(own)).unwrap_or_default();
    let run = Asked {
        command,
        workdir,
        timeout: asked.timeout_seconds,
        level: cx.config.load().sandbox.level.0,
        stdin: false,
    };
    let exec = run.exec(cx)?;
    let began = cx.clock.now();
    let (result, error) = match super::run(cx, None, &exec, |_| ()).await {
        Ok(ran) => (Some(ran.result), None),
        Err(err) => {
            let hint = err.hint_text().map(|hint| format!("; {hint}")).unwrap_or_default();
            (None, Some(format!("{}{hint}", err.message())))
        }
    };
    let label = path.as_ref().and_then(|path| path.name()).map_or_else(|| target(&run.command), str::to_owned);
    let name = format!("{FOLDER}/{}-{}.md", began.strftime("%Y%m%dT%H%M%S%3fZ"), slug(&label));
    let source = path.as_ref().map(|path| path.as_str().to_owned());
    let text = transcript(&run, source.as_deref(), began, cx.clock.now(), result.as_ref(), error.as_deref());
    let actor = Actor::person(role, "file_write", &name);
    let file = workspace::write(cx, &actor, name, text.into_bytes(), Mode::CreateOnly).await?;
    Ok(ScriptReply { file, result, command: run.command, workdir: exec.cwd, error })
}

/// What runs a file with this ending, if nothing else was said.
fn by_extension(path: &RelPath) -> Result<Vec<String>> {
    let name = path.name().unwrap_or_default();
    let interpreter = match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("py") => "python3",
        Some("sh" | "bash") => "bash",
        Some("js" | "mjs" | "cjs") => "node",
        Some("rb") => "ruby",
        Some("pl") => "perl",
        _ => {
            return Err(Error::invalid("nothing is known to run a file with this ending")
                .field("path")
                .hint("give the command as well, such as [\"python3\", \"script.txt\"]"));
        }
    };
    // In its own folder; a name that begins with a dash is no option.
    Ok(vec![interpreter.to_owned(), format!("./{name}")])
}

/// A part of a file name.
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for char in text.chars() {
        let char = if char.is_ascii_alphanumeric() || matches!(char, '.' | '_') { char } else { '-' };
        if !(char == '-' && slug.ends_with('-')) {
            slug.push(char);
        }
    }
    let slug: String = slug.trim_matches(['-', '.']).chars().take(LABEL).collect();
    if slug.is_empty() { "command".to_owned() } else { slug }
}

fn transcript(
    run: &Asked,
    source: Option<&str>,
    began: Timestamp,
    ended: Timestamp,
    result: Option<&CommandResult>,
    error: Option<&str>,
) -> String {
    let mut text = String::from("# Script run\n\n");
    let mut field = |name: &str, value: &str| _ = writeln!(text, "- {name}: {value}");
    field("Command", &code(&run.command.join(" ")));
    field("Directory", &code(if run.workdir.is_empty() { "." } else { &run.workdir }));
    if let Some(source) = source {
        field("Source", &code(source));
    }
    field("Began", &began.to_string());
    field("Ended", &ended.to_string());
    if let Some(result) = result {
        field("Duration", &format!("{} ms", result.duration_ms));
        field("Exit code", &result.exit_code.map_or_else(|| "none".to_owned(), |code| code.to_string()));
        if let Some(signal) = result.signal {
            field("Signal", &signal.to_string());
        }
        field("Timed out", if result.timed_out { "yes" } else { "no" });
        field("Outcome", &result.outcome);
        field("Isolation", &result.isolation_mode);
        field("Run", &result.run_id);
        for denied in &result.denials {
            let way = denied.suggestion.as_ref().map(|way| format!("; {way}")).unwrap_or_default();
            field(
                "Refused",
                &format!("{} ({}, {}) {} times{way}", code(&denied.target), denied.layer, denied.rule, denied.count),
            );
        }
        fenced(&mut text, "Standard output", &result.stdout);
        fenced(&mut text, "Standard error", &result.stderr);
    }
    if let Some(error) = error {
        field_of_error(&mut text, error);
    }
    text
}

fn field_of_error(text: &mut String, error: &str) {
    _ = writeln!(text, "- Error: {error}");
}

/// Text on one line between backticks, more of them than it has itself.
fn code(text: &str) -> String {
    let text = text.replace(char::is_control, " ");
    let ticks = "`".repeat(longest(&text, '`') + 1);
    if ticks.len() == 1 { format!("`{text}`") } else { format!("{ticks} {text} {ticks}") }
}

fn fenced(text: &mut String, title: &str, content: &str) {
    let fence = "`".repeat(longest(content, '`').max(2) + 1);
    let end = if content.is_empty() || content.ends_with('\n') { "" } else { "\n" };
    _ = write!(text, "\n## {title}\n\n{fence}text\n{content}{end}{fence}\n");
}

/// The longest run of `char` in `text`.
fn longest(text: &str, char: char) -> usize {
    text.split(|other| other != char).map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_harmless() {
        assert_eq!(slug("../../etc/passwd"), "etc-passwd");
        assert_eq!(slug("a  b;c"), "a-b-c");
        assert_eq!(slug("..."), "command");
        assert_eq!(slug(&"x".repeat(500)).len(), LABEL);
    }

    #[test]
    fn no_output_ends_its_fence() {
        let mut text = String::new();
        fenced(&mut text, "Standard output", "a\n```\n# Not a heading\n`````\nb");
        let fence = text.lines().find(|line| line.starts_with('`')).unwrap().trim_end_matches("text");
        assert_eq!(fence, "``````");
        assert!(text.ends_with("b\n``````\n"), "{text}");
        assert_eq!(code("a`b"), "`` a`b ``");
    }
}
