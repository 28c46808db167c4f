mod corpus;
mod forgeries;
mod held;
mod jobs;
mod shapes;
mod world;

use assistant_api::mail::Decision;

use self::world::{Mail, World};

#[tokio::test]
async fn a_verified_sender_makes_a_job_and_nobody_else() {
    let world = World::new();
    let taken = world.deliver(&world.signed(&Mail::from("ann@example.org"))).await;
    assert_eq!(taken.decision, Decision::Job, "{}", world.reason().await);
    let job = taken.job_id.unwrap();
    assert!(taken.archive);
    let (origin, actionable): (String, bool) = world
        .query("SELECT origin, is_actionable FROM emails ORDER BY id DESC LIMIT 1", |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .await;
    assert_eq!((origin.as_str(), actionable), ("contact", true));
    let by: String = world
        .query("SELECT json_extract(payload, '$.by') FROM manual_events ORDER BY id DESC LIMIT 1", |row| row.get(0))
        .await;
    assert_eq!(by, "mail from ann@example.org");
    for unsigned in [Mail::from("ann@example.org"), Mail::from("owner@example.org")] {
        let taken = world.deliver(&unsigned.raw()).await;
        assert_eq!((taken.decision, taken.job_id), (Decision::Stored, None));
    }
    let stranger = world.deliver(&world.signed(&Mail::from("eve@evil.example"))).await;
    assert_eq!(stranger.decision, Decision::Stored);
    assert!(world.reason().await.contains("not one of email.actionable_senders"));
    assert_eq!(world.count("SELECT count(*) FROM jobs").await, 1);
    assert_eq!(world.count("SELECT last_uid FROM mail_cursors").await, 4);
    assert!(job.0 > 0);
    world.close().await;
}

/// S21: with an empty list of senders nobody's mail makes a job.
#[tokio::test]
async fn s21_with_an_empty_list_nobody_acts() {
    let world = World::with(|config| config.email.actionable_senders.clear());
    for from in ["ann@example.org", "owner@example.org", "eve@evil.example"] {
        let taken = world.deliver(&world.signed(&Mail::from(from))).await;
        assert_eq!((taken.decision, taken.job_id), (Decision::Stored, None), "{from}");
    }
    assert_eq!(world.count("SELECT count(*) FROM jobs").await, 0);
    world.close().await;
    let world = World::with(|config| config.email.actionable_senders = vec!["*".into()]);
    let anybody = world.deliver(&world.signed(&Mail::from("eve@evil.example"))).await;
    assert_eq!(anybody.decision, Decision::Job);
    let unverified = world.deliver(&Mail::from("bob@evil.example").raw()).await;
    assert_eq!(unverified.decision, Decision::Stored);
    world.close().await;
}

/// S23: neither a forged sender nor a forged reference triggers or reaches a job.
#[tokio::test]
async fn s23_forged_senders_and_references_reach_nothing() {
    let world = World::with(|config| config.email.actionable_senders.push("bob@example.org".into()));
    let first = Mail::from("ann@example.org");
    let job = world.deliver(&world.signed(&first)).await.job_id.unwrap();
    let forged = [
        Mail::from("ann@example.org").answering(&first).raw(),
        Mail::from("owner@example.org").answering(&first).raw(),
        world.signed_by(&Mail::from("ann@example.org").answering(&first), "evil.example"),
        world.signed(&Mail::from("eve@evil.example").answering(&first)),
    ];
    for raw in forged {
        let taken = world.deliver(&raw).await;
        assert_eq!((taken.decision, taken.job_id), (Decision::Stored, None), "{}", world.reason().await);
    }
    // One who may make jobs, but has no part in this thread.
    let other = world.deliver(&world.signed(&Mail::from("bob@example.org").answering(&first))).await;
    assert_eq!(other.decision, Decision::Job);
    assert_ne!(other.job_id, Some(job));
    assert_eq!(world.count("SELECT has_new_context FROM jobs ORDER BY id LIMIT 1").await, 0);
    let thread = "SELECT count(*) FROM emails WHERE thread_id = (SELECT thread_id FROM jobs ORDER BY id LIMIT 1)";
    assert_eq!(world.count(thread).await, 1);
    world.close().await;
}

/// S32: the path of the file that holds an attachment is nowhere to be seen.
#[tokio::test]
async fn s32_no_path_of_an_attachment_is_told() {
    let world = World::new();
    let mail = Mail::from("ann@example.org").part("application/pdf", "../../etc/a.pdf", b"%PDF-1.4");
    world.deliver(&world.signed(&mail)).await;
    let attachments: String = world.query("SELECT attachments FROM emails", |row| row.get(0)).await;
    assert_eq!(
        attachments,
        concat!(
            r#"[{"artifact_id":1,"filename":"a.pdf","content_type":"application/pdf","size_bytes":8,"#,
            r#""scan_status":"pending","conversion_status":"pending"}]"#
        )
    );
    let raw: String = world.query("SELECT raw_name FROM mail_received", |row| row.get(0)).await;
    assert!(world.holds(&raw));
    assert!(!attachments.contains(&raw));
    // What has no attachments needs no file.
    world.deliver(&world.signed(&Mail::from("ann@example.org"))).await;
    let without: Option<String> =
        world.query("SELECT raw_name FROM mail_received ORDER BY id DESC LIMIT 1", |row| row.get(0)).await;
    assert_eq!(without, None);
    world.close().await;
}

#[tokio::test]
async fn the_same_message_is_decided_about_once() {
    let world = World::new();
    let mail = Mail::from("ann@example.org").id("<same@example.org>");
    let raw = world.signed(&mail);
    let first = world.deliver(&raw).await;
    assert_eq!(world.deliver_at(1, &raw).await, first);
    assert_eq!(world.deliver(&raw).await.decision, Decision::Duplicate);
    let again = format!("Received: by elsewhere\r\nX-Spam: no\r\n{raw}");
    assert_eq!(world.deliver(&again).await.decision, Decision::Duplicate);
    // Another message that claims the id is not swallowed.
    let other = Mail::from("ann@example.org").id("<same@example.org>").body("Something else.");
    let taken = world.deliver(&world.signed(&other)).await;
    assert_eq!(taken.decision, Decision::Job);
    assert_eq!(world.count("SELECT count(*) FROM jobs").await, 2);
    // One who claims an id before its owner does not take it away.
    let claimed = Mail::from("owner@example.org").id("<claimed@example.org>");
    assert_eq!(world.deliver(&claimed.raw()).await.decision, Decision::Stored);
    assert_eq!(world.deliver(&world.signed(&claimed)).await.decision, Decision::Job);
    world.close().await;
}

#[tokio::test]
async fn what_a_trusted_forwarder_sealed_is_believed() {
    let world = World::new();
    let passes = "mx.example.net; dmarc=pass header.from=example.org";
    for (name, sealer, results, change, wanted) in [
        ("sealed by whom the configuration names", "example.net", passes, "", Decision::Job),
        ("sealed by somebody else", "evil.example", passes, "", Decision::Stored),
        ("changed afterwards", "example.net", passes, "Do task", Decision::Stored),
        ("sealed as failed", "example.net", "mx.example.net; dmarc=fail header.from=example.org", "", Decision::Stored),
        (
            "sealed for another",
            "example.net",
            "mx.example.net; dmarc=pass header.from=evil.example",
            "",
            Decision::Stored,
        ),
    ] {
        // What the forwarder changed itself has broken the signature of the sender.
        let forwarded = world.signed(&Mail::from("ann@example.org")).replacen("Subject: ", "Subject: [list] ", 1);
        let mut raw = world.sealed(&forwarded, sealer, results);
        if !change.is_empty() {
            assert!(raw.contains(change), "{raw}");
            raw = raw.replacen(change, "Do not task", 1);
        }
        assert_eq!(world.deliver(&raw).await.decision, wanted, "{name}");
    }
    let why: String =
        world.query("SELECT verification ->> 'why' FROM mail_received WHERE id = 1", |row| row.get(0)).await;
    assert_eq!(why, "ARC sealed by example.net: DMARC passes");
    world.close().await;
}

#[tokio::test]
async fn dates_that_lie_are_not_believed() {
    let world = World::new();
    for (date, kept) in
        [("Mon, 01 Jan 2074 10:00:00 +0000", false), ("Mon, 01 Jan 1974 10:00:00 +0000", false), ("nonsense", false)]
    {
        world.deliver(&world.signed(&Mail::from("ann@example.org").date(date))).await;
        let late = "SELECT e.received_at = m.received_at FROM emails e JOIN mail_received m ON m.email_id = e.id \
                    ORDER BY e.id DESC LIMIT 1";
        assert_eq!(world.count(late).await == 0, kept, "{date}");
    }
    world.close().await;
}

#[tokio::test]
async fn a_loop_with_another_robot_ends_after_the_cap() {
    let world = World::with(|config| config.mail.max_per_thread_per_day = 5);
    let mut last = Mail::from("ann@example.org");
    let mut decisions = vec![world.deliver(&world.signed(&last)).await.decision];
    for _ in 0..9 {
        let next = Mail::from("ann@example.org").answering(&last);
        decisions.push(world.deliver(&world.signed(&next)).await.decision);
        last = next;
    }
    let acted = decisions.iter().filter(|decision| matches!(decision, Decision::Job | Decision::Joined)).count();
    assert_eq!(acted, 5, "{decisions:?}");
    assert!(decisions[5..].iter().all(|decision| !matches!(decision, Decision::Joined)), "{decisions:?}");
    world.close().await;
    let world = World::with(|config| config.mail.max_per_day = 3);
    for number in 0..6 {
        let taken = world.deliver(&world.signed(&Mail::from("ann@example.org"))).await;
        assert_eq!(taken.decision == Decision::Job, number < 3);
    }
    world.close().await;
}

#[tokio::test]
async fn a_person_decides_otherwise() {
    let world = World::new();
    world.deliver(&Mail::from("eve@evil.example").raw()).await;
    let taken = super::decide_by_hand(&world.cx, 1, true, "local user").await.unwrap();
    assert_eq!(taken.decision, Decision::Job);
    assert!(super::decide_by_hand(&world.cx, 1, true, "local user").await.is_err());
    assert!(super::decide_by_hand(&world.cx, 99, true, "local user").await.is_err());
    // They vouch for what it says, not for who wrote it: only what is proved to be the owner's is.
    let newest = "SELECT origin FROM emails ORDER BY id DESC LIMIT 1";
    let forged = Mail::from("owner@example.org").with("X: forged");
    world.deliver(&forged.raw()).await;
    super::decide_by_hand(&world.cx, 2, true, "local user").await.unwrap();
    assert_eq!(world.query(newest, |row| row.get::<_, String>(0)).await, "contact");
    let mut real = Mail::from("owner@example.org");
    real.to = "somebody@else.example".into();
    assert_eq!(world.deliver(&world.signed(&real)).await.decision, Decision::Stored);
    super::decide_by_hand(&world.cx, 3, true, "local user").await.unwrap();
    assert_eq!(world.query(newest, |row| row.get::<_, String>(0)).await, "owner");
    world.deliver(&Mail::from("bob@evil.example").raw()).await;
    let ignored = super::decide_by_hand(&world.cx, 4, false, "local user").await.unwrap();
    assert_eq!(ignored.decision, Decision::Ignored);
    let who: String = world.query("SELECT decided_by FROM mail_received WHERE id = 4", |row| row.get(0)).await;
    assert_eq!(who, "local user");
    world.close().await;
}

/// What is looked for at every message takes as long in a large mailbox as in a small one.
#[tokio::test]
async fn looking_for_a_thread_reads_no_table_from_end_to_end() {
    use super::store::{ACTED_IN_THREAD, RECENT, THREAD_OF_ITEM, THREAD_OF_SENT};
    let world = World::new();
    for sql in [THREAD_OF_ITEM, THREAD_OF_SENT, ACTED_IN_THREAD, RECENT] {
        let plan = world.explain(sql).await;
        assert!(!plan.contains("SCAN"), "{sql}: {plan}");
    }
    world.close().await;
}
