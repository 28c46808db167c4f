//! From exec to READY.

use std::{
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::{
    measure, seed,
    table::{Goal, Table},
};

const ROUNDS: usize = 25;

pub(crate) fn measure(table: &mut Table) {
    for (jobs, goal) in [(0, 40.0), (100_000, 100.0)] {
        let place = super::place("http://127.0.0.1:9/v1");
        // The first start makes the database.
        place.start(&[]).stop();
        seed::jobs(&place.database(), jobs);
        let notify = place.state().join("bench-notify");
        let socket = place.state().join("bench.sock");
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        // In turn, so that both see the same machine.
        for _ in 0..ROUNDS {
            ours.push(ready_after(&mut place.command(), &notify, true));
            let mut program = Command::new(std::env::current_exe().unwrap());
            program.arg("bare-open").arg(place.database()).arg(&socket);
            let _ = std::fs::remove_file(&socket);
            bare.push(ready_after(&mut program, &notify, false));
        }
        let baseline = measure::median(&mut bare);
        let figure = measure::median(&mut ours);
        table.row(&format!("exec to READY, {jobs} jobs"), figure, "ms", Some(baseline), Goal::AtMost(goal));
        table.row(&format!("exec to READY, {jobs} jobs, ratio"), figure, "ms", Some(baseline), Goal::RatioAtMost(8.0));
    }
}

/// Milliseconds until the program says that it is ready; then it is ended.
fn ready_after(command: &mut Command, notify: &Path, gently: bool) -> f64 {
    let _ = std::fs::remove_file(notify);
    let listener = UnixDatagram::bind(notify).unwrap();
    listener.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    command.env("NOTIFY_SOCKET", notify).stdin(Stdio::null());
    let begin = Instant::now();
    let mut child = command.spawn().unwrap();
    let mut message = [0; 4096];
    loop {
        let length = listener.recv(&mut message).expect("the program gets ready");
        if String::from_utf8_lossy(&message[..length]).lines().any(|line| line == "READY=1") {
            break;
        }
    }
    let time = measure::millis(begin.elapsed());
    end(&mut child, gently);
    time
}

fn end(child: &mut Child, gently: bool) {
    if gently {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
    } else {
        let _ = child.kill();
    }
    child.wait().unwrap();
}
