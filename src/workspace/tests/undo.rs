//! Changes that are taken back.

use assistant_api::{EffectId, Role};

use super::{super::undo, *};
use crate::error::ErrorKind;

impl Bed {
    async fn newest(&self) -> EffectId {
        let filter = crate::ledger::Filter { limit: 1, ..Default::default() };
        self.cx.store.read(move |conn| crate::ledger::list(conn, &filter)).await.unwrap()[0].id
    }

    /// Has a job change something, and says which effect it was.
    async fn change(&self, tool: &str, arguments: Value) -> EffectId {
        self.tool(tool, arguments).await.unwrap();
        self.newest().await
    }

    async fn undo(&self, id: EffectId) -> String {
        undo(&self.cx, Role::Operator, id).await.unwrap().done
    }

    fn content(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.inside.join(path)).ok()
    }
}

#[tokio::test]
async fn each_change_of_a_file_is_taken_back() {
    let bed = Bed::new().await;
    let made = bed.change("file_write", json!({"path": "a", "content": "one"})).await;
    let written = bed.change("file_write", json!({"path": "a", "content": "two"})).await;
    assert_eq!(bed.undo(written).await, "a has the content that it had before");
    assert_eq!(bed.content("a").as_deref(), Some("one"));
    // The undoing is a change itself.
    let undoing = bed.newest().await;
    bed.undo(undoing).await;
    assert_eq!(bed.content("a").as_deref(), Some("two"));
    bed.undo(bed.newest().await).await;

    let moved = bed.change("file_move", json!({"source_path": "a", "destination_path": "d/b"})).await;
    assert_eq!(bed.undo(moved).await, "a is where it was");
    let copied = bed.change("file_copy", json!({"source_path": "a", "destination_path": "c"})).await;
    assert_eq!(bed.undo(copied).await, "c is in the trash");
    assert_eq!((bed.content("a").as_deref(), bed.content("c"), bed.content("d/b")), (Some("one"), None, None));
    let deleted = bed.change("file_delete", json!({"path": "a"})).await;
    assert_eq!(bed.undo(deleted).await, "a is where it was");
    let restored = bed.newest().await;
    assert_eq!(bed.undo(restored).await, "a is in the trash again");
    bed.undo(bed.newest().await).await;
    assert_eq!(bed.undo(made).await, "a is in the trash");
    assert_eq!(bed.content("a"), None);

    folder(&bed.cx, &actor(Role::Operator), "new".into()).await.unwrap();
    let new = bed.newest().await;
    bed.put("new/file", "x");
    let refused = undo(&bed.cx, Role::Operator, new).await.unwrap_err();
    assert_eq!((refused.kind(), refused.message()), (ErrorKind::Conflict, "new is not empty"));
    fs::remove_file(bed.inside.join("new/file")).unwrap();
    assert_eq!(bed.undo(new).await, "new is in the trash");
}

#[tokio::test]
async fn what_was_changed_since_or_cannot_come_back_stays() {
    let bed = Bed::new().await;
    let refused = async |id| {
        let err = undo(&bed.cx, Role::Operator, id).await.unwrap_err();
        assert_eq!(err.kind(), ErrorKind::Conflict);
        err.message().to_owned()
    };
    bed.put("a", "one");
    let written = bed.change("file_write", json!({"path": "a", "content": "two"})).await;
    bed.put("a", "by somebody else");
    assert_eq!(refused(written).await, "a is not as this change left it: it was changed since");
    assert_eq!(bed.content("a").as_deref(), Some("by somebody else"));
    bed.put("a", "two");
    bed.sql("DELETE FROM kept_files").await;
    assert_eq!(refused(written).await, "what a was before is not kept any more");

    bed.tool("file_delete", json!({"path": "a"})).await.unwrap();
    let trashed = listing(&bed.cx, None, 1).await.unwrap().0.entries.remove(0).trash_path;
    delete(&bed.cx, &actor(Role::Admin), trashed).await.unwrap();
    assert_eq!(refused(bed.newest().await).await.split_once(" was ").unwrap().1, "deleted for good");

    bed.sql("UPDATE effects SET state = 'failed' WHERE id = 1").await;
    assert_eq!(refused(EffectId(1)).await, "effect 1 is failed: there is nothing to take back");
    bed.sql("UPDATE effects SET detail = '{\"exit_code\": 0}', tool = 'command_execute' WHERE id = 1").await;
    assert_eq!(
        refused(EffectId(1)).await,
        "effect 1 (command_execute) is not a change of a file, and cannot be taken back"
    );
    let unknown = undo(&bed.cx, Role::Operator, EffectId(99)).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
}
