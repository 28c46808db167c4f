//! Nothing outside the workspace is read, made or changed: every verb, every path, with links swapped in beside.

use std::{
    os::unix::fs::symlink,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread::JoinHandle,
    time::Instant,
};

use super::{
    paths::{CANARY, plant, snapshot, table},
    *,
};

/// How long the race goes on, at least; every call meets every target, however slow the machine is.
const RACE: Duration = Duration::from_secs(10);

const WITHOUT: &str = "ASSISTANT_TEST_WITHOUT_OPENAT2";

/// Under systemd's filter the kernel answers ENOSYS to `openat2`: the same tests in a process of that kind.
#[test]
fn s24_the_same_without_openat2() {
    let tests = ["s24_two_hundred_hostile_paths_lead_nowhere", "s24_links_swapped_in_while_verbs_run_lead_nowhere"];
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(tests.map(|test| format!("workspace::tests::hostile::{test}")))
        .args(["--exact", "--nocapture", "--test-threads=1"])
        .env(WITHOUT, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("2 passed") && text.matches("without openat2").count() == 2, "{text}");
}

/// Whether this is the process without `openat2`.
fn maybe_without_openat2() -> bool {
    let without = std::env::var_os(WITHOUT).is_some();
    if without {
        crate::root::tests::refuse_openat2();
        println!("without openat2");
    }
    without
}

/// Everything that is said to the caller of `verb` with `path`.
type Said = String;

const TOOL_CALLS: usize = 10;

/// Calls one tool with a path in one of its places.
async fn by_tool(bed: &Bed, number: usize, path: &str, free: &str) -> Said {
    let both = |from: &str, to: &str| json!({"source_path": from, "destination_path": to});
    let (tool, arguments) = match number {
        0 => ("file_list", json!({"path": path, "recursive": true})),
        1 => ("file_read", json!({"path": path})),
        2 => ("file_write", json!({"path": path, "content": "written"})),
        3 => ("file_append", json!({"path": path, "content": "appended"})),
        4 => ("file_move", both(path, free)),
        5 => ("file_move", both("swap-safe", path)),
        6 => ("file_copy", both(path, free)),
        7 => ("file_copy", both("d/file", path)),
        8 => ("file_search", json!({"pattern": path})),
        _ => ("file_search", json!({"pattern": "f", "directory": path})),
    };
    match bed.tool(tool, arguments).await {
        Ok(value) => value.to_string(),
        Err(err) => format!("{}: {err} {:?}", err.kind().as_str(), err.hint_text()),
    }
}

const API_CALLS: usize = 13;

async fn by_api(api: &mut Api, number: usize, path: &str, free: &str) -> Said {
    let query: &[(&str, &str)] = &[("path", path)];
    let transfer = |from: &str, to: &str| json!({"source_path": from, "destination_path": to});
    let answer = match number {
        0 => api.get("tree", &[("path", path), ("recursive", "true")]).await,
        1 => api.get("metadata", query).await,
        2 => api.get("file", query).await,
        3 => api.get("download", query).await,
        4 => api.get("search", &[("q", path)]).await,
        5 => api.get("search", &[("q", "f"), ("directory", path)]).await,
        6 => api.json("PUT", "file", &json!({"path": path, "content": "put"})).await,
        7 => api.send("PUT", &uri("upload", &[("path", path), ("overwrite", "true")]), &[], "uploaded").await,
        8 => api.json("POST", "folders", &json!({"path": path})).await,
        9 => api.json("PATCH", "path", &transfer(path, free)).await,
        10 => api.json("POST", "copy", &transfer(path, free)).await,
        11 => api.json("POST", "copy", &transfer("d/file", path)).await,
        _ => api.json("POST", "restore", &json!({"trash_path": path, "destination_path": free})).await,
    };
    assert_ne!(answer.status, 403, "the request itself is refused: {:?}", answer.body);
    assert!(!answer.status.is_server_error() || answer.status == 507, "{number} {path:?}: {:?}", answer.body);
    unpacked(&answer)
}

/// An answer as text; of an archive, what is in it.
fn unpacked(answer: &Answer) -> Said {
    use std::io::Read as _;
    let Ok(mut zip) = zip::ZipArchive::new(std::io::Cursor::new(&answer.body)) else {
        return String::from_utf8_lossy(&answer.body).into_owned();
    };
    let mut said = Vec::new();
    for at in 0..zip.len() {
        zip.by_index(at).unwrap().read_to_end(&mut said).unwrap();
    }
    String::from_utf8_lossy(&said).into_owned()
}

fn check(bed: &Bed, said: &str, what: &str) {
    let private = bed.dir.path().to_str().unwrap();
    assert!(!said.contains(private), "{what}: a path of the host is shown: {said}");
    for secret in [CANARY, "root:x:0:0", "HOME=", "CARGO_MANIFEST_DIR", "SQLite format"] {
        assert!(!said.contains(secret), "{what}: {secret} came out: {said}");
    }
}

#[tokio::test]
async fn s24_two_hundred_hostile_paths_lead_nowhere() {
    // What is text is the same in both ways: there a third of the paths is enough.
    let step = if maybe_without_openat2() { 3 } else { 1 };
    let bed = Bed::new().await;
    plant(&bed);
    // The second name belongs to an outside file and is read by design; it is tested by itself.
    fs::remove_file(bed.inside.join("second-name")).unwrap();
    let paths = table(&bed);
    assert!(paths.len() >= 200, "{}", paths.len());
    let paths: Vec<String> = paths.into_iter().step_by(step).collect();
    let before = snapshot(&bed.outside);
    let mut api = bed.api().await;
    let mut calls = 0;
    for (index, path) in paths.iter().enumerate() {
        for number in 0..TOOL_CALLS {
            let free = format!("free/t{index}-{number}");
            let call = by_tool(&bed, number, path, &free);
            let said = tokio::time::timeout(Duration::from_secs(20), call).await.expect("no call hangs");
            check(&bed, &said, &format!("tool {number} of {path:?}"));
            calls += 1;
        }
        // Requests of more than the head's limit are refused before they are understood.
        for number in (0..API_CALLS).filter(|_| path.len() < 4096) {
            let said = by_api(&mut api, number, path, &format!("free/a{index}-{number}")).await;
            check(&bed, &said, &format!("route {number} of {path:?}"));
            calls += 1;
        }
        if index % 10 == 0 {
            assert_eq!(snapshot(&bed.outside), before, "after {path:?}");
        }
    }
    // Last, because it takes away what the others need.
    for path in &paths {
        let deleted = bed.tool("file_delete", json!({"path": path})).await;
        check(&bed, &format!("{deleted:?}").replace("source: Some", ""), path);
        let removed = api.send("DELETE", &uri("file", &[("path", path.get(..4000).unwrap_or(path))]), &[], "").await;
        check(&bed, &unpacked(&removed), path);
    }
    println!("{} paths, {calls} calls", paths.len());
    assert_eq!(snapshot(&bed.outside), before);
    assert_eq!(bed.text(".assistant/docs/GUIDE.md"), "inside");
    assert_eq!(bed.text(".assistant/cache/tool-results/job-8/r.json"), format!("{CANARY} of job 8"));
    assert_eq!(
        fs::read_dir(bed.inside.join(".assistant")).unwrap().count(),
        2,
        "nothing was made in the own directory"
    );
    assert_eq!(bed.count("SELECT count(*) FROM effects WHERE state NOT IN ('confirmed', 'failed')").await, 0);
}

#[tokio::test]
async fn s24_a_second_name_of_an_outside_file_is_never_written_through() {
    let bed = Bed::new().await;
    plant(&bed);
    let mut api = bed.api().await;
    let content = |bed: &Bed| fs::read_to_string(bed.outside.join("dir/file")).unwrap();
    let before = content(&bed);
    for number in [2, 3] {
        by_tool(&bed, number, "second-name", "x").await;
    }
    by_api(&mut api, 6, "second-name", "x").await;
    by_api(&mut api, 7, "second-name", "x").await;
    bed.tool("file_delete", json!({"path": "second-name"})).await.unwrap();
    assert_eq!(content(&bed), before);
}

/// Swaps files, directories and links to the outside in and out of the same names, as fast as it can.
fn racer(bed: &Bed, stop: &Arc<AtomicBool>, swaps: &Arc<AtomicU64>) -> JoinHandle<()> {
    let (inside, outside) = (bed.inside.clone(), bed.outside.clone());
    let (stop, swaps) = (Arc::clone(stop), Arc::clone(swaps));
    std::thread::spawn(move || {
        let race = inside.join("race");
        for name in ["file", "dir"] {
            let _ = fs::remove_file(race.join(name));
        }
        fs::create_dir_all(race.join("real-dir/deep")).unwrap();
        symlink(outside.join("dir"), race.join("link-dir")).unwrap();
        symlink("../../../outside/file", race.join("link-file")).unwrap();
        let exchange = |a: &str, b: &str| {
            let flags = nix::fcntl::RenameFlags::RENAME_EXCHANGE;
            let at = nix::fcntl::AT_FDCWD;
            let _ = nix::fcntl::renameat2(at, &race.join(a), at, &race.join(b), flags);
        };
        while !stop.load(Ordering::Relaxed) {
            // The names that are attacked: now plain, now links to the outside.
            for name in ["real-dir/file", "real-dir/deep/file", "real-file"] {
                if race.join(name).symlink_metadata().is_err() {
                    let _ = fs::create_dir_all(race.join(name).parent().unwrap());
                    let _ = fs::write(race.join(name), "plain");
                }
            }
            for _ in 0..20 {
                exchange("real-dir", "link-dir");
                exchange("real-file", "link-file");
                swaps.fetch_add(2, Ordering::Relaxed);
            }
            // Whatever the verbs moved away comes back.
            if race.join("link-dir").symlink_metadata().is_err() {
                let _ = symlink(outside.join("dir"), race.join("link-dir"));
            }
            if race.join("link-file").symlink_metadata().is_err() {
                let _ = symlink("../../../outside/file", race.join("link-file"));
            }
            if race.join("real-dir").symlink_metadata().is_err() {
                let _ = fs::create_dir_all(race.join("real-dir/deep"));
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s24_links_swapped_in_while_verbs_run_lead_nowhere() {
    maybe_without_openat2();
    let bed = Bed::new().await;
    plant(&bed);
    fs::remove_file(bed.inside.join("second-name")).unwrap();
    fs::create_dir(bed.inside.join("race")).unwrap();
    let before = snapshot(&bed.outside);
    let (stop, swaps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let racer = racer(&bed, &stop, &swaps);
    let mut api = bed.api().await;
    let targets = [
        "race/real-file",
        "race/link-file",
        "race/real-dir/file",
        "race/link-dir/file",
        "race/real-dir/deep/file",
        "race/link-dir/deep/file",
        "race/real-dir/new/x",
        "race/link-dir/new/y",
        "race/real-dir",
        "race",
    ];
    let began = Instant::now();
    let (mut round, mut fine) = (0_usize, 0_u64);
    let every = targets.len() * (TOOL_CALLS + API_CALLS + 1);
    while began.elapsed() < RACE || round < every {
        assert!(began.elapsed() < 30 * RACE, "only {round} calls");
        round += 1;
        let path = targets[round % targets.len()];
        let free = format!("race-free/{round}");
        let number = (round / targets.len()) % (TOOL_CALLS + API_CALLS + 1);
        let said = match number {
            number if number < TOOL_CALLS => by_tool(&bed, number, path, &free).await,
            number if number < TOOL_CALLS + API_CALLS => by_api(&mut api, number - TOOL_CALLS, path, &free).await,
            // Deleting the directory itself would end the race.
            _ if path == "race" => String::new(),
            _ => format!("{:?}", bed.tool("file_delete", json!({"path": path})).await.map_err(|err| err.to_string())),
        };
        check(&bed, &said, &format!("call {number} of {path}"));
        fine += u64::from(!said.contains("invalid") && !said.contains("error"));
        if round.is_multiple_of(200) {
            assert_eq!(snapshot(&bed.outside), before, "after {round} rounds");
        }
        if !bed.there("race") {
            fs::create_dir(bed.inside.join("race")).unwrap_or_default();
        }
        if !bed.there("swap-safe") {
            bed.put("swap-safe", "inside");
        }
    }
    stop.store(true, Ordering::Relaxed);
    racer.join().unwrap();
    let swaps = swaps.load(Ordering::Relaxed);
    println!("{round} calls against {swaps} swaps, {fine} of them did something");
    assert_eq!(snapshot(&bed.outside), before);
    assert!(swaps > 1000 && fine > 10, "the race was run");
}
