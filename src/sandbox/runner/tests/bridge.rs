//! The way to the egress proxy at level `work+net`. The proxy is played here; the real one is met by the daemon's tests.

use std::{
    fs::{self, OpenOptions},
    io::{Read as _, Write as _},
    os::{
        fd::AsFd as _,
        unix::{
            fs::{OpenOptionsExt as _, PermissionsExt as _},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use assistant_sandbox::protocol::{Exec, Level, Login, Net, pass_proxy};
use tempfile::TempDir;

use crate::{
    client::{Session, Starter, Workspace, each, sh, starters},
    direct::start_apart,
};

/// Whoever listens where the proxy should.
pub(crate) struct Proxy {
    dir: TempDir,
}

impl Proxy {
    /// Plays with each connection, once its request is read.
    pub(crate) fn start(play: impl Fn(String, UnixStream) + Clone + Send + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let proxy = Self { dir };
        let listener = UnixListener::bind(proxy.path()).unwrap();
        fs::set_permissions(proxy.path(), fs::Permissions::from_mode(0o666)).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let play = play.clone();
                thread::spawn(move || play(head(&stream), stream));
            }
        });
        proxy
    }

    /// Answers every request with the head of the request itself.
    fn mirror() -> Self {
        Self::start(|head, mut stream| {
            let answer =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{head}", head.len());
            let _ = stream.write_all(answer.as_bytes()); // the command may have gone
        })
    }

    pub(crate) fn path(&self) -> String {
        self.dir.path().join("proxy.sock").to_str().unwrap().to_owned()
    }
}

/// The head of a request, and not a byte beyond it.
fn head(mut stream: &UnixStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        head.extend(byte);
    }
    String::from_utf8(head).unwrap().replace('\r', "")
}

fn net(script: &str) -> Exec {
    Exec { level: Level::WorkNet, proxy_login: Some(Login("job:secret".to_owned())), ..sh(script) }
}

fn python(script: &str) -> String {
    format!("python3 - <<'END'\n{script}\nEND")
}

#[test]
fn the_proxy_is_reached_and_nothing_else() {
    let proxy = Proxy::mirror();
    each(|starter, workspace| {
        let mut session = Session::start(starter, workspace, &["--proxy", &proxy.path()]);
        assert!(matches!(&session.ready.net, Net::Given(_)), "{:?}", session.ready.net);
        let mut run = |script: &str| session.run(&net(script)).unwrap();

        let done = run("curl --silent --show-error http://host.example/path");
        assert!(done.text().starts_with("GET http://host.example/path HTTP/1.1\n"), "{}", done.all());
        // "job:secret"
        assert!(done.text().contains("Proxy-Authorization: Basic am9iOnNlY3JldA==\n"), "{}", done.all());
        let done = run("curl --silent https://host.example/");
        assert!(!done.text().contains("GET") && done.exit.code != Some(0), "a mirror is no tunnel: {}", done.all());
        let done = run("env | sort | grep -i proxy");
        let url = "http://job:secret@127.0.0.1:3128";
        let expected = format!(
            "GIT_HTTP_PROXY_AUTHMETHOD=basic\nHTTPS_PROXY={url}\nHTTP_PROXY={url}\nNODE_USE_ENV_PROXY=1\n\
             NO_PROXY=localhost,127.0.0.1,::1\nhttp_proxy={url}\nhttps_proxy={url}\nno_proxy=localhost,127.0.0.1,::1\n"
        );
        let mut found: Vec<_> = done.text().lines().map(|line| format!("{line}\n")).collect();
        found.sort();
        assert_eq!(found.concat(), expected);
        for stopped in [
            "curl --silent --noproxy '*' --max-time 2 http://127.0.0.1:80/",
            "curl --silent --noproxy '*' --max-time 2 http://192.0.2.1/",
            "curl --silent --noproxy '*' --max-time 2 http://[2001:db8::1]/",
            "getent hosts host.example",
        ] {
            let done = run(stopped);
            assert!(done.exit.code != Some(0) && done.text().is_empty(), "{stopped}: {}", done.all());
        }
        let datagram =
            "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))";
        let done = run(&python(datagram));
        assert!(done.all().contains("Network is unreachable"), "{}", done.all());
    });
}

/// Somebody listens on another port of the same loopback, and the rules alone keep a command from it.
#[test]
fn other_ports_are_closed_by_landlock() {
    let proxy = Proxy::mirror();
    let workspace = Workspace::new();
    let mut session = Session::start(Starter::User, &workspace, &["--proxy", &proxy.path()]);
    if session.ready.landlock_abi < 4 {
        eprintln!("skipped: ports are not Landlock's before version 4 (kernel 6.7)");
        return;
    }
    // A socket that listens without having been bound gets a port of the kernel's choice.
    let script = "import socket\ns = socket.socket()\ns.listen()\nprint(s.getsockname()[1])\n\
                  for port in (s.getsockname()[1], 3128):\n    try:\n        socket.create_connection(('127.0.0.1', port))\n\
                  \x20       print('connected')\n    except OSError as err:\n        print(err)\n\
                  try:\n    socket.socket().bind(('127.0.0.1', 0))\nexcept OSError as err:\n    print(err)";
    let done = session.run(&net(&python(script))).unwrap();
    let text = done.text();
    let lines: Vec<_> = text.lines().skip(1).collect();
    assert_eq!(lines, ["[Errno 13] Permission denied", "connected", "[Errno 13] Permission denied"], "{}", done.all());
}

#[test]
fn other_levels_of_the_same_session_do_not_reach_it() {
    let proxy = Proxy::mirror();
    each(|starter, workspace| {
        let mut session = Session::start(starter, workspace, &["--proxy", &proxy.path()]);
        assert!(session.run(&net("curl --silent http://a.example/")).unwrap().text().contains("a.example"));
        let ask = format!(
            "env | grep -i proxy; ls {}; curl --silent --proxy http://job:secret@127.0.0.1:3128 http://a.example/",
            proxy.path()
        );
        for level in [Level::Work, Level::Read] {
            let done = session.run(&Exec { level, ..sh(&ask) }).unwrap();
            assert!(done.exit.code != Some(0) && done.text().is_empty(), "{level:?}: {}", done.all());
            assert!(done.exit.denials.iter().any(|denial| denial.target == "socket"), "{:?}", done.exit.denials);
            let refused = session.run(&Exec { level, ..net("true") }).unwrap_err();
            assert!(refused.message.starts_with("proxy_login: "), "{refused:?}");
        }
        let done = session.run(&net(&format!("ls {}", proxy.path()))).unwrap();
        assert_ne!(done.exit.code, Some(0), "the socket is nowhere inside");
    });
}

#[test]
fn without_a_proxy_nothing_runs_at_this_level() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (file, locked) = (dir.path().join("file"), dir.path().join("locked"));
    fs::write(&file, "").unwrap();
    let _listener = UnixListener::bind(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o600)).unwrap();
    let mut cases: Vec<(Option<PathBuf>, &str)> = vec![
        (None, "started without --proxy"),
        (Some(dir.path().join("absent")), "No such file or directory"),
        (Some(file), "not a socket"),
    ];
    if starters().contains(&Starter::Root) {
        cases.push((Some(locked), "as the user of commands: Permission denied"));
    }
    each(|starter, workspace| {
        for (path, reason) in &cases {
            let arguments = path.as_deref().map(Path::to_str).into_iter().flatten().flat_map(|path| ["--proxy", path]);
            let mut session = Session::start(starter, workspace, &arguments.collect::<Vec<_>>());
            let Net::Missing(missing) = session.ready.net.clone() else { panic!("{reason}") };
            assert!(missing.contains(reason), "{missing}");
            let refused = session.run(&net("touch ran")).unwrap_err();
            assert_eq!((refused.kind.as_str(), refused.message), ("unavailable", missing));
            assert!(!workspace.join("ran").exists());
            assert_eq!(session.sh("echo work").text(), "work\n", "other levels do not need it");
        }
    });
}

/// As a unit has it: somebody else made the network, and the daemon passes the way to the proxy.
#[test]
fn a_descriptor_of_the_proxy_is_as_good_as_its_path() {
    let proxy = Proxy::mirror();
    let take = |session: &mut Session| {
        let ask = net("curl --silent http://a.example/");
        assert!(matches!(&session.ready.net, Net::Given(_)), "{:?}", session.ready.net);
        let refused = session.run(&ask).unwrap_err();
        assert!(refused.message.contains("no descriptor of the egress proxy"), "{refused:?}");
        let file = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(proxy.path()).unwrap();
        pass_proxy(session.socket.as_fd(), file.as_fd()).unwrap();
        let done = session.run(&ask).unwrap();
        assert!(done.text().starts_with("GET http://a.example/"), "{}", done.all());
        let work = "curl --silent --noproxy '*' http://127.0.0.1:3128/";
        assert_ne!(session.sh(work).exit.code, Some(0));
    };
    each(|starter, workspace| take(&mut Session::start(starter, workspace, &["--proxy", "passed"])));
    if !starters().contains(&Starter::Root) {
        eprintln!("skipped: only root can make the surroundings of a unit or a container");
        return;
    }
    for backend in ["unit", "docker"] {
        let workspace = Workspace::new();
        take(&mut start_apart(backend, &workspace, &["--proxy", "passed"]));
    }
    let workspace = Workspace::new();
    let session = start_apart("landlock", &workspace, &["--proxy", "passed"]);
    let Net::Missing(reason) = &session.ready.net else { panic!("landlock has no network of its own") };
    assert!(reason.contains("no network of their own"), "{reason}");
}

#[test]
fn a_proxy_that_went_away_is_told_to_the_program() {
    let proxy = Proxy::mirror();
    let workspace = Workspace::new();
    let gone = UnixListener::bind(workspace.outside().join("gone")).unwrap();
    let path = workspace.outside().join("gone");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let mut session = Session::start(Starter::User, &workspace, &["--proxy", path.to_str().unwrap()]);
    drop((gone, proxy));
    let done = session.run(&net("curl --silent http://a.example/")).unwrap();
    assert_eq!(done.text(), "assistant-sandbox: the egress proxy does not answer: Connection refused\n");
}

/// A server that sends back what it gets until the client ends, and many clients at once, slow ones among them.
#[test]
fn much_goes_through_both_ways_at_once() {
    let proxy = Proxy::start(|_, mut stream| {
        let mut buffer = vec![0; 100_000];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            stream.write_all(&buffer[..read]).unwrap();
        }
        let _ = stream.shutdown(std::net::Shutdown::Write); // the client may have gone
    });
    let workspace = Workspace::new();
    let mut session = Session::start(Starter::User, &workspace, &["--proxy", &proxy.path()]);
    let script = "import socket, threading, hashlib, os, time\n\
        done = []\n\
        def one(n):\n\
        \x20   s = socket.create_connection(('127.0.0.1', 3128))\n\
        \x20   s.sendall(b'X\\r\\n\\r\\n')\n\
        \x20   data = os.urandom(2_000_000)\n\
        \x20   def send():\n\
        \x20       s.sendall(data)\n\
        \x20       s.shutdown(socket.SHUT_WR)\n\
        \x20   t = threading.Thread(target=send)\n\
        \x20   t.start()\n\
        \x20   got = b''\n\
        \x20   if n % 7 == 0:\n\
        \x20       time.sleep(0.3)\n\
        \x20   while part := s.recv(65536):\n\
        \x20       got += part\n\
        \x20   t.join()\n\
        \x20   done.append(got == data)\n\
        ts = [threading.Thread(target=one, args=(n,)) for n in range(40)]\n\
        [t.start() for t in ts]\n\
        [t.join() for t in ts]\n\
        print(len(done), all(done))";
    let done = session.run(&net(&python(script))).unwrap();
    assert_eq!(done.text(), "40 True\n", "{}", done.all());
    assert!(done.exit.duration_ms < 30_000, "{}", done.exit.duration_ms);
}

#[test]
fn connections_end_with_their_command() {
    let (tell, told) = mpsc::channel();
    let proxy = Proxy::start(move |_, mut stream| {
        stream.write_all(b"hello\n").unwrap();
        let _ = stream.read(&mut [0]); // whatever ends it
        tell.send(()).unwrap();
    });
    each(|starter, workspace| {
        let mut session = Session::start(starter, workspace, &["--proxy", &proxy.path()]);
        // Held by a process that would stay.
        let script =
            r"exec 3<>/dev/tcp/127.0.0.1/3128; printf 'X\r\n\r\n' >&3; read -r line <&3; sleep 1000 & echo $line";
        let done = session.run(&Exec { argv: vec!["bash".into(), "-c".into(), script.into()], ..net("") }).unwrap();
        assert_eq!(done.text(), "hello\n", "{}", done.all());
        told.recv_timeout(Duration::from_secs(10)).expect("the proxy saw the end");
        assert_eq!(session.sh("echo next").text(), "next\n");
    });
}

#[test]
fn sessions_have_a_port_each() {
    let (one, two) =
        (Proxy::start(|_, mut stream| drop(stream.write_all(b"HTTP/1.1 200 OK\r\n\r\none"))), Proxy::mirror());
    let workspace = Workspace::new();
    let mut first = Session::start(Starter::User, &workspace, &["--proxy", &one.path()]);
    let mut second = Session::start(Starter::User, &workspace, &["--proxy", &two.path()]);
    first.begin(&net("sleep 0.5; curl --silent http://a.example/"));
    let other = second.run(&net("curl --silent http://b.example/")).unwrap();
    assert!(other.text().starts_with("GET http://b.example/"), "{}", other.all());
    assert_eq!(first.finish().unwrap().text(), "one");
}
