//! Zip files, drafts, and jobs about the open file.

use std::io::Write as _;

use zip::{ZipWriter, write::SimpleFileOptions};

use super::*;

/// A zip file with these entries; a mode with a file type makes links and the like.
fn packed(entries: &[(&str, &[u8], u32)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content, mode) in entries {
        if *mode == 0o120_777 {
            zip.add_symlink(*name, String::from_utf8_lossy(content), SimpleFileOptions::default()).unwrap();
        } else {
            zip.start_file(*name, SimpleFileOptions::default().unix_permissions(*mode)).unwrap();
            zip.write_all(content).unwrap();
        }
    }
    zip.finish().unwrap().into_inner()
}

/// All paths of the workspace and of the state directory beside it.
fn listing(bed: &Bed) -> Vec<PathBuf> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            }
            found.push(path);
        }
    }
    let mut found = Vec::new();
    walk(bed.dir.path(), &mut found);
    found.retain(|path| !path.to_string_lossy().contains("assistant.db"));
    found.sort();
    found
}

#[tokio::test]
async fn what_is_packed_is_unpacked_again() {
    let bed = Bed::new().await;
    let mut api = bed.api().await;
    bed.put("d/a.txt", "one");
    bed.put("d/sub/b.txt", "two");
    let zip = api.json("POST", "zip", &json!({ "path": "d" })).await;
    assert_eq!((zip.status, &zip.json()["file"]["relative_path"]), (StatusCode::OK, &json!("d.zip")));
    assert_eq!(api.json("POST", "zip", &json!({ "path": "d" })).await.status, 409, "it is there already");
    assert_eq!(api.json("POST", "zip", &json!({ "path": "missing" })).await.status, 404);
    assert_eq!(api.json("POST", "unzip", &json!({ "path": "d.zip" })).await.status, 409, "d is not empty");
    fs::create_dir(bed.inside.join("empty")).unwrap();
    for folder in ["new/er", "empty"] {
        let reply = api.json("POST", "unzip", &json!({ "path": "d.zip", "destination_folder": folder })).await;
        let body = reply.json();
        assert_eq!((reply.status, &body["folder"]["relative_path"]), (StatusCode::OK, &json!(folder)), "{body}");
        let names: Vec<_> = body["files"].as_array().unwrap().iter().map(|file| file["name"].clone()).collect();
        assert_eq!(names, ["a.txt", "b.txt"]);
        assert_eq!(
            (bed.text(&format!("{folder}/a.txt")), bed.text(&format!("{folder}/sub/b.txt"))),
            ("one".into(), "two".into())
        );
    }
    let one = api.json("POST", "zip", &json!({ "path": "d/a.txt", "destination_path": "one.zip" })).await;
    assert_eq!(one.status, 200);
    assert_eq!(
        api.json("POST", "unzip", &json!({ "path": "one.zip" })).await.json()["files"][0]["relative_path"],
        "one/a.txt"
    );
}

#[tokio::test]
async fn w14_an_archive_of_everything_has_no_tool_results_in_it() {
    let bed = Bed::new().await;
    let mut api = bed.api().await;
    bed.put("open.txt", "for all");
    let cache = bed.cx.config.load().tool_result_cache.root.clone();
    bed.put(&format!("{cache}/job-7/secret.txt"), "SECRET");
    assert_eq!(api.json("POST", "zip", &json!({ "path": ".", "destination_path": "all.zip" })).await.status, 200);
    let mut zip = zip::ZipArchive::new(fs::File::open(bed.inside.join("all.zip")).unwrap()).unwrap();
    let names: Vec<String> = (0..zip.len()).map(|at| zip.by_index(at).unwrap().name().unwrap().into_owned()).collect();
    assert!(
        names.iter().any(|name| name == "open.txt") && !names.iter().any(|name| name.contains("job-7")),
        "{names:?}"
    );
}

#[tokio::test]
async fn w20_a_refused_archive_leaves_nothing_behind() {
    let mut config = Config::default();
    config.filesystem.max_archive_bytes = crate::config::value::Bytes(40 << 20);
    let bed = Bed::with(config).await;
    let mut api = bed.api().await;
    let bomb = vec![0; 30 << 20];
    let many: Vec<(String, u32)> = (0..10_001).map(|at| (format!("f{at}"), 0o644)).collect();
    let many: Vec<(&str, &[u8], u32)> = many.iter().map(|(name, mode)| (name.as_str(), &b""[..], *mode)).collect();
    let good = ("good.txt", &b"good"[..], 0o644);
    for (name, bytes, status) in [
        ("above", packed(&[good, ("../out.txt", b"x", 0o644)]), 400),
        ("far", packed(&[good, ("a/../../../out.txt", b"x", 0o644)]), 400),
        ("absolute", packed(&[good, ("/etc/out.txt", b"x", 0o644)]), 400),
        ("backslash", packed(&[good, ("..\\out.txt", b"x", 0o644)]), 400),
        ("drive", packed(&[good, ("C:out.txt", b"x", 0o644)]), 400),
        ("control", packed(&[good, ("a\nb", b"x", 0o644)]), 400),
        ("link", packed(&[good, ("link", b"../../outside", 0o120_777)]), 400),
        ("through", packed(&[("link", b"../outside", 0o120_777), ("link/x", b"x", 0o644)]), 400),
        ("temporary", packed(&[good, (".~assistant-0000", b"x", 0o644)]), 400),
        ("file-as-directory", packed(&[good, ("good.txt/x", b"x", 0o644)]), 400),
        ("ratio", packed(&[good, ("zeros", &bomb, 0o644)]), 413),
        ("many", packed(&many), 413),
        ("text", b"this is no archive".to_vec(), 400),
        ("cut", packed(&[good])[..60].to_vec(), 400),
    ] {
        bed.put("a.zip", bytes);
        let before = listing(&bed);
        let reply = api.json("POST", "unzip", &json!({ "path": "a.zip", "destination_folder": "to" })).await;
        assert_eq!(reply.status.as_u16(), status, "{name}: {}", reply.json());
        assert_eq!(listing(&bed), before, "{name}");
    }
    assert!(fs::read_dir(&bed.outside).unwrap().next().is_none());
    for folder in [".assistant/x", ".trash/x", "../x"] {
        bed.put("a.zip", packed(&[good]));
        let reply = api.json("POST", "unzip", &json!({ "path": "a.zip", "destination_folder": folder })).await;
        assert_eq!(reply.status, 400, "{folder}");
    }
}

#[tokio::test]
async fn drafts_are_kept_by_path_and_forgotten_together() {
    let bed = Bed::new().await;
    let mut api = bed.api().await;
    let latest = async |api: &mut Api, path| api.get("drafts/latest", &[("path", path)]).await.json();
    assert_eq!(latest(&mut api, "a.md").await, json!({ "draft": null }));
    for number in 0..23 {
        let body = json!({ "path": "a.md", "content": format!("draft {number}") });
        assert_eq!(api.json("POST", "drafts", &body).await.status, 200);
    }
    api.json("POST", "drafts", &json!({ "path": "other/a.md", "content": "other" })).await;
    let found = latest(&mut api, "./a.md").await;
    assert_eq!(found["draft"]["content"], "draft 22");
    let name = found["draft"]["name"].as_str().unwrap();
    assert!(name.contains("Z-a-"), "{name}");
    assert_eq!(Path::new(name).extension(), Some("md".as_ref()), "{name}");
    let gone = api.send("DELETE", &uri("drafts", &[("path", "a.md")]), &[], "").await.json();
    assert_eq!(gone, json!({ "deleted": 20 }), "the newest are kept");
    assert_eq!(latest(&mut api, "a.md").await, json!({ "draft": null }));
    assert_eq!(latest(&mut api, "other/a.md").await["draft"]["content"], "other");
}

#[tokio::test]
async fn a_message_makes_a_job_about_the_open_file() {
    let bed = Bed::new().await;
    let mut api = bed.api().await;
    let message = json!({ "message": "shorten it", "active_path": "a.md", "include_active_file": true,
        "include_file_content": true, "file_content": "long text" });
    let made = api.json("POST", "jobs", &message).await.json();
    let job = &made["job"];
    assert_eq!((&job["task_summary"], &job["metadata"]["source"]), (&json!("Workspace: a.md"), &json!("workspace")));
    let id = job["id"].as_i64().unwrap();
    let detail = api.get(&format!("jobs/{id}"), &[]).await.json();
    let text = detail["trigger_email"]["body_text"].as_str().unwrap();
    assert!(text.starts_with("shorten it") && text.contains("a.md") && text.contains("long text"), "{text}");
    let listed = api.get("jobs", &[]).await.json();
    assert_eq!((listed["jobs"].as_array().unwrap().len(), &listed["jobs"][0]["id"]), (1, &job["id"]));
    assert_eq!(api.get("jobs/7", &[]).await.status, 404, "made elsewhere");
    assert_eq!(api.get("jobs", &[("limit", "101")]).await.status, 422);
    let more = json!({ "message": "more" });
    let messages = format!("jobs/{id}/messages");
    assert_eq!(api.json("POST", &messages, &more).await.status, 409, "it is still queued");
    assert_eq!(api.json("POST", "jobs/999/messages", &more).await.status, 404);
    assert_eq!(api.send("POST", &format!("/api/jobs/{id}/cancel"), &[], "").await.status, 200);
    let follower = api.json("POST", &messages, &more).await.json();
    assert_eq!(follower["job"]["metadata"]["parent_job_id"], id);
    assert_eq!(follower["job"]["task_summary"], "Workspace chat");
}
