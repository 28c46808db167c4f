//! Jobs that wait for the attachments of their mail.

use std::time::Duration;

use super::world::{Mail, World};
use crate::{clock::Clock, mail::artifacts};

const STATUS: &str = "SELECT status = 'queued' FROM jobs ORDER BY id DESC LIMIT 1";

/// Nothing makes them readable here: no loop runs.
#[tokio::test]
async fn a_job_goes_on_without_attachments_that_take_more_than_ten_minutes() {
    let clock = Clock::fixed(Clock::System.now());
    let world = World::at(clock.clone(), |_| {});
    let mail = Mail::from("ann@example.org").part("text/csv", "figures.csv", b"a,b\n1,2\n");
    let taken = world.deliver(&world.signed(&mail)).await;
    assert!(taken.job_id.is_some(), "{}", world.reason().await);
    for (more, goes_on) in [(1, false), (598, false), (1, true)] {
        clock.advance(Duration::from_secs(more));
        assert_eq!(artifacts::release(&world.cx).await.unwrap(), !goes_on, "after {more} s more");
        assert_eq!(world.count(STATUS).await == 1, goes_on, "after {more} s more");
    }
    assert_eq!(
        world.count("SELECT count(*) FROM artifacts WHERE conversion_status = 'pending'").await,
        1,
        "it is still made"
    );
    world.close().await;
}

#[tokio::test]
async fn a_mail_without_attachments_makes_a_job_that_goes_on_at_once() {
    let world = World::new();
    world.deliver(&world.signed(&Mail::from("ann@example.org"))).await;
    assert_eq!(world.count(STATUS).await, 1);
    assert!(!artifacts::release(&world.cx).await.unwrap(), "nobody is held");
    world.close().await;
}
