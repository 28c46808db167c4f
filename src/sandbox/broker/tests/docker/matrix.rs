//! The probe in real containers, at every level and with every version of Landlock that is about: what is promised is
//! tried and holds. `matrix.json` says what each place promises and what comes out otherwise; `BLESS=1` writes it anew.

use std::{
    fs,
    os::{
        fd::AsFd as _,
        unix::{
            fs::{OpenOptionsExt as _, PermissionsExt as _},
            net::UnixListener,
        },
    },
    path::Path,
    process::Command,
};

use assistant_broker::container::{self, Open};
use assistant_sandbox::{
    probe::{Cell, Conducted, Conductor, Plants},
    protocol::{Level, Limits, Net, Ready},
};
use nix::{
    libc,
    unistd::{Gid, Uid, chown},
};

use super::{Stage, engine, frame};

/// The newest; those of Ubuntu 24.04's and of Debian 12's kernel.
const VERSIONS: [u32; 3] = [7, 4, 2];

/// Smaller than the ordinary ones, so that using them up takes little time and little of the machine.
const LIMITS: Limits = Limits {
    seconds: 300,
    memory_bytes: 256 << 20,
    processes: 128,
    cpu_millis: 2000,
    tmp_bytes: 64 << 20,
    file_bytes: 1 << 30,
    output_bytes: 4 << 20,
};

const CELLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/docker/matrix.json");

/// A repository and files of the host's own, as a workspace in use has them.
const FURNITURE: [(&str, &str); 5] = [
    (".git/HEAD", "ref: refs/heads/main\n"),
    (".git/config", "[core]\n\trepositoryformatversion = 0\n"),
    (".git/hooks/pre-push.sample", "#!/bin/sh\n"),
    (".assistant/config.toml", "[x]\n"),
    (".assistant/cache/x", "x\n"),
];

/// A broker whose runner uses no newer Landlock: a script stands in the runner's place, which adds that to its arguments.
fn stage(version: u32, engine: &str, runner: &str) -> Stage {
    let dir = tempfile::tempdir().unwrap();
    let workspace = dir.path().join("workspace");
    fs::create_dir(&workspace).unwrap();
    for (path, content) in FURNITURE {
        fs::create_dir_all(workspace.join(path).parent().unwrap()).unwrap();
        fs::write(workspace.join(path), content).unwrap();
    }
    fs::copy(runner, workspace.join("runner")).unwrap();
    fs::copy(Path::new(runner).with_file_name("assistant-sandbox-probe"), workspace.join("probe")).unwrap();
    own(&workspace);
    let script = dir.path().join("script");
    fs::write(&script, format!("#!/bin/sh\nexec /workspace/runner \"$@\" --landlock-abi {version}\n")).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    Stage::at(dir, &format!("engine = \"{engine}\"\nrunner = \"{}\"\n", script.display()))
}

/// Gives a directory and all in it to whoever runs the commands.
fn own(path: &Path) {
    chown(path, Some(Uid::from_raw(65534)), Some(Gid::from_raw(65534))).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            own(&entry.unwrap().path());
        }
    }
}

/// A descriptor of a socket where somebody takes connections, as the egress proxy does.
fn proxy(stage: &Stage) -> fs::File {
    let path = stage.path("proxy");
    let listener = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path).unwrap()
}

/// The attempts at a level that tell something: older versions of Landlock change nothing of what must work.
fn telling(level: Level, version: u32, runner: &str) -> Vec<String> {
    let level = serde_json::to_value(level).unwrap();
    let probe = Path::new(runner).with_file_name("assistant-sandbox-probe");
    let list = Command::new(probe).args(["--list", "--level", level.as_str().unwrap()]).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let telling: Vec<_> = list
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| version == VERSIONS[0] || words[1] == "denied")
        .map(|words| words[0].to_owned())
        .collect();
    assert!(telling.len() > 150, "{}", telling.len());
    telling
}

async fn hold(level: Level) {
    let Some((engine, runner)) = engine() else { return };
    for version in VERSIONS {
        let stage = stage(version, &engine, &runner);
        let proxy = (level == Level::WorkNet).then(|| proxy(&stage));
        let open = Open { limits: LIMITS, ..Open::default() };
        let opened = container::open(&stage.path("run"), open, proxy.as_ref().map(fs::File::as_fd)).await;
        let (mut stream, opened) = opened.unwrap();
        let ready: Ready = frame(&mut stream).await.parse().unwrap();
        assert_eq!(ready.landlock_abi, version);
        assert_eq!(matches!(ready.net, Net::Given(_)), level == Level::WorkNet, "{:?}", ready.net);
        let process = fs::read_to_string(format!("/proc/{}/cmdline", opened.process.unwrap())).unwrap();
        assert!(process.contains("/workspace/runner\0serve"), "{process:?}");
        let mut socket = stream.into_std().unwrap();
        socket.set_nonblocking(false).unwrap();
        let only = telling(level, version, &runner);
        let (conducted, touched) = tokio::task::spawn_blocking(move || {
            let plants = Plants::new("/tmp".as_ref()).unwrap();
            let conductor = Conductor { probe: "./probe".to_owned(), level, limits: LIMITS, only };
            (conductor.conduct(&mut socket, &plants).unwrap(), plants.touched().unwrap())
        })
        .await
        .unwrap();
        let Conducted { reports, denials } = conducted;
        let refused = denials.iter().filter(|denial| denial.layer == "seccomp").count();
        assert!(refused > 30, "few refusals were heard: {denials:#?}");

        let name = format!("docker, {level:?}, landlock {version}").to_lowercase();
        let cell = Cell::of(&ready, &reports);
        assert_eq!(cell.doubts(&reports, &[]), Vec::<String>::new(), "{name}");
        cell.hold(Path::new(CELLS), &name, std::env::var_os("BLESS").is_some()).unwrap().unwrap();
        for (path, content) in FURNITURE {
            assert_eq!(fs::read_to_string(stage.path("workspace").join(path)).unwrap(), content, "{name}: {path}");
        }
        assert!(!stage.path("workspace/.git/hooks/pre-commit").exists());
        assert_eq!(touched, Vec::<String>::new());
        stage.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_gets_out_at_level_read() {
    hold(Level::Read).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_gets_out_at_level_work() {
    hold(Level::Work).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_gets_out_at_level_work_net() {
    hold(Level::WorkNet).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_gets_out_at_level_container() {
    hold(Level::Container).await;
}
