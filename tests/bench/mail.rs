//! Mail from a real server: from its arrival to the job, and a large backlog.

use std::time::{Duration, Instant};

use assistant_api::mail::ReceivedList;

use super::{
    measure, program,
    servers::{MailServers, USER},
    table::{Goal, Table},
};
use crate::support::{process::Place, until};

const MANY: u32 = 10_000;

fn config(servers: &MailServers) -> String {
    format!(
        "[email]\n{}actionable_senders = [\"friend@verified.test\"]\n[mail]\ndns_server = \"{}\"\n\
         max_per_day = 1000000\n[sandbox]\nrunner = \"{}\"\n[log]\nlevel = \"warn\"\n",
        servers.email_keys(),
        MailServers::dns_server(),
        program("assistant-sandbox").display()
    )
}

pub(crate) async fn measure(table: &mut Table) {
    arrival(table).await;
    backlog(table).await;
}

/// From the end of the submission to the job, IDLE between.
async fn arrival(table: &mut Table) {
    let Some(servers) = MailServers::start() else { return };
    let place = Place::new(&config(&servers));
    let process = place.start(&servers.variables());
    let client = place.client();
    let mut took = Vec::new();
    for number in 1..=60 {
        let text = format!("From: friend@verified.test\nTo: {USER}\nSubject: task {number}\n\nDo number {number}.");
        servers.send("friend@verified.test", &[USER], &text);
        let sent = Instant::now();
        until("a job", 30, async || {
            let list: ReceivedList = client.get("/api/mail/received?limit=100").await.unwrap();
            (list.received.iter().filter(|mail| mail.job_id.is_some()).count() == number).then_some(())
        })
        .await;
        if number > 10 {
            took.push(measure::millis(sent.elapsed()));
        }
    }
    drop(process);
    table.row("mail: arrival to job with IDLE, p50", measure::median(&mut took), "ms", None, Goal::None);
    table.row(
        "mail: arrival to job with IDLE, p95",
        measure::percentile(&mut took, 0.95),
        "ms",
        None,
        Goal::AtMost(2000.0),
    );
}

async fn backlog(table: &mut Table) {
    let Some(servers) = MailServers::start() else { return };
    let line = "Words of a letter as people write them, some more and some less. ";
    for number in 1..=MANY {
        let body = line.repeat(20 + (number as usize * 37) % 600);
        let head = format!("From: somebody{number}@other.test\r\nTo: {USER}\r\nSubject: letter {number}\r\n");
        let text = format!("{head}Message-ID: <{number}@other.test>\r\n\r\n{body}\r\n");
        servers.deliver(&format!("{number:06}.bench"), text.as_bytes());
    }
    let place = Place::new(&config(&servers));
    let began = Instant::now();
    let process = place.start(&servers.variables());
    let database = place.database();
    until("all of them are taken up", 3600, async || {
        tokio::time::sleep(Duration::from_millis(100)).await;
        #[expect(clippy::disallowed_methods, reason = "it only reads")]
        let conn =
            rusqlite::Connection::open_with_flags(&database, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let count: u32 = conn.query_row("SELECT count(*) FROM mail_received", [], |row| row.get(0)).unwrap();
        (count == MANY).then_some(())
    })
    .await;
    let rate = f64::from(MANY) / began.elapsed().as_secs_f64();
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: f64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    table.row("mail: backlog of 10,000, taken up", rate, "/s", None, Goal::AtLeast(200.0));
    table.row("mail: most memory of the daemon meanwhile", peak / 1024.0, "MiB", None, Goal::AtMost(76.0));
}
