//! What strangers said stays what strangers said when it goes through files.

use super::*;

impl Bed {
    /// As job 7, after it was told something by `origin`.
    async fn told_by(&self, origin: Origin, name: &str, arguments: Value) {
        self.tool_by(Call { origin, ..call(JobId(7)) }, name, arguments).await.unwrap();
    }

    /// The origin that another job sees when it reads a file.
    async fn seen(&self, path: &str) -> Origin {
        self.tool_by(call(JobId(8)), "file_read", json!({ "path": path })).await.unwrap().origin
    }

    async fn rows(&self) -> i64 {
        self.count("SELECT count(*) FROM file_origins").await
    }
}

#[tokio::test]
async fn a_file_keeps_the_origin_of_the_run_that_wrote_it() {
    let bed = Bed::new().await;
    bed.put("by-hand.txt", "x");
    bed.told_by(Origin::Owner, "file_write", json!({ "path": "own.txt", "content": "x" })).await;
    bed.told_by(Origin::Web, "file_write", json!({ "path": "page.txt", "content": "x" })).await;
    assert_eq!((bed.seen("by-hand.txt").await, bed.seen("own.txt").await), (Origin::Tool, Origin::Tool));
    assert_eq!((bed.seen("page.txt").await, bed.seen("./page.txt").await), (Origin::Web, Origin::Web));
    assert_eq!(bed.rows().await, 1, "what is trusted needs no row");
    // A link leads to the same text.
    std::os::unix::fs::symlink("page.txt", bed.inside.join("link.txt")).unwrap();
    assert_eq!(bed.seen("link.txt").await, Origin::Web);
}

#[tokio::test]
async fn an_append_keeps_the_least_trusted_and_a_new_content_has_its_own() {
    let bed = Bed::new().await;
    let text = |path: &str| json!({ "path": path, "content": "x" });
    bed.told_by(Origin::Owner, "file_write", text("a.txt")).await;
    bed.told_by(Origin::Stranger, "file_append", text("a.txt")).await;
    bed.told_by(Origin::Owner, "file_append", text("a.txt")).await;
    bed.told_by(Origin::Web, "file_append", text("a.txt")).await;
    assert_eq!(bed.seen("a.txt").await, Origin::Stranger);
    bed.told_by(Origin::Attachment, "file_write", text("a.txt")).await;
    assert_eq!(bed.seen("a.txt").await, Origin::Attachment);
    write(&bed.cx, &actor(Role::Operator), "a.txt".into(), b"mine".to_vec(), crate::root::Mode::Replace).await.unwrap();
    assert_eq!((bed.seen("a.txt").await, bed.rows().await), (Origin::Tool, 0));
}

#[tokio::test]
async fn it_goes_with_the_file_and_not_with_its_neighbours() {
    let bed = Bed::new().await;
    for path in ["dir/a.txt", "dir/sub/b.txt"] {
        bed.told_by(Origin::Stranger, "file_write", json!({ "path": path, "content": "x" })).await;
    }
    for path in ["dir/c.txt", "dir2/a.txt", "dir-a.txt"] {
        bed.told_by(Origin::Owner, "file_write", json!({ "path": path, "content": "x" })).await;
    }
    let to = |from: &str, to: &str| json!({ "source_path": from, "destination_path": to });
    bed.told_by(Origin::Owner, "file_copy", to("dir", "copy")).await;
    bed.told_by(Origin::Owner, "file_move", to("dir", "moved")).await;
    for at in ["copy", "moved"] {
        assert_eq!(bed.seen(&format!("{at}/a.txt")).await, Origin::Stranger, "{at}");
        assert_eq!(bed.seen(&format!("{at}/sub/b.txt")).await, Origin::Stranger, "{at}");
        assert_eq!(bed.seen(&format!("{at}/c.txt")).await, Origin::Tool, "{at}");
    }
    assert_eq!((bed.seen("dir2/a.txt").await, bed.seen("dir-a.txt").await), (Origin::Tool, Origin::Tool));
    assert_eq!(bed.rows().await, 4, "nothing is left of where they were");
    // Through the trash and back, and away with it for good.
    let deleted = delete(&bed.cx, &actor(Role::Admin), "moved".into()).await.unwrap();
    restore(&bed.cx, &actor(Role::Admin), deleted.trash_path.unwrap(), Some("back".into())).await.unwrap();
    assert_eq!((bed.seen("back/sub/b.txt").await, bed.rows().await), (Origin::Stranger, 4));
    for path in ["back", "copy"] {
        let deleted = delete(&bed.cx, &actor(Role::Admin), path.into()).await.unwrap();
        delete(&bed.cx, &actor(Role::Admin), deleted.trash_path.unwrap()).await.unwrap();
    }
    assert_eq!(bed.rows().await, 0);
}
