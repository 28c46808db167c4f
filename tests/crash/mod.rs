//! The daemon is killed in the middle of jobs, as by a power cut, and started again: nothing may be lost or done twice.
//!
//! `ASSISTANT_CRASH_MOMENTS` says how many random moments are tried (default 15; `tests/long.sh` uses 200), and
//! `ASSISTANT_CRASH_SEED` repeats a run.

mod evidence;
mod job;
mod unzip;
mod upgrade;

use std::time::{Duration, Instant};

use assistant_api::{JobId, client};
use assistantd::crashpoint::{Point, VARIABLE};
use futures_util::StreamExt as _;

use self::{evidence::Evidence, job::Scripted};
use crate::support::process::Place;

/// Two kills at each named point: when it is first reached, and in the middle of the job.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_survives_a_kill_at_every_named_point() {
    // These are reached once in the life of a job.
    let once = [Point::Claimed, Point::PromptStored, Point::BeforeOutcome, Point::OutcomeStored];
    let cases = Point::JOB.iter().flat_map(|point| [(*point, 1), (*point, 7)]);
    let cases = cases.filter(|(point, times)| *times == 1 || !once.contains(point));
    let runs = cases.map(|(point, times)| async move { (point, times, survives(point, times).await) });
    let silent: Vec<String> = futures_util::stream::iter(runs)
        .buffer_unordered(3)
        .filter_map(async |(point, times, died)| (!died).then(|| format!("{}:{times}", point.name())))
        .collect()
        .await;
    assert!(silent.is_empty(), "the daemon was never killed at {}: is the point still in the code?", silent.join(", "));
}

/// Whether the daemon died at the point; panics when something is wrong after it came back.
async fn survives(point: Point, times: u32) -> bool {
    let scripted = Scripted::start().await;
    let place = Place::new(&scripted.config());
    let at = format!("{}:{times}", point.name());
    let mut process = place.start(&[(VARIABLE, &at)]);
    let job = match scripted.offer(&place, 1).await {
        // A runner may claim the job, and be killed, before it is answered; in a new place it is the first one.
        Err(client::Error::Lost(_)) => JobId(1),
        answer => answer.unwrap(),
    };
    let died = ended_within(&mut process, Duration::from_secs(20)).await;
    process.kill();
    println!("killed at {at}");
    let before = Evidence::take(&place);
    before.check_interrupted(&place, &[(1, job)]);

    let mut process = place.start(&[]);
    assert!(process.ready, "{at}: the daemon does not come back:\n{}", place.log());
    scripted.wait_until_done(&place, job).await;
    assert_eq!(process.stop(), Some(0), "{at}: the daemon does not stop:\n{}", place.log());
    Evidence::take(&place).check_done(&place, &[(1, job)], &before);
    scripted.check_asked(1);
    died
}

async fn ended_within(process: &mut crate::support::process::Process, time: Duration) -> bool {
    let deadline = Instant::now() + time;
    while Instant::now() < deadline {
        if process.has_ended() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    false
}

/// Three jobs at a time, and the daemon killed at any moment from its start to the end of the jobs.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_survive_kills_at_random_moments() {
    let moments = number("ASSISTANT_CRASH_MOMENTS").unwrap_or(15);
    let seed = number("ASSISTANT_CRASH_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("ASSISTANT_CRASH_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let begin = Instant::now();
    let scripted = Scripted::start().await;
    let place = Place::new(&scripted.config());
    // An undisturbed job shows how long one takes on this machine now.
    let mut process = place.start(&[]);
    let first = (1, scripted.submit(&place, 1).await);
    let whole = Instant::now();
    scripted.wait_until_done(&place, first.1).await;
    let whole = whole.elapsed();
    process.kill();
    let mut before = Evidence::take(&place);
    let (mut open, mut done, mut numbers) = (Vec::new(), vec![first], 2..);
    let (mut kills, mut before_ready) = (0, 0);
    while kills < moments {
        let sudden = random.u8(..8) == 0;
        let mut process = if sudden {
            let child = place.command().spawn().unwrap();
            let process = crate::support::process::Process::of(child);
            tokio::time::sleep(Duration::from_millis(random.u64(..40))).await;
            before_ready += 1;
            process
        } else {
            let process = place.start(&[]);
            assert!(process.ready, "the daemon does not come back:\n{}", place.log());
            while open.len() < 3 {
                let number = numbers.next().unwrap();
                open.push((number, scripted.submit(&place, number).await));
            }
            tokio::time::sleep(whole.mul_f64(random.f64() * 1.3)).await;
            process
        };
        process.kill();
        kills += 1;
        let now = Evidence::take(&place);
        now.check_interrupted(&place, &open);
        now.check_kept(&before);
        open.retain(|job| {
            let ended = now.is_done(job.1);
            if ended {
                done.push(*job);
            }
            !ended
        });
        before = now;
    }
    let mut process = place.start(&[]);
    for (_, job) in &open {
        scripted.wait_until_done(&place, *job).await;
    }
    assert_eq!(process.stop(), Some(0), "the daemon does not stop:\n{}", place.log());
    done.append(&mut open);
    Evidence::take(&place).check_done(&place, &done, &before);
    let repeated = scripted.check_asked(kills * 3);
    println!(
        "{kills} kills ({before_ready} before the daemon was ready) in {:.1} s: {} jobs, {} model calls, {repeated} of \
         them repeated, nothing lost",
        begin.elapsed().as_secs_f64(),
        done.len(),
        scripted.asked(),
    );
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
