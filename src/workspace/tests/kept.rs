//! The ledger of the workspace: old contents, what a crash leaves, what time removes.

use assistant_api::{
    EffectId,
    effects::{Effect, EffectState},
};

use super::{
    super::change::{Before, Change, perform},
    *,
};
use crate::{
    error::Error,
    ledger::{self, NewEffect},
    root::{Put, hex},
};

fn sha(text: &str) -> String {
    use sha2::Digest as _;
    hex(&sha2::Sha256::digest(text))
}

impl Bed {
    async fn effects(&self) -> Vec<Effect> {
        let filter = ledger::Filter { limit: 100, ..Default::default() };
        let mut effects = self.cx.store.read(move |conn| ledger::list(conn, &filter)).await.unwrap();
        effects.reverse();
        effects
    }

    fn kept(&self, effect: &Effect) -> Option<String> {
        let name = effect.detail["before"]["kept"].as_str()?;
        Some(fs::read_to_string(self.cx.state_dir.join("kept").join(name)).unwrap())
    }

    /// Leaves an effect as a crash does.
    async fn dispatched(&self, change: &Change) -> Effect {
        let (now, detail) = (self.cx.clock.now(), serde_json::to_value(change).unwrap());
        let new = NewEffect {
            job_id: Some(JobId(7)),
            call_key: None,
            tool: "file_write".into(),
            target: change.path().into(),
            args_hash: "00".into(),
            origin: Origin::Owner,
            rule: "test".into(),
            detail,
        };
        let write = move |tx: &rusqlite::Connection| -> Result<EffectId> {
            let id = ledger::prepare(tx, now, &new)?;
            ledger::dispatch(tx, now, id)?;
            Ok(id)
        };
        let id = self.cx.store.write(write).await.unwrap();
        self.cx.store.read(move |conn| ledger::get(conn, id)).await.unwrap()
    }

    async fn look(&self, change: Change) -> EffectState {
        let effect = self.dispatched(&change).await;
        let tool = TOOLS.iter().find(|tool| tool.name == "file_write").unwrap();
        (tool.reconcile)(&self.cx, &effect).await.unwrap()
    }
}

#[tokio::test]
async fn every_change_stands_in_the_ledger_with_what_it_replaced() {
    let bed = Bed::new().await;
    bed.tool("file_write", json!({"path": "a", "content": "one"})).await.unwrap();
    bed.tool("file_write", json!({"path": "a", "content": "two"})).await.unwrap();
    bed.tool("file_append", json!({"path": "a", "content": "+"})).await.unwrap();
    write(&bed.cx, &actor(Role::Operator), "a".into(), "by hand".into(), crate::root::Mode::Replace).await.unwrap();
    bed.tool("file_move", json!({"source_path": "a", "destination_path": "b"})).await.unwrap();
    bed.tool("file_delete", json!({"path": "b"})).await.unwrap();
    folder(&bed.cx, &actor(Role::Operator), "new/folder".into()).await.unwrap();
    folder(&bed.cx, &actor(Role::Operator), "new/folder".into()).await.unwrap();

    let effects = bed.effects().await;
    assert_eq!(effects.len(), 7, "what is there already is no change");
    assert!(effects.iter().all(|effect| effect.state == EffectState::Confirmed));
    let [first, second, third, fourth, moved, ..] = &effects[..] else { unreachable!() };
    assert_eq!(
        (first.job_id, &first.detail["after"], &first.detail["before"]),
        (Some(JobId(7)), &json!(sha("one")), &json!(null))
    );
    assert_eq!((&second.detail["before"]["sha256"], &second.detail["size"]), (&json!(sha("one")), &json!(3)));
    assert_eq!(bed.kept(second).as_deref(), Some("one"));
    assert_eq!((bed.kept(third).as_deref(), &third.detail["after"]), (Some("two"), &json!(sha("two+"))));
    assert_eq!((fourth.job_id, bed.kept(fourth).as_deref()), (None, Some("two+")));
    assert_eq!((moved.target.as_str(), &moved.detail["written"]), ("a -> b", &json!(["b"])));
    assert_eq!(bed.count("SELECT count(*) FROM kept_files").await, 3);
    assert_eq!(bed.count("SELECT count(*) FROM events WHERE kind = 'workspace.changed'").await, 7);
    assert_eq!(bed.count("SELECT count(*) FROM trash WHERE job_id = 7 AND original_path = 'b'").await, 1);
}

#[tokio::test]
async fn a_second_name_and_a_large_file_are_kept_as_they_were() {
    let bed = Bed::new().await;
    bed.put("one", "shared");
    fs::hard_link(bed.inside.join("one"), bed.inside.join("two")).unwrap();
    bed.tool("file_write", json!({"path": "one", "content": "new"})).await.unwrap();
    fs::write(bed.inside.join("two"), "changed in place").unwrap();
    assert_eq!(bed.kept(&bed.effects().await[0]).as_deref(), Some("shared"), "not a third name of the same file");
    bed.put("log", vec![b'x'; 2 << 20]);
    bed.tool("file_append", json!({"path": "log", "content": "!"})).await.unwrap();
    let effect = bed.effects().await.pop().unwrap();
    assert_eq!((&effect.detail["before"]["size"], bed.kept(&effect)), (&json!(2 << 20), None));
}

#[tokio::test]
async fn a_crash_is_settled_by_looking() {
    let bed = Bed::new().await;
    let write = |before: Option<&str>, after: &str| Change::Write {
        path: "d/a".into(),
        before: before.map(|text| Before { sha256: sha(text), size: 1, kept: None }),
        after: sha(after),
        size: 1,
        append: false,
        temporary: ".~assistant-0".into(),
    };
    assert_eq!(bed.look(write(None, "new")).await, EffectState::Failed);
    bed.put("d/a", "old");
    bed.put("d/.~assistant-0", "half");
    assert_eq!(bed.look(write(Some("old"), "new")).await, EffectState::Failed);
    assert!(!bed.there("d/.~assistant-0"), "what was begun is removed");
    bed.put(".~assistant-0", "half");
    assert_eq!(bed.look(write(Some("older"), "old")).await, EffectState::Confirmed);
    assert!(!bed.there(".~assistant-0"), "an upload is begun in a directory above");
    assert_eq!(bed.look(write(Some("x"), "y")).await, EffectState::Unknown, "somebody else's content");
    assert_eq!(bed.look(write(None, "y")).await, EffectState::Unknown);

    let inode = || std::os::unix::fs::MetadataExt::ino(&fs::metadata(bed.inside.join("d/a")).unwrap()).to_string();
    let trash =
        |inode: String| Change::Trash { path: "gone".into(), trash_path: "d/a".into(), is_dir: false, size: 3, inode };
    assert_eq!(bed.look(trash(inode())).await, EffectState::Confirmed);
    assert_eq!(bed.count("SELECT count(*) FROM trash WHERE original_path = 'gone'").await, 1, "it can be restored");
    assert_eq!(bed.look(trash("1".into())).await, EffectState::Unknown);
    let moved = Change::Move { from: "d/a".into(), path: "x".into(), is_dir: false, inode: inode() };
    assert_eq!(bed.look(moved).await, EffectState::Failed);
    let copy = |after: &str| Change::Copy {
        from: "x".into(),
        path: "d/a".into(),
        is_dir: false,
        after: Some(sha(after)),
        temporary: ".~assistant-1".into(),
    };
    assert_eq!(bed.look(copy("old")).await, EffectState::Confirmed);
    assert_eq!(bed.look(copy("other")).await, EffectState::Unknown);
    assert_eq!(bed.look(Change::Purge { path: "d/a".into(), is_dir: false }).await, EffectState::Failed);
    assert_eq!(bed.look(Change::Purge { path: "d/b".into(), is_dir: false }).await, EffectState::Confirmed);
    assert_eq!(bed.look(Change::Folder { path: "d".into() }).await, EffectState::Confirmed);
}

#[tokio::test]
async fn the_disk_says_what_an_error_leaves_open_and_nothing_else() {
    let bed = Bed::new().await;
    let root = bed.cx.root().unwrap();
    let attempt = async |path: &str, late: bool| {
        let path = root.rel(path).unwrap();
        let temporary = crate::root::Root::temporary_name();
        let change = Change::Write {
            path: path.to_string(),
            before: None,
            after: sha("same"),
            size: 4,
            append: false,
            temporary: temporary.clone(),
        };
        let guards = root.lock(&[&path]).await;
        let there = bed.inside.join(path.to_string());
        perform(&bed.cx, &actor(Role::Operator), change, guards, move |place| {
            let spot = place.root.locate(&path)?;
            let mut staged = place.root.stage(&spot, &temporary)?;
            staged.write(b"same")?;
            if late {
                staged.commit(&spot, Put::New)?;
                return Err::<(), _>(Error::forbidden("the directory cannot be synced").in_doubt());
            }
            // Another program makes the same file, a moment before.
            fs::write(there, "same").unwrap();
            staged.commit(&spot, Put::New).map(drop)
        })
        .await
        .unwrap_err()
    };
    assert_eq!(attempt("late", true).await.kind(), assistant_api::ErrorKind::Forbidden);
    assert_eq!(attempt("refused", false).await.kind(), assistant_api::ErrorKind::Conflict);
    let states: Vec<_> = bed.effects().await.iter().map(|effect| effect.state).collect();
    assert_eq!(states, [EffectState::Confirmed, EffectState::Failed]);
    assert_eq!((bed.text("late").as_str(), bed.text("refused").as_str()), ("same", "same"));
}

#[tokio::test]
async fn a_failed_write_keeps_nothing() {
    let bed = Bed::new().await;
    bed.put("a", "old");
    bed.put("kept-away", "x");
    // The place where old contents go cannot be used: the write is refused, for it could not be undone.
    fs::write(bed.cx.state_dir.join("kept"), "not a directory").unwrap();
    bed.tool("file_write", json!({"path": "a", "content": "new"})).await.unwrap_err();
    assert_eq!(bed.text("a"), "old");
    assert_eq!(bed.effects().await[0].state, EffectState::Failed);
    assert_eq!(bed.count("SELECT count(*) FROM kept_files").await, 0);
}

#[tokio::test]
async fn time_and_size_remove_what_is_kept() {
    let bed = Bed::new().await;
    for content in ["1111", "2222", "3333", "4444"] {
        bed.tool("file_write", json!({"path": "a", "content": content})).await.unwrap();
    }
    bed.put("b", "b");
    bed.tool("file_delete", json!({"path": "b"})).await.unwrap();
    bed.put(".assistant/cache/tool-results/job-7/old.json", "x");
    bed.put("d/.~assistant-00", "left by a crash");
    bed.put("young", "y");
    fs::write(bed.cx.state_dir.join("kept/stray"), "nobody knows it").unwrap();
    assert_eq!(retention(&bed.cx).await.unwrap(), Removed { temporaries: 1, ..Removed::default() }, "only the stray");

    let mut config = (**bed.cx.config.load()).clone();
    config.retention.kept_file_bytes = crate::config::value::Bytes(8);
    bed.cx.config.store(Arc::new(config.clone()));
    assert_eq!(retention(&bed.cx).await.unwrap(), Removed { kept_files: 1, ..Removed::default() });
    let effects = bed.effects().await;
    assert_eq!(bed.kept(&effects[3]).as_deref(), Some("3333"), "the oldest go first");

    // Forty days later.
    bed.sql("UPDATE kept_files SET created_at = created_at - 3456000000000; UPDATE trash SET deleted_at = deleted_at - 3456000000000").await;
    for path in [".assistant/cache/tool-results/job-7/old.json", "d/.~assistant-00"] {
        let old = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        fs::File::open(bed.inside.join(path)).unwrap().set_modified(old).unwrap();
    }
    let removed = retention(&bed.cx).await.unwrap();
    assert_eq!(removed, Removed { trash: 1, kept_files: 2, tool_results: 1, temporaries: 1 });
    assert_eq!(fs::read_dir(bed.inside.join(".trash")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(bed.cx.state_dir.join("kept")).unwrap().count(), 0);
    assert!(!bed.there(".assistant/cache/tool-results/job-7") && bed.there("young") && bed.there("d"));
    assert_eq!(bed.count("SELECT (SELECT count(*) FROM trash) + (SELECT count(*) FROM kept_files)").await, 0);
}

#[tokio::test]
async fn a_change_that_is_still_being_made_is_left_alone() {
    let bed = Bed::new().await;
    let temporary = crate::root::Root::temporary_name();
    bed.put(&temporary, "half");
    let change = Change::Write {
        path: "a".into(),
        before: None,
        after: sha("whole"),
        size: 5,
        append: false,
        temporary: temporary.clone(),
    };
    let effect = bed.dispatched(&change).await;
    let root = bed.cx.root().unwrap();
    let guards = root.lock(&[&root.rel("a").unwrap()]).await;
    let look = reconcile(&bed.cx, &effect);
    tokio::pin!(look);
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut look).await.is_err(), "it waits");
    assert!(bed.there(&temporary));
    let (now, id) = (bed.cx.clock.now(), effect.id);
    let settle = move |tx: &rusqlite::Connection| ledger::settle(tx, now, id, EffectState::Confirmed, None);
    bed.cx.store.write(settle).await.unwrap();
    drop(guards);
    assert_eq!(look.await.unwrap(), EffectState::Confirmed);
    assert!(bed.there(&temporary), "nothing is cleaned away");
}
