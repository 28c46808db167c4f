//! The program is killed at any moment, and the disk is full.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::bed::{Bed, program};

/// How many moments are tried of each verb.
const MOMENTS: u32 = 25;

fn larger() -> Bed {
    let bed = Bed::filled();
    for number in 0..150 {
        fs::create_dir(bed.workspace().join(format!("d{number}"))).unwrap();
        fs::write(bed.workspace().join(format!("d{number}/f")), vec![b'x'; 10_000]).unwrap();
    }
    bed
}

/// Runs it and kills it after a part of the time that it needs; whether it had ended by itself.
fn cut(mut command: Command, after: Duration) -> bool {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(after);
    let ended = child.try_wait().unwrap().is_some();
    let _ = child.kill();
    child.wait().unwrap();
    ended
}

#[test]
fn a_backup_that_is_cut_off_leaves_no_half_file() {
    let bed = larger();
    let begun = Instant::now();
    bed.create();
    let whole = begun.elapsed();
    for moment in 0..MOMENTS {
        let mut command = bed.command();
        command.arg("create");
        cut(command, whole.mul_f64(f64::from(moment) / f64::from(MOMENTS)));
        for one in bed.good(&["list"])["backups"].as_array().unwrap() {
            let name = one["name"].as_str().unwrap();
            if one["verified_at"].is_null() {
                bed.good(&["verify", name]);
            }
        }
    }
    bed.create();
    let names: Vec<_> =
        fs::read_dir(bed.path("state/backups")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name == ".working"), "{names:?}");
}

#[test]
fn a_restore_that_is_cut_off_is_all_or_nothing() {
    let bed = larger();
    let first = bed.create();
    bed.sql("INSERT INTO spend_days (day) VALUES ('second')");
    fs::write(bed.workspace().join("state"), "second").unwrap();
    let second = bed.create();
    let begun = Instant::now();
    bed.good(&["restore", &first, "--force"]);
    let whole = begun.elapsed();
    let (mut stayed, mut changed) = (0, 0);
    for moment in 0..MOMENTS {
        // From one state to the other, whichever is there.
        let is_second = bed.workspace().join("state").exists();
        let mut command = bed.command();
        command.args(["restore", if is_second { &first } else { &second }, "--force"]);
        cut(command, whole.mul_f64(0.2 + f64::from(moment) / f64::from(MOMENTS)));
        // What a daemon does first when it starts.
        let lock = assistantd::store::StateLock::take(&bed.path("state")).unwrap();
        assistantd::backup::swap::finish(&bed.path("state")).unwrap();
        drop(lock);
        bed.check_database();
        let files = bed.workspace().join("state").exists();
        assert_eq!(bed.ask("SELECT count(*) FROM spend_days") == "1", files, "database and workspace are of one time");
        assert_eq!(fs::read_dir(bed.workspace()).unwrap().count(), 151 + usize::from(files));
        assert!(bed.path("state/kept/there").is_file());
        if files == is_second { stayed += 1 } else { changed += 1 }
    }
    println!("{stayed} stayed as they were, {changed} became what they were to become");
    assert!(stayed > 0, "no restore was cut off");
}

/// A disk of few bytes, in a mount namespace of its own.
#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let bed = Bed::filled();
    let mut noise = vec![0; 3 << 20];
    let mut random = 1_u64;
    for byte in &mut noise {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *byte = random.to_le_bytes()[7];
    }
    fs::write(bed.workspace().join("noise"), noise).unwrap();
    let small = bed.path("small");
    fs::create_dir(&small).unwrap();
    let run = |size: &str, what: &str| {
        let script = format!(
            "mount -t tmpfs -o size={size} tmpfs '{0}' && {1} --json --config '{2}' --state-dir '{3}' {what}; code=$?
             ls -A '{0}' '{0}'/state 2>/dev/null; exit $code",
            small.display(),
            program().display(),
            bed.path("etc/assistant.toml").display(),
            bed.path("state").display(),
        );
        let output =
            Command::new("unshare").args(["--mount", "--propagation", "private", "sh", "-c", &script]).output();
        let output = output.unwrap();
        (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    // Not enough to begin, and enough to begin by what the last one took.
    let (good, said) = run("1m", &format!("create --directory '{}'", small.display()));
    assert!(!good && said.contains("storage_full") && said.contains("MiB are needed"), "{said}");
    assert!(!said.contains("tar.zst"), "{said}");
    let (good, said) = run("20m", &format!("create --directory '{}'", small.display()));
    assert!(good, "{said}");

    let path = bed.create();
    let state = format!("restore '{path}' --state-dir '{}/state'", small.display());
    let (good, said) = run("2m", &state);
    assert!(!good && said.contains("storage_full"), "{said}");
    assert!(!said.contains("assistant.db") && !said.contains(".restoring\n"), "{said}");
}
