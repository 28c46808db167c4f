//! What the tools take and give.

use std::os::unix::fs::symlink;

use assistant_api::ErrorKind;

use super::*;

fn names(listed: &Value) -> Vec<&str> {
    listed["entries"].as_array().unwrap().iter().map(|entry| entry["relative_path"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn files_are_written_read_and_listed() {
    let bed = Bed::new().await;
    let written = bed.tool("file_write", json!({"path": "reports/a.md", "content": "# hi\n"})).await.unwrap();
    assert_eq!(written, json!({"path": "reports/a.md", "relative_path": "reports/a.md", "size_bytes": 5}));
    let appended = bed.tool("file_append", json!({"path": "reports/a.md", "content": "more"})).await.unwrap();
    assert_eq!(appended["size_bytes"], 9);
    let read = bed.tool("file_read", json!({"path": "reports/a.md"})).await.unwrap();
    let whole = json!({"path": "reports/a.md", "relative_path": "reports/a.md", "content": "# hi\nmore", "offset": 0,
        "bytes_read": 9, "next_offset": 9, "size_bytes": 9, "truncated": false});
    assert_eq!(read, whole);
    let part = bed.tool("file_read", json!({"path": "reports/a.md", "offset": 2, "max_bytes": 3})).await.unwrap();
    assert_eq!((&part["content"], &part["next_offset"], &part["truncated"]), (&json!("hi\n"), &json!(5), &json!(true)));

    bed.put("reports/B.md", "b");
    bed.put("reports/deep/c.md", "c");
    let listed = bed.tool("file_list", json!({"path": "reports"})).await.unwrap();
    assert_eq!(listed["root"], "reports");
    assert_eq!(names(&listed), ["reports/a.md", "reports/B.md", "reports/deep"]);
    assert_eq!(listed["entries"][2]["is_dir"], true);
    let listed = bed.tool("file_list", json!({"recursive": true, "max_entries": 3})).await.unwrap();
    assert_eq!(names(&listed), ["reports", "reports/a.md", "reports/B.md"]);
    assert_eq!(listed["truncated"], true);
    let listed = bed.tool("file_list", json!({"recursive": true, "max_entries": 5})).await.unwrap();
    assert_eq!(listed["truncated"], false, "five of five are all");
    let err = bed.tool("file_list", json!({"path": "reports/a.md"})).await.unwrap_err();
    assert_eq!(err.message(), "path is not a directory");
    let err = bed.tool("file_read", json!({"path": "reports"})).await.unwrap_err();
    assert!(err.message().contains("is not a file"), "{err}");
    let absolute = bed.inside.join("reports/a.md");
    let read = bed.tool("file_read", json!({"path": absolute.to_str().unwrap()})).await.unwrap();
    assert_eq!(read["path"], "reports/a.md", "no path of the host is ever shown");
}

#[tokio::test]
async fn limits_hold() {
    let bed = Bed::new().await;
    bed.put("big", vec![b'x'; 200_000]);
    let read = bed.tool("file_read", json!({"path": "big", "max_bytes": 999_999})).await.unwrap();
    assert_eq!((&read["bytes_read"], &read["truncated"]), (&json!(102_400), &json!(true)));
    let read = bed.tool("file_read", json!({"path": "big", "max_bytes": -5})).await.unwrap();
    assert_eq!(read["bytes_read"], 1);
    let read = bed.tool("file_read", json!({"path": "big", "offset": 500_000})).await.unwrap();
    assert_eq!((&read["content"], &read["truncated"]), (&json!(""), &json!(false)));
    let mut config = (**bed.cx.config.load()).clone();
    config.filesystem.max_write_bytes = crate::config::value::Bytes(10);
    bed.cx.config.store(Arc::new(config));
    let err = bed.tool("file_write", json!({"path": "x", "content": "12345678901"})).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::TooLarge);
    assert!(!bed.there("x"));
    let unknown = bed.tool("file_write", json!({"path": "x", "content": "", "mode": "a"})).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::Validation);
}

#[tokio::test]
async fn moving_copying_and_deleting_never_replace() {
    let bed = Bed::new().await;
    bed.put("d/a", "a");
    bed.put("b", "b");
    let both = |from: &str, to: &str| json!({"source_path": from, "destination_path": to});
    let moved = bed.tool("file_move", both("d/a", "new/dir/a2")).await.unwrap();
    let wanted = json!({"source_path": "d/a", "destination_path": "new/dir/a2", "relative_path": "new/dir/a2",
        "is_dir": false, "size_bytes": 1});
    assert_eq!(moved, wanted);
    let copied = bed.tool("file_copy", both("new", "copy")).await.unwrap();
    assert_eq!(copied["is_dir"], true);
    assert_eq!(bed.text("copy/dir/a2"), "a");
    for tool in ["file_move", "file_copy"] {
        for (from, to, kind) in [
            ("b", "copy/dir/a2", ErrorKind::Conflict),
            ("b", "copy", ErrorKind::Conflict),
            ("b", "b", ErrorKind::Invalid),
            ("copy", "copy/dir/below", ErrorKind::Invalid),
            ("missing", "x", ErrorKind::NotFound),
            ("b", ".", ErrorKind::Invalid),
            ("b", "a\u{1}b", ErrorKind::Invalid),
            ("b", "b/below", ErrorKind::Invalid),
        ] {
            assert_eq!(bed.tool(tool, both(from, to)).await.unwrap_err().kind(), kind, "{tool} {from} {to}");
        }
    }
    assert_eq!(bed.tool("file_move", both(".", "x")).await.unwrap_err().kind(), ErrorKind::Invalid);

    let deleted = bed.tool("file_delete", json!({"path": "copy"})).await.unwrap();
    assert_eq!(deleted["deleted_path"], "copy");
    let trash_path = deleted["trash_path"].as_str().unwrap();
    assert!(trash_path.starts_with(".trash/") && trash_path.ends_with("-copy"), "{trash_path}");
    assert_eq!(bed.text(&format!("{trash_path}/dir/a2")), "a");
    for path in [".", ".trash", trash_path] {
        assert_eq!(
            bed.tool("file_delete", json!({"path": path})).await.unwrap_err().kind(),
            ErrorKind::Invalid,
            "{path}"
        );
    }
    // A job may take its own deletion back.
    bed.tool("file_move", both(trash_path, "copy")).await.unwrap();
    assert_eq!(bed.count("SELECT count(*) FROM trash").await, 0);
    assert_eq!(
        bed.count("SELECT count(*) FROM effects WHERE state <> 'confirmed'").await,
        0,
        "refusals leave no effect"
    );
}

#[tokio::test]
async fn files_are_found_by_path_glob_and_part() {
    let bed = Bed::new().await;
    for path in ["a/Report.md", "a/b/report-2.md", "a/b/x.txt", "odd[1].txt", "reports/y"] {
        bed.put(path, "");
    }
    let search = async |arguments: Value| bed.tool("file_search", arguments).await.unwrap();
    assert_eq!(search(json!({"pattern": "a/b/x.txt"})).await["matches"], json!(["a/b/x.txt"]));
    assert_eq!(search(json!({"pattern": "x.txt", "directory": "a/b"})).await["matches"], json!(["a/b/x.txt"]));
    assert_eq!(search(json!({"pattern": "odd[1].txt"})).await["matches"], json!(["odd[1].txt"]));
    assert_eq!(search(json!({"pattern": "*.md"})).await["matches"], json!(["a/b/report-2.md", "a/Report.md"]));
    assert_eq!(search(json!({"pattern": "a/*.md"})).await["matches"], json!(["a/Report.md"]));
    assert_eq!(search(json!({"pattern": "**/*.txt"})).await["matches"], json!(["a/b/x.txt", "odd[1].txt"]));
    assert_eq!(search(json!({"pattern": "rEPort"})).await["matches"].as_array().unwrap().len(), 4);
    let files = search(json!({"pattern": "report", "include_dirs": false, "max_results": 2})).await;
    assert_eq!(files, json!({"matches": ["a/b/report-2.md", "a/Report.md"], "truncated": true}));
    for bad in ["", "a[", &"x".repeat(1001)] {
        let err = bed.tool("file_search", json!({"pattern": bad})).await.unwrap_err();
        assert_eq!((err.kind(), err.field_name()), (ErrorKind::Invalid, Some("pattern")), "{bad}");
    }
}

#[tokio::test]
async fn s25_the_own_directory_is_read_only_to_tools() {
    let bed = Bed::new().await;
    bed.put(".assistant/docs/GUIDE.md", "guide");
    bed.put("mine", "m");
    symlink(".assistant", bed.inside.join("alias")).unwrap();
    symlink(".assistant/docs/GUIDE.md", bed.inside.join("guide")).unwrap();
    symlink("../.assistant/docs", bed.inside.join(".assistant/self")).unwrap();
    let read = bed.tool("file_read", json!({"path": ".assistant/docs/GUIDE.md"})).await.unwrap();
    assert_eq!(read["content"], "guide");
    let refused = ".assistant directory is read-only to agent file tools";
    let spellings =
        [".assistant", "./.assistant", ".assistant/", "x/../.assistant", ".ASSISTANT", ".Assistant", "alias"];
    for base in spellings {
        let inside = format!("{base}/new");
        let guide = format!("{base}/docs/GUIDE.md");
        let mut calls = vec![
            ("file_write", json!({"path": inside, "content": "x"})),
            ("file_append", json!({"path": inside, "content": "x"})),
            ("file_move", json!({"source_path": "mine", "destination_path": inside})),
            ("file_copy", json!({"source_path": "mine", "destination_path": inside})),
        ];
        // These exist only where the spelling leads there on this file system.
        if bed.inside.join(&guide).exists() {
            calls.push(("file_write", json!({"path": guide, "content": "x"})));
            calls.push(("file_append", json!({"path": guide, "content": "x"})));
            calls.push(("file_delete", json!({"path": guide})));
            calls.push(("file_move", json!({"source_path": guide, "destination_path": "out"})));
        }
        for (tool, arguments) in calls {
            let err = bed.tool(tool, arguments.clone()).await.unwrap_err();
            assert_eq!((err.kind(), err.message()), (ErrorKind::Invalid, refused), "{tool} {arguments}");
        }
    }
    for tool in ["file_write", "file_append"] {
        let err = bed.tool(tool, json!({"path": "guide", "content": "x"})).await.unwrap_err();
        assert_eq!(err.message(), refused, "through a link");
    }
    for (tool, arguments) in [
        ("file_delete", json!({"path": ".assistant"})),
        ("file_move", json!({"source_path": ".assistant", "destination_path": "x"})),
    ] {
        assert_eq!(bed.tool(tool, arguments).await.unwrap_err().message(), refused);
    }
    // The link is the workspace's own and may go; what it leads to stays.
    bed.tool("file_delete", json!({"path": "alias"})).await.unwrap();
    assert_eq!(bed.text(".assistant/docs/GUIDE.md"), "guide");
}

#[tokio::test]
async fn tool_results_belong_to_their_job() {
    let bed = Bed::new().await;
    let own = ".assistant/cache/tool-results/job-7/r.json";
    let other = ".assistant/cache/tool-results/job-8/r.json";
    let similar = ".assistant/cache/tool-results/job-70/r.json";
    for path in [own, other, similar] {
        bed.put(path, "SECRET");
    }
    symlink(".assistant/cache/tool-results/job-8", bed.inside.join("theirs")).unwrap();
    assert_eq!(bed.tool("file_read", json!({"path": own})).await.unwrap()["content"], "SECRET");
    let listed = bed.tool("file_list", json!({"path": ".assistant/cache/tool-results/job-7"})).await.unwrap();
    assert_eq!(names(&listed), [own]);
    for path in [other, similar, "theirs/r.json", ".assistant/cache/tool-results/job-7/../job-8/r.json"] {
        let err = bed.tool("file_read", json!({"path": path})).await.unwrap_err();
        assert_eq!(err.kind(), ErrorKind::Invalid, "{path}");
        let copy = bed.tool("file_copy", json!({"source_path": path, "destination_path": "stolen"})).await;
        assert_eq!(copy.unwrap_err().kind(), ErrorKind::Invalid, "{path}");
    }
    assert!(bed.tool("file_list", json!({"path": ".assistant/cache/tool-results"})).await.is_err());
    assert!(bed.tool("file_search", json!({"pattern": "*", "directory": "theirs"})).await.is_err());
    let listed = bed.tool("file_list", json!({"recursive": true})).await.unwrap();
    assert_eq!(names(&listed), [".assistant", ".assistant/cache"]);
    assert_eq!(bed.tool("file_search", json!({"pattern": "r.json"})).await.unwrap()["matches"], json!([]));
    assert_eq!(bed.tool("file_search", json!({"pattern": other})).await.unwrap()["matches"], json!([]));

    // Copying a directory around it leaves it out.
    bed.tool("file_copy", json!({"source_path": ".assistant", "destination_path": "copy"})).await.unwrap();
    assert!(bed.there("copy/cache") && !bed.there("copy/cache/tool-results"));
    let mut api = bed.api().await;
    for path in [own, other, "theirs/r.json"] {
        assert_eq!(api.get("file", &[("path", path)]).await.status, 400, "nor may a person, but through the job");
        assert_eq!(api.get("download", &[("path", path)]).await.status, 400);
    }
    let zip = api.get("download", &[("path", ".")]).await;
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(zip.body)).unwrap();
    let packed: Vec<String> = (0..zip.len()).map(|at| zip.by_index(at).unwrap().name().unwrap().into_owned()).collect();
    assert!(packed.iter().any(|name| name == ".assistant/cache/") && !packed.iter().any(|name| name.contains("job-")));
}

#[tokio::test]
async fn a_job_that_was_cancelled_or_taken_back_changes_nothing() {
    let bed = Bed::new().await;
    for sql in
        ["UPDATE jobs SET lease = 2 WHERE id = 7", "UPDATE jobs SET status = 'cancelled', lease = NULL WHERE id = 7"]
    {
        bed.sql(sql).await;
        let err = bed.tool("file_write", json!({"path": "a", "content": "x"})).await.unwrap_err();
        assert_eq!(err.kind(), ErrorKind::Conflict, "{err}");
        assert!(!bed.there("a"));
    }
    assert_eq!(bed.count("SELECT count(*) FROM effects").await, 0);
}
