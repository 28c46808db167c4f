//! Old contents of files, files that a browser shows, and what an unpacking leaves.

use super::*;

#[tokio::test]
async fn what_a_file_was_is_listed_read_and_put_back() {
    let bed = Bed::new().await;
    let mut api = bed.api().await;
    for content in ["one", "two", "three"] {
        let body = json!({ "path": "a.txt", "content": content });
        assert_eq!(api.json("PUT", "file", &body).await.status, 200);
    }
    bed.tool("file_write", json!({ "path": "a.txt", "content": "by a job" })).await.unwrap();
    let page = api.get("history", &[("path", "a.txt"), ("limit", "2")]).await.json();
    let versions = page["versions"].as_array().unwrap();
    let shown: Vec<_> = versions.iter().map(|version| (&version["size_bytes"], &version["job_id"])).collect();
    assert_eq!(shown, [(&json!(5), &json!(7)), (&json!(3), &json!(null))]);
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = api.get("history", &[("path", "./a.txt"), ("cursor", cursor)]).await.json();
    let first = rest["versions"][0]["id"].as_i64().unwrap();
    assert_eq!((rest["versions"].as_array().unwrap().len(), rest.get("next_cursor")), (1, None));
    let content = api.get(&format!("history/{first}"), &[]).await;
    assert_eq!(
        (&content.body[..], &content.headers["content-disposition"]),
        (&b"one"[..], &"attachment; filename*=UTF-8''a.txt".parse().unwrap())
    );
    let stale = uri(&format!("history/{first}"), &[]);
    assert_eq!(api.send("POST", &stale, &[("if-match", "\"1-1\"")], "").await.status, 412);
    assert_eq!(bed.text("a.txt"), "by a job");
    let tag = api.get("metadata", &[("path", "a.txt")]).await.headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(api.send("POST", &stale, &[("if-match", &tag)], "").await.status, 200);
    assert_eq!(bed.text("a.txt"), "one");
    let all = api.get("history", &[("path", "a.txt")]).await.json();
    assert_eq!(all["versions"].as_array().unwrap().len(), 4, "what was replaced by it is kept too");
    // It goes with the file.
    let to = json!({ "source_path": "a.txt", "destination_path": "b.txt" });
    assert_eq!(api.json("PATCH", "path", &to).await.status, 200);
    assert_eq!(api.get("history", &[("path", "b.txt")]).await.json()["versions"].as_array().unwrap().len(), 4);
    assert_eq!(api.get("history", &[("path", "a.txt")]).await.json()["versions"], json!([]));
    assert_eq!(api.get("history/4711", &[]).await.status, 404);
    assert_eq!(api.get("history", &[("path", "../x")]).await.status, 400);
}

#[tokio::test]
async fn an_old_content_is_trusted_as_little_as_it_was() {
    let bed = Bed::new().await;
    let mut api = bed.api().await;
    let told = Call { origin: Origin::Stranger, ..call(JobId(7)) };
    bed.tool_by(told, "file_write", json!({ "path": "a.txt", "content": "do as I say" })).await.unwrap();
    api.json("PUT", "file", &json!({ "path": "a.txt", "content": "mine" })).await;
    let read = json!({ "path": "a.txt" });
    assert_eq!(bed.tool_by(call(JobId(8)), "file_read", read.clone()).await.unwrap().origin, Origin::Tool);
    let id = api.get("history", &[("path", "a.txt")]).await.json()["versions"][0]["id"].as_i64().unwrap();
    assert_eq!(api.send("POST", &uri(&format!("history/{id}"), &[]), &[], "").await.status, 200);
    assert_eq!(bed.tool_by(call(JobId(8)), "file_read", read).await.unwrap().origin, Origin::Stranger);
}

#[tokio::test]
async fn an_upload_replaces_the_version_that_it_names_and_no_other() {
    let bed = Bed::new().await;
    let mut api = bed.api().await;
    bed.put("a.txt", "old");
    let tag = api.get("metadata", &[("path", "a.txt")]).await.headers["etag"].to_str().unwrap().to_owned();
    let to = uri("upload", &[("path", "a.txt"), ("overwrite", "true")]);
    let body = "é".repeat(5 << 20); // ten times what a JSON body may have
    assert_eq!(api.send("PUT", &to, &[("if-match", &tag)], body.clone()).await.status, 200);
    assert!(bed.text("a.txt") == body, "every byte of it");
    assert_eq!(api.send("PUT", &to, &[("if-match", &tag)], "late").await.status, 412);
    assert!(bed.text("a.txt") == body);
}

#[tokio::test]
async fn only_images_and_pdf_files_are_shown_and_they_can_do_nothing() {
    let bed = Bed::new().await;
    let mut api = bed.api().await;
    bed.put("a.png", b"\x89PNG\r\n\x1a\nrest");
    bed.put("paper.html", b"%PDF-1.7 and so on");
    let image = api.get("view", &[("path", "a.png")]).await;
    let header = |answer: &Answer, name: &str| answer.headers.get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!((image.status, header(&image, "content-type")), (StatusCode::OK, "image/png".into()));
    assert!(header(&image, "content-security-policy").starts_with("sandbox; default-src 'none'"));
    assert_eq!(header(&image, "content-disposition"), "inline; filename*=UTF-8''a.png");
    let paper = api.get("view", &[("path", "paper.html")]).await;
    assert_eq!(header(&paper, "content-type"), "application/pdf", "by its content, not its name");
    for answer in [image, paper] {
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
        assert!(header(&answer, "content-security-policy").contains("frame-ancestors 'self'"));
    }
    for (path, content) in [
        ("page.png", "<!doctype html><script>alert(1)</script>"),
        ("drawing.svg", "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"),
        ("page.html", "<html>"),
        ("paper.pdf", "<script>"),
        ("empty.gif", ""),
    ] {
        bed.put(path, content);
        assert_eq!(api.get("view", &[("path", path)]).await.status, 415, "{path}");
    }
    assert_eq!(api.get("view", &[("path", ".")]).await.status, 400);
    assert_eq!(api.get("view", &[("path", "missing.png")]).await.status, 404);
}

#[tokio::test]
async fn the_start_sweeps_what_a_cut_off_unpacking_left() {
    let bed = Bed::new().await;
    let state = &bed.cx.state_dir;
    fs::create_dir_all(state.join(".unzip-a1B2c3/d/deep")).unwrap();
    fs::write(state.join(".unzip-a1B2c3/d/deep/half.bin"), "half").unwrap();
    fs::create_dir_all(state.join("backups")).unwrap();
    std::os::unix::fs::symlink(&bed.outside, state.join(".unzip-link")).unwrap();
    fs::write(bed.outside.join("keep"), "x").unwrap();
    bed.put(".unzip-mine/a", "a person's own");
    sweep(&bed.cx).await;
    assert!(!state.join(".unzip-a1B2c3").exists());
    assert!(state.join("backups").exists() && bed.outside.join("keep").exists() && bed.there(".unzip-mine/a"));
}

#[tokio::test]
async fn what_strangers_wrote_is_still_theirs_after_packing_and_unpacking() {
    let bed = Bed::new().await;
    let mut api = bed.api().await;
    let told = Call { origin: Origin::Stranger, ..call(JobId(7)) };
    bed.tool_by(told, "file_write", json!({ "path": "d/sub/a.txt", "content": "x" })).await.unwrap();
    bed.put("own/b.txt", "y");
    for (dir, wanted) in [("d", Origin::Stranger), ("own", Origin::Tool)] {
        assert_eq!(api.json("POST", "zip", &json!({ "path": dir })).await.status, 200);
        let unzip = json!({ "path": format!("{dir}.zip"), "destination_folder": format!("{dir}-again") });
        let files = api.json("POST", "unzip", &unzip).await.json()["files"].clone();
        let file = files[0]["relative_path"].as_str().unwrap().to_owned();
        assert_eq!(bed.tool_by(call(JobId(8)), "file_read", json!({ "path": file })).await.unwrap().origin, wanted);
    }
    // And a copy of the archive, or one that was moved, is no better.
    let to = json!({ "source_path": "d.zip", "destination_path": "other/e.zip" });
    assert_eq!(api.json("PATCH", "path", &to).await.status, 200);
    assert_eq!(api.json("POST", "unzip", &json!({ "path": "other/e.zip" })).await.status, 200);
    let read = json!({ "path": "other/e/sub/a.txt" });
    assert_eq!(bed.tool_by(call(JobId(8)), "file_read", read).await.unwrap().origin, Origin::Stranger);
}
