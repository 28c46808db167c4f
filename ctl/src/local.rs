//! Local paths in the text of a task: what exists here but not in the workspace will not be seen by the job.

use std::path::{Path, PathBuf};

use assistant_api::{ErrorKind, workspace::ItemReply};

use crate::Cx;

/// Local paths that are looked for in the workspace at most.
const MOST: usize = 8;

/// The hint for a text that names local paths, with the command that sends them along.
pub async fn hint(cx: &Cx, task: &str) -> Option<String> {
    let mut missing = Vec::new();
    for path in named(task, Path::exists) {
        let request = cx.client.request("GET", "/api/workspace/metadata").query("path", &path);
        let found = request.fetch::<ItemReply>().await;
        // `invalid` is a path that cannot be in the workspace, such as an absolute one elsewhere.
        if found.is_err_and(|err| matches!(err.kind(), Some(ErrorKind::NotFound | ErrorKind::Invalid))) {
            missing.push(path);
        }
    }
    let (first, rest) = missing.split_first()?;
    let (exist, them) = if rest.is_empty() { ("exists", "it") } else { ("exist", "them") };
    let names = rest.split_last().map_or_else(
        || first.clone(),
        |(last, between)| {
            let list: Vec<&str> = std::iter::once(first).chain(between).map(String::as_str).collect();
            format!("{} and {last}", list.join(", "))
        },
    );
    let attach: Vec<String> = missing.iter().map(|path| format!("--attach {}", quoted(path))).collect();
    Some(format!(
        "hint: {names} {exist} here but not in the workspace;\n      to send {them} along: assistantctl submit {} ...",
        attach.join(" ")
    ))
}

/// The words of a text that look like paths and exist.
fn named(task: &str, exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut paths: Vec<String> = Vec::new();
    for word in task.split(|char: char| char.is_whitespace() || "\"'`()[]{}<>,;".contains(char)) {
        let word = word.trim_end_matches(['.', ':', '!', '?']);
        let file = Path::new(word).extension().is_some();
        // A plain word such as `reports` is more often just a word.
        let like_a_path = word.contains('/') || file;
        let nothing = matches!(word.trim_matches('/'), "" | "." | "..") || word.contains("://");
        if like_a_path && !nothing && !paths.iter().any(|path| path == word) && exists(&expand(word)) {
            paths.push(word.to_owned());
        }
        if paths.len() == MOST {
            break;
        }
    }
    paths
}

/// `~/x` as the shell would read it.
fn expand(word: &str) -> PathBuf {
    match (word.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => word.into(),
    }
}

/// A word as it has to be typed.
pub fn quoted(word: &str) -> String {
    let plain = |char: char| char.is_alphanumeric() || "/._-~+=@%:".contains(char);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_in_sentences() {
        let here = ["reports/", "a/b.csv", "report.pdf", "Makefile", "docs", "/etc/hosts", "and/or"];
        let exists = |path: &Path| here.iter().any(|known| Path::new(known) == path);
        for (task, expected) in [
            ("Read the CSV files in reports/ and write summary.md", vec!["reports/"]),
            ("compare `a/b.csv` with \"report.pdf\".", vec!["a/b.csv", "report.pdf"]),
            ("read (report.pdf), then report.pdf again", vec!["report.pdf"]),
            ("write docs about and/or", vec!["and/or"]),
            ("see https://x.example/report.pdf or / or ../ or .", vec![]),
            ("look at /etc/hosts:", vec!["/etc/hosts"]),
        ] {
            assert_eq!(named(task, exists), expected, "{task}");
        }
    }

    #[test]
    fn words_are_quoted_for_the_shell() {
        assert_eq!([quoted("a/b.c"), quoted("a b"), quoted("it's")], ["a/b.c", "'a b'", "'it'\\''s'"]);
    }
}
