//! What is left to a confined process: this test starts itself as one, and tries.

use std::{
    fs::File,
    net::{TcpListener, TcpStream},
    os::unix::process::ExitStatusExt as _,
    process::Command,
    thread,
};

use assistant_mail::confine::{Bounds, enter};

const ATTEMPT: &str = "ASSISTANT_MAIL_ATTEMPT";

/// What is tried, and nothing at all, which must go on.
const ATTEMPTS: &[&str] =
    &["open", "write", "connect", "bind", "exec", "fork", "thread", "kill", "ptrace", "map", "nothing"];

/// Does nothing unless it was started by the test below.
#[test]
fn attempt() {
    let Ok(what) = std::env::var(ATTEMPT) else { return };
    let (host, port) = std::env::var("ASSISTANT_MAIL_PORT").map(|port| ("127.0.0.1", port.parse().unwrap())).unwrap();
    let map = enter(&Bounds { memory: 512 << 20, seconds: 5, output: 0 }).unwrap();
    assert_eq!(&map[..], b"the message");
    #[expect(unsafe_code, reason = "system calls that nothing safe makes")]
    // SAFETY: none of them is handed memory that is used; the child of `fork` does nothing but end.
    let done = unsafe {
        match what.as_str() {
            "open" => File::open("/etc/passwd").is_ok(),
            "write" => File::create("/tmp/assistant-mail-attempt").is_ok(),
            "connect" => TcpStream::connect((host, port)).is_ok(),
            "bind" => TcpListener::bind((host, 0)).is_ok(),
            "exec" => {
                let path = c"/bin/true";
                libc::execv(path.as_ptr(), [path.as_ptr(), std::ptr::null()].as_ptr()) == 0
            }
            "fork" => libc::fork() >= 0,
            "thread" => thread::Builder::new().spawn(|| ()).is_ok(),
            "kill" => libc::kill(libc::getppid(), 0) == 0,
            "ptrace" => libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) == 0,
            "map" => {
                let (prot, flags) = (libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
                libc::mmap(std::ptr::null_mut(), 4096, prot, flags, -1, 0) != libc::MAP_FAILED
            }
            _ => false,
        }
    };
    let code = if done { 3 } else { 0 };
    #[expect(unsafe_code, reason = "nothing else is run at the end")]
    // SAFETY: it ends the process.
    unsafe {
        libc::_exit(code)
    }
}

#[test]
fn it_can_open_connect_execute_and_fork_nothing() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    for what in ATTEMPTS {
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "confined::attempt", "--nocapture", "--test-threads", "1"])
            .env(ATTEMPT, what)
            .env("ASSISTANT_MAIL_PORT", &port)
            .stdin(super::file(b"the message"))
            .status()
            .unwrap();
        if *what == "nothing" {
            assert_eq!(status.code(), Some(0), "{status}");
        } else {
            assert_eq!(status.signal(), Some(libc::SIGSYS), "{what}: {status}");
        }
    }
}
