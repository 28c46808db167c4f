//! The tool-result cache: large results lie as files in the workspace, where the model reads what it needs of them.
//! The retention pass of the workspace removes them when their time is over.
//!
//! A model sees a result whole once (up to `limits.max_result_chars`); later prompts carry its beginning and the path.

use assistant_api::JobId;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    parse, segment,
    steps::Cached,
    tools::{Call, ToolDef},
};
use crate::{
    config::Config,
    cx::Cx,
    error::{Error, Result},
    policy::Access,
    root::{Kind, Mode, Root},
};

/// Characters of a kept result that later prompts carry.
const PREVIEW: usize = 1500;

/// What the model sees of a result the first time.
pub(crate) fn shown(whole: &str, cached: Option<&Cached>, most: usize) -> String {
    if segment::chars(whole) <= most {
        return whole.to_owned();
    }
    let beginning: String = whole.chars().take(most).collect();
    json!({
        "beginning": beginning,
        "omitted_chars": segment::chars(whole) - most,
        "cached_output_path": cached.map(|cached| &cached.path),
        "hint": match cached {
            Some(_) => "the rest is in the file at cached_output_path",
            None => "the rest was not kept; ask for less at once",
        },
    })
    .to_string()
}

/// What is stored with the conversation, and shown from the second time on.
pub(crate) fn stored(whole: &str, cached: Option<&Cached>, most: usize) -> String {
    let Some(cached) = cached else { return shown(whole, None, most) };
    json!({
        "preview": whole.chars().take(PREVIEW).collect::<String>(),
        "omitted_chars": segment::chars(whole).saturating_sub(PREVIEW),
        "cached_output_path": cached.path,
        "cached_output_sha256": cached.sha256,
        "cached_output_size_bytes": cached.bytes,
        "hint": "you have seen this result whole; read the file at cached_output_path for what you need again",
    })
    .to_string()
}

/// Keeps a large result and says where; `None` when it is small, keeping is switched off, or it cannot be written.
pub(crate) async fn keep(
    cx: &Cx,
    config: &Config,
    tool: &ToolDef,
    call: &Call,
    arguments: &Value,
    whole: &str,
) -> Option<Cached> {
    let cache = &config.tool_result_cache;
    if !cache.enabled || (whole.len() as u64) < cache.min_bytes.0 {
        return None;
    }
    let root = cx.root().ok()?;
    let named =
        arguments.get("path").and_then(Value::as_str).filter(|_| tool.access == Access::Read).map(str::to_owned);
    let (tool, call, whole) = (tool.name, call.clone(), whole.to_owned());
    let (at, folder) = (cx.clock.now(), cache.root.clone());
    let kept = tokio::task::spawn_blocking(move || {
        if let Some(path) = named.and_then(|path| kept_at(&root, &folder, &path)) {
            // Reading a kept result does not make another one.
            return Ok(Cached { path, sha256: parse::hex(&whole), bytes: whole.len() as u64 });
        }
        write(&root, &folder, at, tool, call.job_id, &whole)
    });
    match kept.await.map_err(Error::internal).flatten() {
        Ok(cached) => Some(cached),
        Err(err) => {
            tracing::warn!(error = err.chain(), "a tool result could not be kept");
            None
        }
    }
}

/// The path of a kept result, if `text` is one and the file is there: `<folder>/job-<id>/<name>.json`.
fn kept_at(root: &Root, folder: &str, text: &str) -> Option<String> {
    let path = root.real_path(&root.rel(text).ok()?).ok()?;
    let (job, name) = path.below(&root.rel(folder).ok()?)?.split_once('/')?;
    let is_job = job.strip_prefix("job-").is_some_and(|id| id.parse::<i64>().is_ok());
    let is_file = root.metadata(&path).ok()??.kind == Kind::File;
    let is_kept = name.rsplit_once('.').is_some_and(|(stem, end)| !stem.contains('/') && end == "json");
    (is_job && is_file && is_kept).then(|| path.as_str().to_owned())
}

fn write(root: &Root, folder: &str, at: Timestamp, tool: &str, job: JobId, whole: &str) -> Result<Cached> {
    let sha256 = parse::hex(whole);
    let stamp = at.strftime("%Y%m%dT%H%M%SZ");
    let name = format!("{stamp}-{tool}-{}-{:08x}.json", &sha256[..12], fastrand::u32(..));
    let folder = root.rel(folder)?.join(&format!("job-{job}"))?;
    root.create_dir_all(&folder)?;
    let path = folder.join(&name)?;
    let result: Value = serde_json::from_str(whole).unwrap_or_else(|_| whole.into());
    let file = json!({
        "job_id": job,
        "tool_name": tool,
        "created_at": at,
        "result_sha256": sha256,
        "result_size_bytes": whole.len(),
        "result": result,
    });
    let text = serde_json::to_string_pretty(&file)?;
    root.write_atomic(&path, text.as_bytes(), Mode::CreateOnly)?;
    Ok(Cached { path: path.as_str().to_owned(), sha256, bytes: whole.len() as u64 })
}

/// The whole result again, for a resumed run whose model has not seen it; `None` when the file is gone or another one.
pub(crate) async fn read(cx: &Cx, cached: &Cached) -> Option<String> {
    let root = cx.root().ok()?;
    let cached = cached.clone();
    tokio::task::spawn_blocking(move || {
        let path = root.rel(&cached.path).ok()?;
        // Indented and escaped it is longer than the result, by less than this.
        let chunk = root.read(&path, 0, cached.bytes.saturating_mul(8).saturating_add(4096)).ok()?;
        let file: Value = serde_json::from_slice(&chunk.bytes).ok()?;
        let whole = file.get("result")?.to_string();
        (parse::hex(&whole) == cached.sha256).then_some(whole)
    })
    .await
    .ok()
    .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cached() -> Cached {
        Cached { path: ".assistant/cache/tool-results/job-7/a.json".into(), sha256: "ab".into(), bytes: 9 }
    }

    #[test]
    fn what_is_kept_is_shown_whole_once_and_as_a_reference_later() {
        let whole = "ä".repeat(5000);
        assert_eq!(shown(&whole, Some(&cached()), 6000), whole);
        let cut: Value = serde_json::from_str(&shown(&whole, Some(&cached()), 4000)).unwrap();
        assert_eq!((&cut["omitted_chars"], &cut["cached_output_path"]), (&json!(1000), &json!(cached().path)));
        let later: Value = serde_json::from_str(&stored(&whole, Some(&cached()), 6000)).unwrap();
        assert_eq!(later["preview"].as_str().unwrap().chars().count(), PREVIEW);
        assert_eq!(later["cached_output_path"], json!(cached().path));
        assert_eq!(stored("short", None, 10), "short");
        let lost: Value = serde_json::from_str(&stored(&whole, None, 100)).unwrap();
        assert!(lost["hint"].as_str().unwrap().contains("not kept"));
    }

    #[test]
    fn only_the_file_of_a_kept_result_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path(), 0o022).unwrap();
        let folder = ".assistant/cache/tool-results";
        let cached = write(&root, folder, Timestamp::UNIX_EPOCH, "file_read", JobId(7), "{}").unwrap();
        std::fs::create_dir_all(dir.path().join(".assistant/cache/tool-results-old/job-7")).unwrap();
        std::fs::write(dir.path().join(".assistant/cache/tool-results-old/job-7/a.json"), "{}").unwrap();
        std::fs::write(dir.path().join(folder).join("a.json"), "{}").unwrap();
        let kept = cached.path.as_str();
        let dotted = format!("./{kept}");
        let absolute = dir.path().join(kept).to_str().unwrap().to_owned();
        for path in [kept, &dotted, &absolute] {
            assert_eq!(kept_at(&root, folder, path).as_deref(), Some(kept), "{path}");
        }
        for path in [
            folder,
            ".assistant/cache/tool-results/job-7",
            ".assistant/cache/tool-results/job-7/missing.json",
            ".assistant/cache/tool-results/a.json",
            ".assistant/cache/tool-results-old/job-7/a.json",
            "notes/.assistant/cache/tool-results/job-7/a.json",
            "what is in /.assistant/cache/tool-results/ now?",
            "reports/a.json",
        ] {
            assert_eq!(kept_at(&root, folder, path), None, "{path}");
        }
    }
}
