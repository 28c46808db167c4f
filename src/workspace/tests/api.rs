//! The routes: shapes, statuses, streams.

use std::io::Read as _;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

#[tokio::test]
async fn answers_have_the_documented_shapes() {
    let bed = Bed::new().await;
    let mut api = bed.api().await;
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let entry = ["name", "relative_path", "is_dir", "size_bytes", "mtime_ns"];

    let put = api.json("PUT", "file", &json!({"path": "shape/a.md", "content": "# hi\n"})).await;
    assert_eq!((put.status, keys(&put.json()["file"])), (StatusCode::OK, entry.map(String::from).to_vec()));
    let got = api.get("file", &[("path", "shape/a.md")]).await.json();
    let content = [
        "path",
        "relative_path",
        "content",
        "offset",
        "bytes_read",
        "next_offset",
        "size_bytes",
        "truncated",
        "mtime_ns",
    ];
    assert_eq!(keys(&got), content);
    assert_eq!((&got["content"], &got["mtime_ns"]), (&json!("# hi\n"), &put.json()["file"]["mtime_ns"]));
    let folder = api.json("POST", "folders", &json!({"path": "shape/f"})).await;
    assert_eq!(keys(&folder.json()["folder"]), entry);
    let transfer = json!({"source_path": "shape/a.md", "destination_path": "shape/b.md"});
    assert_eq!(keys(&api.json("POST", "copy", &transfer).await.json()["item"]), entry);
    let transfer = json!({"source_path": "shape/b.md", "destination_path": "shape/f/c.md"});
    assert_eq!(api.json("PATCH", "path", &transfer).await.json()["item"]["relative_path"], "shape/f/c.md");
    let tree = api.get("tree", &[("path", "shape"), ("recursive", "true")]).await.json();
    assert_eq!(
        (keys(&tree), keys(&tree["entries"][0])),
        (vec!["root".into(), "entries".into(), "truncated".into()], entry.map(String::from).to_vec())
    );
    let version = api.get("version", &[]).await.json();
    assert_eq!(keys(&version), ["version", "entry_count", "total_size_bytes", "latest_mtime_ns", "truncated"]);
    assert_eq!((&version["entry_count"], &version["total_size_bytes"]), (&json!(4), &json!(10)));
    assert_eq!(api.get("metadata", &[("path", "shape")]).await.json()["item"]["is_dir"], true);
    let found = api.get("search", &[("q", "c.md")]).await.json();
    assert_eq!(
        (&found["matches"], keys(&found["entries"][0])),
        (&json!(["shape/f/c.md"]), entry.map(String::from).to_vec())
    );
    let deleted = api.send("DELETE", &uri("file", &[("path", "shape/a.md")]), &[], "").await.json();
    assert_eq!(keys(&deleted), ["deleted_path", "trash_path"]);
    assert_ne!(api.get("version", &[]).await.json()["version"], version["version"]);
    let trash = api.get("trash", &[]).await.json();
    assert_eq!(
        (&trash["entries"][0]["original_path"], &trash["entries"][0]["trash_path"]),
        (&json!("shape/a.md"), &deleted["trash_path"])
    );
    let back = api.json("POST", "restore", &json!({"trash_path": deleted["trash_path"]})).await.json();
    assert_eq!(back["item"]["relative_path"], "shape/a.md");
    let gone = api.send("DELETE", &uri("file", &[("path", "shape/f")]), &[], "").await.json();
    let gone =
        api.send("DELETE", &uri("file", &[("path", gone["trash_path"].as_str().unwrap())]), &[], "").await.json();
    assert_eq!(gone["permanent"], true, "by an admin, from the trash");
}

#[tokio::test]
async fn refusals_have_the_documented_statuses() {
    let bed = Bed::new().await;
    let mut api = bed.api().await;
    bed.put("a.md", "text");
    bed.put("p.png", "text by another name");
    bed.put("nul.txt", "a\0b");
    bed.put("latin.txt", [b'a', 0xE9, b'b']);
    for (route, path, status) in [
        ("tree", "missing", 400),
        ("tree", "a.md", 400),
        ("file", "missing", 400),
        ("file", ".", 400),
        ("file", "p.png", 415),
        ("file", "nul.txt", 415),
        ("file", "latin.txt", 415),
        ("metadata", "missing", 404),
        ("metadata", "../x", 400),
        ("download", "missing", 404),
        ("download", "/etc/passwd", 400),
    ] {
        let answer = api.get(route, &[("path", path)]).await;
        assert_eq!(answer.status.as_u16(), status, "{route} {path}: {:?}", answer.body);
        assert!(answer.json()["detail"].is_string(), "{route} {path}");
    }
    let outside = api.get("file", &[("path", "../../etc/passwd")]).await;
    assert_eq!(
        (outside.status.as_u16(), &outside.json()["detail"]),
        (400, &json!("path must stay under the workspace"))
    );
    for (method, route, body, status) in [
        ("PUT", "file", json!({"path": "a.md", "content": "x", "create_only": true}), 409),
        ("PUT", "file", json!({"path": "a.md", "content": "x", "expected_mtime_ns": "1"}), 409),
        ("PUT", "file", json!({"path": "a.md", "content": "x", "expected_mtime_ns": 1}), 409),
        ("PUT", "file", json!({"path": "new", "content": "x", "expected_mtime_ns": 1}), 409),
        ("PUT", "file", json!({"path": "a.md", "content": "x", "expected_mtime_ns": "soon"}), 422),
        ("PUT", "file", json!({"path": "x".repeat(2001), "content": "x"}), 422),
        ("PUT", "file", json!({"path": ".assistant/x", "content": "x"}), 400),
        ("PUT", "file", json!({"path": ".", "content": "x"}), 400),
        ("PATCH", "path", json!({"source_path": "missing", "destination_path": "x"}), 400),
        ("POST", "copy", json!({"source_path": "missing", "destination_path": "x"}), 400),
        ("POST", "copy", json!({"source_path": "a.md", "destination_path": "p.png"}), 409),
        ("POST", "folders", json!({"path": "a.md"}), 400),
        ("POST", "restore", json!({"trash_path": "a.md"}), 400),
    ] {
        let answer = api.json(method, route, &body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {route} {body}: {:?}", answer.body);
    }
    for path in ["missing", ".", ".trash", ".assistant", "../x"] {
        assert_eq!(api.send("DELETE", &uri("file", &[("path", path)]), &[], "").await.status, 400, "{path}");
    }
    assert_eq!(bed.text("a.md"), "text");
    assert!(!bed.there("new"));
}

#[tokio::test]
async fn a_large_file_is_never_shown_as_a_whole_one() {
    let bed = Bed::new().await;
    let mut api = bed.api().await;
    let text = "zeile äöü\n".repeat(20_000);
    bed.put("big.md", &text);
    let (mut read, mut offset) = (String::new(), 0);
    loop {
        let part = api.get("file", &[("path", "big.md"), ("offset", &offset.to_string())]).await.json();
        read.push_str(part["content"].as_str().unwrap());
        offset = part["next_offset"].as_u64().unwrap();
        assert_eq!(part["size_bytes"], text.len());
        if part["truncated"] == false {
            break;
        }
    }
    assert!(read == text, "the parts make the whole, no character cut");
}

#[tokio::test]
async fn entity_tags_guard_saves() {
    let bed = Bed::new().await;
    let mut api = bed.api().await;
    bed.put("a", "one");
    let tag = api.get("file", &[("path", "a")]).await.headers["etag"].to_str().unwrap().to_owned();
    let body = json!({"path": "a", "content": "two"}).to_string();
    let json = ("content-type", "application/json");
    let saved = api.send("PUT", &uri("file", &[]), &[json, ("if-match", &tag)], body.clone()).await;
    assert_eq!(saved.status, 200);
    let second = api.send("PUT", &uri("file", &[]), &[json, ("if-match", &tag)], body.clone()).await;
    assert_eq!(second.status, 412);
    let tag = saved.headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(api.send("PUT", &uri("file", &[]), &[json, ("if-match", &tag)], body.clone()).await.status, 200);
    let missing = json!({"path": "none", "content": ""}).to_string();
    assert_eq!(api.send("PUT", &uri("file", &[]), &[json, ("if-match", "*")], missing).await.status, 412);
    assert_eq!(api.send("DELETE", &uri("file", &[("path", "a")]), &[("if-match", &tag)], "").await.status, 412);
}

/// Sends an upload by hand: `length` as Content-Length, or in chunks. Gives the status line.
async fn raw_upload(api: &Api, path: &str, length: Option<usize>, body: &[u8]) -> String {
    let mut stream = tokio::net::UnixStream::connect(&api.socket).await.unwrap();
    let framing = length.map_or("Transfer-Encoding: chunked".into(), |length| format!("Content-Length: {length}"));
    let head = format!("PUT {} HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n", uri("upload", &[("path", path)]));
    let _ = stream.write_all(head.as_bytes()).await;
    for piece in body.chunks(1000) {
        let sent = if length.is_some() {
            stream.write_all(piece).await
        } else {
            let framed = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
            stream.write_all(&framed).await
        };
        if sent.is_err() {
            break; // refused already
        }
    }
    if length.is_none() {
        let _ = stream.write_all(b"0\r\n\r\n").await;
    }
    if length.is_some_and(|length| length > body.len()) {
        drop(stream);
        return String::new();
    }
    let mut answer = vec![0; 64];
    let count = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut answer)).await.unwrap().unwrap_or(0);
    String::from_utf8_lossy(&answer[..count]).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn s10_an_upload_over_the_limit_is_refused_and_leaves_nothing() {
    let mut config = Config::default();
    assert_eq!(config.api.max_upload_bytes.0, 524_288_000, "the default");
    config.api.max_upload_bytes = crate::config::value::Bytes(100_000);
    let bed = Bed::with(config.clone()).await;
    let api = bed.api().await;
    let body = vec![b'u'; 100_001];
    for (path, length) in [("new/with", Some(body.len())), ("new/without", None)] {
        assert!(raw_upload(&api, path, length, &body).await.contains("413"), "{path}");
        assert_eq!(fs::read_dir(&bed.inside).unwrap().count(), 0, "{path}: nothing is left behind");
    }
    for (path, length) in [("fits/with", Some(100_000)), ("fits/without", None)] {
        assert!(raw_upload(&api, path, length, &body[1..]).await.contains("200"), "{path}");
        assert_eq!(fs::metadata(bed.inside.join(path)).unwrap().len(), 100_000);
    }
    assert!(raw_upload(&api, "fits/with", Some(3), b"abc").await.contains("409"), "nothing is replaced");
    // Half an upload, and then silence.
    raw_upload(&api, "half/way", Some(90_000), &body[..50_000]).await;
    for _ in 0..100 {
        if fs::read_dir(&bed.inside).unwrap().count() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let left: Vec<_> = fs::read_dir(&bed.inside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["fits"]);

    config.api.max_upload_bytes = crate::config::value::Bytes(0);
    bed.cx.config.store(Arc::new(config));
    assert!(raw_upload(&api, "unlimited", None, &vec![b'u'; 300_000]).await.contains("200"), "0 is no limit");
    assert_eq!(bed.count("SELECT count(*) FROM effects WHERE state = 'confirmed'").await, 3);
}

#[tokio::test]
async fn an_upload_can_replace_when_asked_to() {
    let bed = Bed::new().await;
    let mut api = bed.api().await;
    bed.put("a", "old");
    let refused = api.send("PUT", &uri("upload", &[("path", "a")]), &[], "new").await;
    assert_eq!(refused.status, 409);
    let done = api.send("PUT", &uri("upload", &[("path", "a"), ("overwrite", "true")]), &[], "new").await;
    assert_eq!((done.status, bed.text("a").as_str()), (StatusCode::OK, "new"));
    assert_eq!(bed.count("SELECT count(*) FROM kept_files").await, 1);
    for path in [".", ".assistant/x", ".trash/x", "../x", "a/below"] {
        let answer = api.send("PUT", &uri("upload", &[("path", path), ("overwrite", "true")]), &[], "x").await;
        assert_eq!(answer.status, 400, "{path}");
    }
}

#[tokio::test]
async fn downloads_are_attachments_and_directories_are_zip_files() {
    let bed = Bed::new().await;
    let mut api = bed.api().await;
    bed.put("d/Bericht über €.txt", "inhalt");
    bed.put("d/sub/b", vec![b'b'; 300_000]);
    bed.put("d/.~assistant-0", "temporary");
    fs::create_dir(bed.inside.join("d/empty")).unwrap();
    fs::write(bed.outside.join("canary"), "CANARY").unwrap();
    std::os::unix::fs::symlink("../../../outside/canary", bed.inside.join("d/out")).unwrap();
    std::os::unix::fs::symlink("/proc/self/environ", bed.inside.join("d/environ")).unwrap();
    nix::unistd::mkfifo(&bed.inside.join("d/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let file = api.get("download", &[("path", "d/Bericht über €.txt")]).await;
    let disposition = "attachment; filename*=UTF-8''Bericht%20%C3%BCber%20%E2%82%AC.txt";
    assert_eq!(file.headers["content-disposition"], disposition);
    assert_eq!(
        (&file.headers["content-length"], &file.body[..]),
        (&hyper::header::HeaderValue::from(6), &b"inhalt"[..])
    );
    assert_eq!(file.headers["x-content-type-options"], "nosniff");

    let packed = api.get("download", &[("path", "d")]).await;
    assert_eq!(packed.headers["content-disposition"], "attachment; filename*=UTF-8''d.zip");
    assert_eq!(packed.headers["content-length"].to_str().unwrap(), packed.body.len().to_string());
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(packed.body)).unwrap();
    let mut names: Vec<String> =
        (0..zip.len()).map(|at| zip.by_index(at).unwrap().name().unwrap().into_owned()).collect();
    names.sort();
    assert_eq!(names, ["Bericht über €.txt", "empty/", "sub/", "sub/b"]);
    let mut content = String::new();
    zip.by_name("sub/b").unwrap().read_to_string(&mut content).unwrap();
    assert_eq!(content.len(), 300_000);

    let mut config = (**bed.cx.config.load()).clone();
    config.filesystem.max_archive_bytes = crate::config::value::Bytes(1000);
    bed.cx.config.store(Arc::new(config));
    assert_eq!(api.get("download", &[("path", "d")]).await.status, 413);
}
