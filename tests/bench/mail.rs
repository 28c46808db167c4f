//! Mail from a real server: from its arrival to the job, and a large backlog.

use std::time::{Duration, Instant};

use assistant_api::mail::ReceivedList;

use super::{
    measure, program,
    servers::{MailServers, USER},
    table::{Goal, Table},
};
use crate::support::{
    process::{Place, Process},
    until,
};

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
    large(table).await;
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
    let peak = memory(&process, "VmHWM:");
    table.row("mail: backlog of 10,000, taken up", rate, "/s", None, Goal::AtLeast(200.0));
    table.row("mail: most memory of the daemon meanwhile", peak, "MiB", None, Goal::AtMost(76.0));
}

/// How much a message of 25 MB adds to the daemon's own memory, at the worst of looks 5 ms apart.
async fn large(table: &mut Table) {
    let Some(servers) = MailServers::start() else { return };
    let place = Place::new(&config(&servers));
    let process = place.start(&servers.variables());
    let client = place.client();
    let arrived = async |count: usize| {
        let mut most = 0.0_f64;
        until("it is taken up", 120, async || {
            most = most.max(memory(&process, "RssAnon:"));
            tokio::time::sleep(Duration::from_millis(5)).await;
            let list: ReceivedList = client.get("/api/mail/received?limit=100").await.unwrap();
            (list.received.len() == count).then_some(())
        })
        .await;
        most
    };
    let head = format!("From: somebody@other.test\r\nTo: {USER}\r\nMIME-Version: 1.0\r\n");
    servers.deliver("1.bench", format!("{head}Subject: small\r\n\r\nA line.\r\n").as_bytes());
    let before = arrived(1).await;
    let line = format!("{}\r\n", "QUJD".repeat(19));
    let content = line.repeat((25 << 20) / line.len());
    let kind = "Content-Type: application/octet-stream; name=large.bin\r\nContent-Transfer-Encoding: base64\r\n";
    servers.deliver("2.bench", format!("{head}Subject: large\r\n{kind}\r\n{content}").as_bytes());
    let more = arrived(2).await - before;
    table.row("mail: what a message of 25 MB adds to anonymous memory", more, "MiB", None, Goal::AtMost(10.0));
}

/// A line of the kernel's on a process, in MiB.
fn memory(process: &Process, line: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let kib = status.lines().find_map(|text| text.strip_prefix(line)).unwrap();
    kib.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}
