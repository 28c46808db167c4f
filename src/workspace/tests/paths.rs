//! Two hundred paths that nobody should be able to use against the workspace, and what they lead to.

use std::os::unix::fs::{FileTypeExt as _, symlink};

use nix::sys::stat::{Mode, SFlag};

use super::*;

/// What lies outside holds this; so does nothing else.
pub(super) const CANARY: &str = "CANARY-a3f9c1";

/// Links, pipes, sockets, devices and second names in the workspace, and what they lead to beside it.
pub(super) fn plant(bed: &Bed) {
    let (inside, outside) = (&bed.inside, &bed.outside);
    fs::create_dir_all(outside.join("dir/deep")).unwrap();
    for name in ["file", "dir/file", "dir/deep/file"] {
        fs::write(outside.join(name), format!("{CANARY} {name}")).unwrap();
    }
    for dir in ["d/e/f", ".assistant/docs", ".assistant/cache/tool-results/job-8"] {
        fs::create_dir_all(inside.join(dir)).unwrap();
    }
    for name in ["d/file", "d/e/file", "plain", ".assistant/docs/GUIDE.md", "swap-safe"] {
        fs::write(inside.join(name), "inside").unwrap();
    }
    fs::write(inside.join(".assistant/cache/tool-results/job-8/r.json"), format!("{CANARY} of job 8")).unwrap();
    let out = outside.to_str().unwrap();
    for (name, target) in [
        ("abs-file", format!("{out}/file")),
        ("abs-dir", format!("{out}/dir")),
        ("rel-file", "../../outside/file".into()),
        ("rel-dir", "../../outside/dir".into()),
        ("d/up-file", "../../../outside/file".into()),
        ("d/e/winding", "../../d/./e/../../../../outside/dir".into()),
        ("chain-1", "chain-2".into()),
        ("chain-2", "d/../chain-3".into()),
        ("chain-3", "abs-file".into()),
        ("dir-chain", "dir-chain-2".into()),
        ("dir-chain-2", "./rel-dir".into()),
        ("loop", "loop".into()),
        ("loop-a", "loop-b".into()),
        ("loop-b", "loop-a".into()),
        ("up", "..".into()),
        ("up-up", "../..".into()),
        ("root", "/".into()),
        ("etc", "/etc".into()),
        ("passwd", "/etc/passwd".into()),
        ("environ", "/proc/self/environ".into()),
        ("cwd", "/proc/self/cwd".into()),
        ("proc-root", "/proc/self/root".into()),
        ("fd", "/proc/self/fd".into()),
        ("dev-zero", "/dev/zero".into()),
        ("dev-stdin", "/dev/stdin".into()),
        ("dangling-out", "../../outside/new-file".into()),
        ("dangling-abs", format!("{out}/new-file")),
        ("dangling-dir", "../../outside/new-dir/below".into()),
        ("database", "../assistant.db".into()),
        ("kept", "../kept".into()),
        ("to-own", ".assistant".into()),
        ("d/to-own", "../.assistant/docs".into()),
        ("to-cache", ".assistant/cache/tool-results/job-8".into()),
        ("to-trash", ".trash".into()),
        ("d/sibling", "../../outside-not/x".into()),
    ] {
        symlink(target, inside.join(name)).unwrap();
    }
    nix::unistd::mkfifo(&inside.join("pipe"), Mode::S_IRWXU).unwrap();
    let _ = std::os::unix::net::UnixListener::bind(inside.join("socket"));
    // Only root can make these; others have the links above.
    let zero = nix::sys::stat::makedev(1, 5);
    let _ = nix::sys::stat::mknod(&inside.join("zero"), SFlag::S_IFCHR, Mode::S_IRWXU, zero);
    fs::hard_link(outside.join("dir/file"), inside.join("second-name")).unwrap();
    assert!(fs::symlink_metadata(inside.join("pipe")).unwrap().file_type().is_fifo());
}

/// The paths. Some are harmless names that only look dangerous; none may lead anywhere but into the workspace.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn table(bed: &Bed) -> Vec<String> {
    let (inside, outside) = (bed.inside.to_str().unwrap(), bed.outside.to_str().unwrap());
    let mut paths: Vec<String> = Vec::new();
    // Text that climbs.
    for climb in ["..", "../", "../..", "../../..", "./..", "d/../..", "d/e/../../..", "./d/.././..", "..//..", "/.."] {
        for rest in ["", "/outside/file", "/../outside/file", "/outside/new-file"] {
            paths.push(format!("{climb}{rest}"));
        }
    }
    // Absolute ones.
    for path in [
        "/",
        "//",
        "///etc/passwd",
        "/etc/passwd",
        "/etc/shadow",
        "/proc/self/environ",
        "/proc/self/root/etc/passwd",
        "/proc/self/cwd/Cargo.toml",
        "/proc/1/environ",
        "/dev/zero",
        "/dev/stdin",
        "/dev/tty",
        "/tmp",
        "/./etc/passwd",
        "/proc/self/fd/0",
    ] {
        paths.push(path.into());
    }
    for path in ["file", "dir/file", "new-file", "dir/../file", ""] {
        paths.push(format!("{outside}/{path}"));
    }
    for rest in
        ["/..", "/../assistant.db", "/../../outside/file", "x", "-not/file", "/../workspace-not/x", "/d/../../kept/x"]
    {
        paths.push(format!("{inside}{rest}"));
    }
    // Through what was planted.
    let links = [
        "abs-file",
        "abs-dir",
        "rel-file",
        "rel-dir",
        "d/up-file",
        "d/e/winding",
        "chain-1",
        "chain-2",
        "dir-chain",
        "loop",
        "loop-a",
        "up",
        "up-up",
        "root",
        "etc",
        "passwd",
        "environ",
        "cwd",
        "proc-root",
        "fd",
        "dev-zero",
        "dev-stdin",
        "dangling-out",
        "dangling-abs",
        "dangling-dir",
        "database",
        "kept",
        "to-own",
        "d/to-own",
        "to-cache",
        "d/sibling",
    ];
    paths.extend(links.map(str::to_owned));
    for (dir, rest) in [
        ("abs-dir", "file"),
        ("abs-dir", "new-file"),
        ("abs-dir", "deep/file"),
        ("abs-dir", "../file"),
        ("rel-dir", "file"),
        ("rel-dir", "new-file"),
        ("rel-dir", "new/dir/file"),
        ("d/e/winding", "file"),
        ("dir-chain", "deep/file"),
        ("up", "outside/file"),
        ("up", "assistant.db"),
        ("up-up", "outside/file"),
        ("root", "etc/passwd"),
        ("etc", "passwd"),
        ("etc", "new-file"),
        ("cwd", "Cargo.toml"),
        ("proc-root", "etc/passwd"),
        ("fd", "0"),
        ("fd", "3"),
        ("kept", "x"),
        ("to-own", "docs/GUIDE.md"),
        ("to-own", "new"),
        ("d/to-own", "GUIDE.md"),
        ("to-cache", "r.json"),
        ("passwd", "x"),
        ("loop", "x"),
        ("database", "x"),
        ("to-trash", "x"),
        ("dangling-dir", "x"),
        ("plain", "x"),
        ("plain", "../../x"),
    ] {
        paths.push(format!("{dir}/{rest}"));
    }
    // Special files, also with slashes behind them.
    for special in ["pipe", "socket", "zero", "second-name"] {
        paths.extend([special.to_owned(), format!("{special}/"), format!("./{special}//."), format!("{special}/x")]);
    }
    // Encodings that somebody might undo.
    for path in [
        "%2e%2e/outside/file",
        "%2e%2e%2foutside%2ffile",
        "..%2foutside%2ffile",
        "%252e%252e%252foutside",
        "..%5coutside",
        "..\\outside\\file",
        "d\\..\\..\\outside",
        "\u{ff0e}\u{ff0e}/outside/file",
        "\u{2024}\u{2024}/outside/file",
        "..\u{2215}outside\u{2215}file",
        "..\u{ff0f}outside",
        "\u{202e}..",
        ".\u{200b}./outside/file",
        "..\u{0}/outside",
        "\u{0}",
        "d/file\u{0}.txt",
        "file:///etc/passwd",
        "file://../outside",
        "~",
        "~root/.ssh",
        "~/file",
        "$HOME/x",
        "${PWD}/../x",
        "`id`",
        "$(id)",
        "-rf",
        "--help",
        "|id",
        "CON",
        "nul",
        "C:\\Windows",
        "\\\\host\\share",
        ". .",
        ".. /outside",
        "../ outside",
        " ..",
        ".. ",
        "...",
        "....//outside",
        "..;/outside",
        "..\n/outside",
        "d/\r\nx",
        "\u{1b}[2J",
        "\u{7f}",
        "\t",
    ] {
        paths.push(path.into());
    }
    // Empty, bare, and long.
    paths.extend(["", ".", "./", "./.", ".//", " ", "*", "?", "[", "d/", "d//file", "d/./file"].map(str::to_owned));
    paths.extend(["x".repeat(255), "x".repeat(256), "x".repeat(5000), "é".repeat(127) + "x", "é".repeat(128)]);
    paths.extend([
        "x/".repeat(128),
        "x/".repeat(129),
        "x/".repeat(3000),
        "../".repeat(1500),
        "d/../".repeat(900) + "../x",
    ]);
    paths.push("d/".repeat(60) + &"../".repeat(61) + "outside/file");
    // The program's own places, in every spelling.
    for path in [
        ".assistant",
        ".assistant/",
        ".assistant/new",
        ".assistant/docs/GUIDE.md",
        "./.assistant/new",
        ".//.assistant//new",
        "d/../.assistant/new",
        ".ASSISTANT/new",
        ".Assistant/docs/GUIDE.md",
        ".aSSISTANt",
        ".assistant/../.assistant/new",
        ".assistant/./docs/../new",
        ".assistant/cache/tool-results/job-8/r.json",
        ".assistant/cache/tool-results",
        ".assistant/cache/tool-results/job-7/../job-8/r.json",
        ".assistant/cache/tool-results/job-8",
        ".trash",
        ".trash/new",
        ".trash/../.assistant/new",
        "d/.~assistant-0",
        ".~assistant-0",
    ] {
        paths.push(path.into());
    }
    paths
}

/// Everything below a directory, with its content's hash, type, mode, links and time of change.
pub(super) fn snapshot(dir: &Path) -> std::collections::BTreeMap<PathBuf, String> {
    use std::os::unix::fs::MetadataExt as _;

    use sha2::Digest as _;
    let mut found = std::collections::BTreeMap::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = path.symlink_metadata().unwrap();
        let mut state = format!("{:o} {} {}.{}", meta.mode(), meta.nlink(), meta.mtime(), meta.mtime_nsec());
        if meta.is_file() {
            state += &crate::root::hex(&sha2::Sha256::digest(fs::read(&path).unwrap()));
        }
        if meta.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        found.insert(path, state);
    }
    found
}
