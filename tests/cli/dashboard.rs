//! `assistantctl dashboard`: a port of this host that leads to the socket, and what it does not open.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};
use serde_json::{Value, json};

use super::ctl::Desk;

/// The command while it runs.
struct Dashboard {
    child: Child,
    address: String,
    token: String,
}

impl Dashboard {
    fn start(desk: &Desk) -> Self {
        let mut command = desk.command(&["dashboard", "--no-open", "-o", "json"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let said: Value = serde_json::from_str(&first).unwrap();
        let address = said["address"].as_str().unwrap().to_owned();
        let link = said["link"].as_str().unwrap();
        let token = link.strip_prefix(&format!("http://{address}/login#once=")).unwrap().to_owned();
        Self { child, address, token }
    }

    fn request(&self, method: &str, path: &str, headers: &str, body: &str) -> String {
        format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}",
            self.address,
            body.len()
        )
    }

    /// The whole answer, through the port.
    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(self.request(method, path, headers, body).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

#[test]
fn the_link_logs_one_browser_in_and_nobody_else_gets_anything() {
    let desk = Desk::new();
    let mut dashboard = Dashboard::start(&desk);
    assert!(dashboard.address.starts_with("127.0.0.1:"), "{}", dashboard.address);

    // Another user of this host, who has found the port and has not the link.
    let (host, port) = dashboard.address.split_once(':').unwrap();
    let request = dashboard.request("GET", "/api/jobs", "", "").replace('\r', "\\r").replace('\n', "\\n");
    let script = format!("exec 3<>/dev/tcp/{host}/{port}; printf '{request}' >&3; cat <&3");
    let mut stranger = Command::new("bash");
    stranger.args(["-c", &script]).stdin(Stdio::null());
    if geteuid().is_root() {
        stranger.uid(65_534).gid(65_534);
    }
    let answer = stranger.output().unwrap();
    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
    assert!(text.starts_with("HTTP/1.1 401 "), "{text}{}", String::from_utf8_lossy(&answer.stderr));
    // Nor does whoever says to be the owner's program: no header gives the role of the socket's peer.
    for headers in ["authorization: Basic dTpw\r\n", "x-forwarded-for: 127.0.0.1\r\n"] {
        assert!(dashboard.ask("GET", "/api", headers, "").starts_with("HTTP/1.1 401 "), "{headers}");
    }
    // Nor whoever sends what the command itself sends first: it is read once.
    let mut twice = TcpStream::connect(&dashboard.address).unwrap();
    twice.write_all(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\xc3\x50\x1f\x40").unwrap();
    twice.write_all(dashboard.request("GET", "/api", "", "").as_bytes()).unwrap();
    let mut answer = Vec::new();
    _ = twice.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));

    let origin = format!("origin: http://{}\r\ncontent-type: application/json\r\n", dashboard.address);
    let body = json!({ "once": dashboard.token }).to_string();
    let answer = dashboard.ask("POST", "/api/login", &origin, &body);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    let cookie = format!("cookie: {}\r\n", cookie.split(';').next().unwrap());
    assert!(dashboard.ask("GET", "/api/jobs", &cookie, "").starts_with("HTTP/1.1 200 "));
    let again = dashboard.ask("POST", "/api/login", &origin, &body);
    assert!(again.starts_with("HTTP/1.1 401 "), "{again}");

    kill(Pid::from_raw(i32::try_from(dashboard.child.id()).unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(dashboard.child.wait().unwrap().code(), Some(0));
    assert!(TcpStream::connect(&dashboard.address).is_err(), "nothing is left open");
}

#[test]
fn a_port_that_is_taken_is_told() {
    let desk = Desk::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ran = desk.command(&["dashboard", "--no-open", "--port", &port]).output().unwrap();
    assert_eq!(ran.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("give another --port"), "{ran:?}");
}
