//! The same cases run twice: as the kernel is, and in a child process whose kernel has no `openat2`.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink},
    path::PathBuf,
};

use tempfile::TempDir;

use super::*;
use crate::error::ErrorKind;

struct Bed {
    _dir: TempDir,
    outside: PathBuf,
    inside: PathBuf,
    root: Root,
}

fn bed() -> Bed {
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    let inside = dir.path().join("inside");
    fs::create_dir(&outside).unwrap();
    fs::create_dir(&inside).unwrap();
    fs::write(outside.join("canary"), "CANARY").unwrap();
    let root = Root::open(&inside, 0o002).unwrap();
    Bed { _dir: dir, outside, inside, root }
}

impl Bed {
    fn write(&self, path: &str, text: &str) -> Result<Meta> {
        self.root.write_atomic(&self.root.rel(path)?, text.as_bytes(), Mode::Replace)
    }
    fn read(&self, path: &str) -> Result<String> {
        Ok(String::from_utf8(self.root.read(&self.root.rel(path)?, 0, 1 << 20)?.bytes).unwrap())
    }
    fn spot(&self, path: &str) -> Spot {
        self.root.locate(&self.root.rel(path).unwrap()).unwrap()
    }
}

#[test]
fn paths_are_taken_apart_as_text() {
    let bed = bed();
    let rel = |text: &str| bed.root.rel(text).map(|path| path.to_string());
    assert_eq!(rel("a//b/./c/../d/").unwrap(), "a/b/d");
    assert_eq!(rel(".").unwrap(), ".");
    assert_eq!(rel("a/..").unwrap(), ".");
    assert_eq!(rel("..a/...").unwrap(), "..a/...");
    let inside = bed.root.path.to_str().unwrap().to_owned();
    assert_eq!(rel(&format!("{inside}/x/y")).unwrap(), "x/y");
    assert_eq!(rel(&inside).unwrap(), ".");
    for bad in ["", "..", "a/../..", "/", "/etc/passwd", "a\0b", &format!("{inside}2/x"), &format!("{inside}/../x")] {
        assert_eq!(rel(bad).unwrap_err().kind(), ErrorKind::Invalid, "{bad:?}");
    }
    assert_eq!(rel("../x").unwrap_err().message(), "path must stay under the workspace");
    assert!(rel(&"x".repeat(256)).is_err() && rel(&"x".repeat(255)).is_ok());
    assert!(rel(&"x/".repeat(129)).is_err() && rel(&"x/".repeat(128)).is_ok());
    assert!(rel(&"xxxxxxxxxxxxxxx/".repeat(300)).is_err());
}

#[test]
fn a_path_lies_within_another_by_whole_names() {
    let bed = bed();
    let rel = |text: &str| bed.root.rel(text).unwrap();
    assert!(rel("a/b").is_within(&rel("a")) && rel("a").is_within(&rel("a")) && rel("a").is_within(&rel(".")));
    assert!(!rel("ab").is_within(&rel("a")) && !rel("a").is_within(&rel("a/b")));
    assert_eq!(rel("a/b/c").below(&rel("a")), Some("b/c"));
    assert_eq!(rel("a").below(&rel("a")), None);
    assert_eq!(rel("a/b").parent().unwrap(), rel("a"));
    assert!(rel("a").join("..").is_err() && rel("a").join("b/c").is_err());
}

/// Everything below depends on how the kernel resolves paths.
fn confinement() {
    writes_are_new_files_with_the_old_name();
    guards_hold();
    links_are_followed_inside_and_refused_outside();
    special_files_are_refused_without_waiting();
    trees_are_listed_walked_copied_and_removed();
}

#[test]
fn confined_with_openat2() {
    confinement();
}

const WITHOUT: &str = "ASSISTANT_TEST_WITHOUT_OPENAT2";

/// Runs the cases again in a process whose kernel answers ENOSYS to `openat2`, as it does under systemd's filter.
#[test]
fn confined_without_openat2() {
    if std::env::var_os(WITHOUT).is_some() {
        refuse_openat2();
        let how = nix::fcntl::OpenHow::new();
        assert_eq!(nix::fcntl::openat2(nix::fcntl::AT_FDCWD, ".", how).unwrap_err(), nix::errno::Errno::ENOSYS);
        confinement();
        println!("ran without openat2");
        return;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "root::tests::confined_without_openat2", "--nocapture"])
        .env(WITHOUT, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("ran without openat2"), "{text}");
}

pub(crate) fn refuse_openat2() {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
    let rules = [(nix::libc::SYS_openat2, Vec::new())].into_iter().collect();
    let refuse = SeccompAction::Errno(nix::libc::ENOSYS.cast_unsigned());
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    seccompiler::apply_filter_all_threads(&program).unwrap();
}

fn writes_are_new_files_with_the_old_name() {
    let bed = bed();
    let first = bed.write("a.txt", "one").unwrap();
    assert_eq!(first.mode, 0o664, "the umask counts, and nothing else");
    fs::set_permissions(bed.inside.join("a.txt"), fs::Permissions::from_mode(0o750)).unwrap();
    let second = bed.write("a.txt", "two").unwrap();
    assert_eq!((bed.read("a.txt").unwrap().as_str(), second.mode), ("two", 0o750));
    assert_ne!(first.inode, second.inode);

    bed.root.append(&bed.root.rel("a.txt").unwrap(), b"+more").unwrap();
    assert_eq!(bed.read("a.txt").unwrap(), "two+more");
    bed.root.append(&bed.root.rel("new.txt").unwrap(), b"fresh").unwrap();
    assert_eq!(bed.read("new.txt").unwrap(), "fresh");

    // A second name of an outside file is read, but never written through.
    fs::hard_link(bed.outside.join("canary"), bed.inside.join("hard")).unwrap();
    assert_eq!(bed.read("hard").unwrap(), "CANARY");
    bed.write("hard", "mine").unwrap();
    bed.root.append(&bed.root.rel("hard").unwrap(), b"!").unwrap();
    assert_eq!(bed.read("hard").unwrap(), "mine!");
    assert_eq!(fs::read_to_string(bed.outside.join("canary")).unwrap(), "CANARY");

    assert_eq!(bed.write("no/such/dir", "x").unwrap_err().kind(), ErrorKind::NotFound);
    assert!(bed.root.create_dir_all(&bed.root.rel("no/such").unwrap()).unwrap());
    assert!(!bed.root.create_dir_all(&bed.root.rel("no/such").unwrap()).unwrap());
    bed.write("no/such/dir", "x").unwrap();
    assert_eq!(bed.write("no/such", "x").unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(bed.root.create_dir_all(&bed.root.rel("a.txt/x").unwrap()).unwrap_err().kind(), ErrorKind::Invalid);
    assert!(
        !fs::read_dir(&bed.inside).unwrap().any(|entry| is_temporary(entry.unwrap().file_name().to_str().unwrap()))
    );
}

fn guards_hold() {
    let bed = bed();
    let path = bed.root.rel("a").unwrap();
    let write = |text: &str, mode| bed.root.write_atomic(&path, text.as_bytes(), mode);
    let first = write("one", Mode::CreateOnly).unwrap();
    assert_eq!(write("two", Mode::CreateOnly).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(write("two", Mode::Unchanged(first.mtime_ns + 1)).unwrap_err().kind(), ErrorKind::Conflict);
    let second = write("two", Mode::Unchanged(first.mtime_ns)).unwrap();
    fs::remove_file(bed.inside.join("a")).unwrap();
    assert_eq!(write("x", Mode::Unchanged(second.mtime_ns)).unwrap_err().kind(), ErrorKind::Conflict);
    assert!(!bed.inside.join("a").exists(), "a deleted file does not come back");

    // Somebody else writes between the look and the replacement: theirs stays.
    write("mine", Mode::Replace).unwrap();
    let spot = bed.root.resolve(&path).unwrap();
    let mut staged = bed.root.stage(&spot, &Root::temporary_name()).unwrap();
    staged.write(b"late").unwrap();
    fs::write(bed.inside.join("a"), "theirs").unwrap();
    assert_eq!(staged.commit(&spot, Put::Over(spot.meta.unwrap())).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(bed.read("a").unwrap(), "theirs");
    let spot = bed.root.resolve(&bed.root.rel("b").unwrap()).unwrap();
    let staged = bed.root.stage(&spot, &Root::temporary_name()).unwrap();
    fs::write(bed.inside.join("b"), "theirs").unwrap();
    assert_eq!(staged.commit(&spot, Put::New).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(bed.read("b").unwrap(), "theirs");
    assert_eq!(fs::read_dir(&bed.inside).unwrap().count(), 2, "nothing temporary is left");
}

fn links_are_followed_inside_and_refused_outside() {
    let bed = bed();
    fs::create_dir_all(bed.inside.join("d/e")).unwrap();
    bed.write("d/file", "inside").unwrap();
    symlink("d/file", bed.inside.join("good")).unwrap();
    symlink("../d/../d/e/../file", bed.inside.join("d/winding")).unwrap();
    symlink("d/e", bed.inside.join("dir")).unwrap();
    symlink("missing", bed.inside.join("dangling")).unwrap();
    assert_eq!(bed.read("good").unwrap(), "inside");
    assert_eq!(bed.read("d/winding").unwrap(), "inside");
    bed.write("dir/below", "x").unwrap();
    assert!(bed.inside.join("d/e/below").exists());
    bed.write("good", "through").unwrap();
    assert_eq!(fs::read_to_string(bed.inside.join("d/file")).unwrap(), "through");
    assert!(bed.inside.join("good").symlink_metadata().unwrap().is_symlink());
    bed.write("dangling", "made").unwrap();
    assert_eq!(fs::read_to_string(bed.inside.join("missing")).unwrap(), "made");

    let outside = bed.outside.join("canary");
    symlink(&outside, bed.inside.join("abs")).unwrap();
    symlink("../outside/canary", bed.inside.join("rel")).unwrap();
    symlink("../outside", bed.inside.join("outdir")).unwrap();
    symlink("d/../../outside", bed.inside.join("sly")).unwrap();
    symlink("rel", bed.inside.join("chain")).unwrap();
    symlink("loop", bed.inside.join("loop")).unwrap();
    symlink("/proc/self/environ", bed.inside.join("environ")).unwrap();
    symlink("..", bed.inside.join("up")).unwrap();
    for path in [
        "abs",
        "rel",
        "outdir/canary",
        "outdir/new",
        "sly/canary",
        "chain",
        "loop",
        "environ",
        "up/outside/canary",
        "up",
    ] {
        assert_eq!(bed.read(path).unwrap_err().kind(), ErrorKind::Invalid, "{path}");
        assert_eq!(bed.write(path, "x").unwrap_err().kind(), ErrorKind::Invalid, "{path}");
        assert_eq!(
            bed.root.append(&bed.root.rel(path).unwrap(), b"x").unwrap_err().kind(),
            ErrorKind::Invalid,
            "{path}"
        );
        let below = bed.root.rel(path).unwrap().join("deep").unwrap();
        assert_eq!(bed.root.create_dir_all(&below).unwrap_err().kind(), ErrorKind::Invalid, "{path}");
    }
    assert_eq!(fs::read_dir(&bed.outside).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(&outside).unwrap(), "CANARY");

    // The link itself can go; what it leads to stays.
    for path in ["outdir", "abs"] {
        bed.root.remove(&bed.spot(path)).unwrap();
        assert!(bed.inside.join(path).symlink_metadata().is_err());
    }
    assert!(outside.exists());
}

fn special_files_are_refused_without_waiting() {
    use nix::sys::stat::Mode as Bits;
    let bed = bed();
    nix::unistd::mkfifo(&bed.inside.join("pipe"), Bits::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(bed.inside.join("socket")).unwrap();
    assert!(bed.inside.join("socket").symlink_metadata().unwrap().file_type().is_socket());
    let began = std::time::Instant::now();
    for path in ["pipe", "socket"] {
        assert_eq!(bed.read(path).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(bed.write(path, "x").unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(bed.root.append(&bed.root.rel(path).unwrap(), b"x").unwrap_err().kind(), ErrorKind::Invalid);
        assert!(bed.spot(path).open_dir().is_err());
    }
    // A pipe that takes a file's place between look and open is not waited for either.
    bed.write("file", "x").unwrap();
    let spot = bed.spot("file");
    fs::remove_file(bed.inside.join("file")).unwrap();
    nix::unistd::mkfifo(&bed.inside.join("file"), Bits::S_IRWXU).unwrap();
    assert_eq!(spot.open().unwrap_err().kind(), ErrorKind::Invalid);
    assert!(began.elapsed() < std::time::Duration::from_secs(5));
}

fn trees_are_listed_walked_copied_and_removed() {
    let bed = bed();
    bed.root.create_dir_all(&bed.root.rel("t/sub/deep").unwrap()).unwrap();
    bed.write("t/B", "b").unwrap();
    bed.write("t/a", "a").unwrap();
    bed.write("t/sub/deep/c", "c").unwrap();
    symlink("../../outside", bed.inside.join("t/out")).unwrap();
    let rel = |text: &str| bed.root.rel(text).unwrap();
    let (items, complete) = bed.root.list(&rel("t"), 10).unwrap();
    assert_eq!(items.iter().map(|item| item.name.as_str()).collect::<Vec<_>>(), ["a", "B", "out", "sub"]);
    assert!(complete && !bed.root.list(&rel("t"), 2).unwrap().1);

    let mut seen = Vec::new();
    let top = bed.spot("t");
    let walked = bed.root.walk(&top, 100, |_, item| {
        seen.push(item.path.to_string());
        Ok(Step::Enter)
    });
    assert_eq!(walked.unwrap(), Walked { entries: 6, cut: false });
    assert_eq!(seen, ["t/a", "t/B", "t/out", "t/sub", "t/sub/deep", "t/sub/deep/c"]);
    assert!(bed.root.walk(&top, 5, |_, _| Ok(Step::Enter)).unwrap().cut);

    let copy = |to: &str, max| {
        bed.root.copy(&bed.spot("t"), &bed.spot(to), &Root::temporary_name(), max, &|path| path.name() == Some("B"))
    };
    copy("copy", 100).unwrap();
    assert_eq!(bed.read("copy/sub/deep/c").unwrap(), "c");
    assert!(!bed.inside.join("copy/B").exists());
    assert_eq!(fs::metadata(bed.inside.join("copy/sub")).unwrap().mode() & 0o777, 0o775);
    assert_eq!(copy("copy", 100).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(copy("small", 2).unwrap_err().kind(), ErrorKind::TooLarge);
    let into = bed.root.copy(&bed.spot("t/a"), &bed.spot("copy/new"), &Root::temporary_name(), 1, &|_| false);
    into.unwrap();
    assert_eq!(bed.read("copy/new").unwrap(), "a");

    let moved = bed.root.rename_noreplace(&bed.spot("copy"), &bed.spot("t"));
    assert_eq!(moved.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(bed.root.rename_noreplace(&bed.spot("t"), &bed.spot("t/sub/t")).is_err());
    bed.root.rename_noreplace(&bed.spot("copy"), &bed.spot("moved")).unwrap();
    bed.root.remove(&bed.spot("moved")).unwrap();
    bed.root.remove(&bed.spot("t")).unwrap();
    assert_eq!(fs::read_dir(&bed.inside).unwrap().count(), 0);
    assert!(bed.outside.join("canary").exists());
    assert!(bed.root.remove(&bed.root.locate(&rel(".")).unwrap()).is_err());
}

#[test]
fn a_full_disk_leaves_the_old_file() {
    // RLIMIT_FSIZE makes every write beyond the limit fail, as a full disk does; a child process, because it is
    // the limit of a whole process.
    const LIMITED: &str = "ASSISTANT_TEST_FILE_SIZE";
    if std::env::var_os(LIMITED).is_none() {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "root::tests::a_full_disk_leaves_the_old_file", "--nocapture"])
            .env(LIMITED, "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains("ran with a limit"));
        return;
    }
    let mut mask = nix::sys::signal::SigSet::empty();
    mask.add(nix::sys::signal::Signal::SIGXFSZ);
    mask.thread_block().unwrap();
    let bed = bed();
    bed.write("a", "old").unwrap();
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_FSIZE, 4096, 4096).unwrap();
    assert_eq!(bed.write("a", &"x".repeat(8192)).unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(bed.root.append(&bed.root.rel("a").unwrap(), &[b'x'; 8192]).unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(bed.read("a").unwrap(), "old");
    assert_eq!(fs::read_dir(&bed.inside).unwrap().count(), 1, "nothing temporary is left");
    println!("ran with a limit");
}

/// Runs `f` without the rights of root, in a thread of its own, as the owner of `directory`.
fn without_rights<T: Send>(directory: &Path, f: impl FnOnce() -> T + Send) -> T {
    use nix::unistd::{Uid, chown, setfsuid};
    let nobody = Uid::from_raw(65_534);
    let root = Uid::effective().is_root();
    if root {
        chown(directory, Some(nobody), None).unwrap();
    }
    std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            if root {
                setfsuid(nobody);
            }
            f()
        });
        run.join().unwrap()
    })
}

#[test]
fn an_error_after_the_deed_says_so_and_a_refusal_does_not() {
    let bed = bed();
    let directory = bed.inside.join("blind");
    fs::create_dir(&directory).unwrap();
    // One may write into it but not open it, so that it cannot be synced.
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o300)).unwrap();
    let err = without_rights(&directory, || bed.write("blind/a", "new").unwrap_err());
    assert_eq!((err.kind(), err.is_in_doubt()), (ErrorKind::Forbidden, true), "{err}");
    assert_eq!(fs::read_to_string(directory.join("a")).unwrap(), "new");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();

    fs::write(bed.inside.join("there"), "same").unwrap();
    let there = bed.spot("there");
    let mut staged = bed.root.stage(&there, &Root::temporary_name()).unwrap();
    staged.write(b"same").unwrap();
    let err = staged.commit(&there, Put::New).unwrap_err();
    assert_eq!((err.kind(), err.is_in_doubt()), (ErrorKind::Conflict, false), "{err}");
}
