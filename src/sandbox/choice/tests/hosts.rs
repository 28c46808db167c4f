//! Every backend through its own way in: sockets as systemd's and the broker's, and programs in the runner's place. Each is
//! not there, lacks a guarantee, or gives all; and what each was told is what the configuration says.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Mutex};

use assistant_broker::container::{Open, Opened, Reply, Request};
use assistant_sandbox::protocol::{Frame, Guarantee, Kind, Limits, Ready};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixListener,
};

use super::super::*;
use crate::{
    config::value::Bytes,
    sandbox::{
        begin::limits,
        config::{Choice, Guarantees},
        double,
    },
};

/// What a backend of a host can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ability {
    Absent,
    /// Without [`LACKED`].
    Less,
    All,
}

const ABILITIES: [Ability; 3] = [Ability::Absent, Ability::Less, Ability::All];
const LACKED: Guarantee = Guarantee::Signals;
const PROTECTED: &str = "keys/";

struct Hosts {
    dir: tempfile::TempDir,
    opened: std::sync::Arc<Mutex<Vec<Open>>>,
}

impl Hosts {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn ready(&self, ability: Ability) -> Ready {
        let mut ready = double::ready(double::place(self.dir.path()));
        ready.protect = vec![PROTECTED.to_owned()];
        if ability == Ability::Less {
            ready.guarantees.remove(&LACKED);
        }
        ready
    }

    /// Sockets and programs of all abilities, at places named after them.
    fn start() -> Self {
        let hosts = Self { dir: tempfile::tempdir().unwrap(), opened: std::sync::Arc::default() };
        for ability in [Ability::Less, Ability::All] {
            let ready = hosts.ready(ability);
            fs::write(hosts.path(&format!("{ability:?}")), Frame::json(Kind::Ready, &ready).unwrap().bytes().unwrap())
                .unwrap();
            let unit = UnixListener::bind(hosts.path(&format!("unit-{ability:?}"))).unwrap();
            let says = ready.clone();
            tokio::spawn(async move {
                while let Ok((stream, _)) = unit.accept().await {
                    let says = says.clone();
                    tokio::spawn(async move { double::serve(stream, &says).await });
                }
            });
            let docker = UnixListener::bind(hosts.path(&format!("docker-{ability:?}"))).unwrap();
            let asked = hosts.opened.clone();
            tokio::spawn(async move {
                while let Ok((stream, _)) = docker.accept().await {
                    let mut stream = BufReader::new(stream);
                    let mut line = String::new();
                    stream.read_line(&mut line).await.unwrap();
                    let Ok(Request::Open(open)) = serde_json::from_str(&line) else { continue };
                    let [container, engine, image] = [(); 3].map(|()| "x".to_owned());
                    let opened = Opened { container, engine, image, limits: open.limits, process: Some(1) };
                    asked.lock().unwrap().push(open);
                    let reply = serde_json::to_string(&Reply::Opened(opened)).unwrap() + "\n";
                    stream.write_all(reply.as_bytes()).await.unwrap();
                    let ready = ready.clone();
                    tokio::spawn(async move { double::serve(stream.into_inner(), &ready).await });
                }
            });
        }
        for namespace in ABILITIES {
            for landlock in ABILITIES {
                hosts.program(namespace, landlock);
            }
        }
        hosts
    }

    /// A program that tells how it was started, and promises what it is to.
    fn program(&self, namespace: Ability, landlock: Ability) {
        let path = self.path(&format!("runner-{namespace:?}-{landlock:?}"));
        let (here, says) = (self.dir.path().display(), |ability: Ability| match ability {
            Ability::Absent => "exit 1".to_owned(),
            ability => format!("cat {}/{ability:?} >&0", self.dir.path().display()),
        });
        let script = format!(
            "#!/bin/sh\necho \"$@\" > {here}/arguments\ncase $3 in namespace) {} ;; landlock) {} ;; esac\nexec cat >/dev/null\n",
            says(namespace),
            says(landlock),
        );
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_opened_is_what_was_asked_for_on_every_host() {
    let hosts = Hosts::start();
    let clock = Clock::fixed(Timestamp::UNIX_EPOCH);
    let choices = [Choice::Auto, Choice::Unit, Choice::Namespace, Choice::Docker, Choice::Landlock];
    let without = Guarantee::ALL.into_iter().filter(|guarantee| *guarantee != LACKED).collect::<Vec<_>>();
    let mut number = 0_u32;
    for [unit, namespace, docker, landlock] in combinations() {
        for level in [Level::Work, Level::Container] {
            // In turn: each choice meets most hosts at each level, with and without the guarantee that some lack.
            number += 1;
            let (choice, least) = (choices[number as usize % 5], number.is_multiple_of(2));
            let config = Sandbox {
                backend: choice,
                unit_socket: hosts.text(&format!("unit-{unit:?}")),
                unit_wishes: hosts.text("wishes"),
                docker_socket: hosts.text(&format!("docker-{docker:?}")),
                runner: Some(hosts.text(&format!("runner-{namespace:?}-{landlock:?}"))),
                require: Guarantees(if least { without.clone() } else { Guarantee::ALL.to_vec() }),
                protect: vec![PROTECTED.to_owned()],
                memory: Bytes(u64::from(100 + number) << 20),
                processes: 50 + number,
                image: format!("image:{number}"),
                uid: Some(7000),
                ..Sandbox::default()
            };
            let opened = Choices::default().open(&clock, hosts.dir.path(), &config, level, false).await;
            let enough = if least { Ability::Less } else { Ability::All };
            let order = [
                (Backend::Unit, Choice::Unit, unit),
                (Backend::Namespace, Choice::Namespace, namespace),
                (Backend::Docker, Choice::Docker, docker),
                (Backend::Landlock, Choice::Landlock, landlock),
            ];
            let expected = order.into_iter().find(|(backend, named, ability)| {
                (choice == Choice::Auto || choice == *named)
                    && (level == Level::Work || *backend == Backend::Docker)
                    && *ability >= enough
            });
            let expected = expected.map(|(backend, ..)| backend);
            let what = format!("{choice:?} {level:?} {least} {:?}", order.map(|(.., ability)| ability));
            match (opened, expected) {
                (Ok((backend, session)), Some(expected)) => {
                    assert_eq!(backend, expected, "{what}");
                    assert!(session.ready.guarantees.contains_key(&LACKED) || least, "{what}");
                    told(&hosts, backend, &config, &what);
                }
                (Err(err), None) => assert_eq!(err.kind(), assistant_api::ErrorKind::Unavailable, "{what}: {err}"),
                (opened, expected) => {
                    panic!("{what}: {:?} instead of {expected:?}", opened.map(|(backend, _)| backend))
                }
            }
        }
    }
}

/// The backend was told of every bound and every protected path, and of no other.
fn told(hosts: &Hosts, backend: Backend, config: &Sandbox, what: &str) {
    let wanted: Limits = limits(config);
    match backend {
        Backend::Unit => {}
        Backend::Docker => {
            let open = hosts.opened.lock().unwrap().pop().unwrap();
            assert_eq!((&open.limits, &open.protect), (&wanted, &config.protect), "{what}");
            assert_eq!(open.image.as_ref(), Some(&config.image), "{what}");
        }
        Backend::Namespace | Backend::Landlock => {
            let line = fs::read_to_string(hosts.path("arguments")).unwrap();
            let words: Vec<_> = line.split_whitespace().collect();
            let of = |name: &str| words.iter().position(|word| *word == name).map(|at| words[at + 1].to_owned());
            for (name, value) in [
                ("--backend", backend.as_str().to_owned()),
                ("--workspace", hosts.dir.path().display().to_string()),
                ("--protect", PROTECTED.to_owned()),
                ("--memory-bytes", wanted.memory_bytes.to_string()),
                ("--processes", wanted.processes.to_string()),
                ("--seconds", wanted.seconds.to_string()),
                ("--cpu-millis", wanted.cpu_millis.to_string()),
                ("--tmp-bytes", wanted.tmp_bytes.to_string()),
                ("--file-bytes", wanted.file_bytes.to_string()),
                ("--output-bytes", wanted.output_bytes.to_string()),
            ] {
                assert_eq!(of(name), Some(value), "{what}: {name} in {line}");
            }
            if nix::unistd::geteuid().is_root() {
                assert_eq!(of("--uid").as_deref(), Some("7000"), "{what}: {line}");
            }
            assert_eq!(of("--proxy"), None, "{what}: a way out at this level");
        }
    }
}

fn combinations() -> impl Iterator<Item = [Ability; 4]> {
    (0..81_usize).map(|host| [0, 1, 2, 3].map(|of| ABILITIES[(host / 3_usize.pow(of)) % 3]))
}
