//! What an idle daemon costs, and how large the programs are.

use std::{fs, thread::sleep, time::Duration};

use super::{
    measure,
    table::{Goal, Table},
};

const WATCHED: u32 = 30;

/// Memory, processor and wake-ups of a daemon that has nothing to do.
pub(crate) fn idle(table: &mut Table) {
    let place = super::place("http://127.0.0.1:9/v1");
    let process = place.start(&[]);
    let pid = process.pid().as_raw();
    // Threads for blocking work end after ten seconds without any.
    sleep(Duration::from_secs(12));
    let (cpu, wakeups) = (measure::cpu_ms(pid), measure::wakeups(pid));
    sleep(Duration::from_secs(WATCHED.into()));
    let (rss, pss) = measure::memory(pid);
    table.row("idle: proportional memory (PSS)", pss, "MiB", None, Goal::AtMost(16.0));
    table.row("idle: resident memory (RSS)", rss, "MiB", None, Goal::AtMost(24.0));
    let per_second = |value: f64| value / f64::from(WATCHED);
    let cpu = per_second(measure::cpu_ms(pid) - cpu);
    table.row("idle: processor per second", cpu, "ms", None, Goal::AtMost(0.5));
    #[expect(clippy::cast_precision_loss, reason = "a small count")]
    let woken = measure::wakeups(pid).saturating_sub(wakeups) as f64;
    table.row(&format!("idle: wake-ups in {WATCHED} s, without a watchdog"), woken, "", None, Goal::AtMost(0.0));
}

/// Sizes of the programs as they are installed.
pub(crate) fn sizes(table: &mut Table) {
    for (name, goal) in [("assistantd", Goal::AtMost(16.0)), ("assistantctl", Goal::None)] {
        #[expect(clippy::cast_precision_loss, reason = "a file size")]
        let size = fs::metadata(super::program(name)).map_or(f64::NAN, |meta| meta.len() as f64 / f64::from(1 << 20));
        table.row(&format!("size of {name}, stripped"), size, "MiB", None, goal);
    }
}
