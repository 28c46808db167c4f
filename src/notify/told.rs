//! Who is told of what, and what was told last: for people who wonder why they heard nothing.

use assistant_api::notify::{Notice, Notifications, NotifyWay, Untold};
use jiff::{SignedDuration, Timestamp};

use super::{Receiver, store};
use crate::{config::Config, cx::Cx, error::Result, mail, sandbox};

/// Notices that are listed.
const LISTED: u32 = 30;
/// How far back somebody is told of who never was.
const FIRST: SignedDuration = SignedDuration::from_hours(24);

/// All of it, as it is at present.
///
/// # Errors
/// When the database cannot be read.
pub async fn told(cx: &Cx) -> Result<Notifications> {
    let mut lately: Vec<Notice> = cx
        .store
        .read(|conn| Ok([store::sent(conn, LISTED)?, mail::told(conn, LISTED)?].into_iter().flatten().collect()))
        .await?;
    lately.sort_by_key(|notice| std::cmp::Reverse((notice.at, notice.effect_id)));
    lately.truncate(LISTED as usize);
    Ok(Notifications { ways: ways(&cx.config.load()), lately })
}

/// What `caller` was not told yet, because no mail tells the owner. What is told here is told to them once; what waits
/// for a person is told until it does not.
///
/// # Errors
/// When the database cannot be used.
pub async fn untold(cx: &Cx, caller: &str) -> Result<Untold> {
    let Some(no_mail) = unreachable_owner(&cx.config.load()) else { return Ok(Untold::default()) };
    let (now, who) = (cx.clock.now(), caller.to_owned());
    let never = now.checked_sub(FIRST).unwrap_or(Timestamp::UNIX_EPOCH);
    let (since, mut found) = cx
        .store
        .read(move |conn| {
            let since = store::told_until(conn, &who)?;
            Ok((since, store::trouble(conn, since.unwrap_or(never))?))
        })
        .await?;
    if since.is_none() || found.failed > 0 {
        let who = caller.to_owned();
        cx.store.write(move |tx| store::tell_until(tx, &who, now)).await?;
    }
    found.commands = sandbox::brief(cx).problem;
    found.no_mail = Some(no_mail);
    Ok(found)
}

/// Why the owner hears nothing by mail.
fn unreachable_owner(config: &Config) -> Option<String> {
    let no_owner = match (mail::compose::recipients::admin(config), &config.admin.email) {
        (Some(_), _) => None,
        (None, None) => Some("nobody is named: admin.email is not set"),
        (None, Some(_)) => Some("admin.email is no address that mail can be sent to"),
    };
    no_owner.or_else(|| no_mail(config)).map(str::to_owned)
}

/// Why no mail is sent.
fn no_mail(config: &Config) -> Option<&'static str> {
    let sends = mail::outbox::configured(config);
    (!sends).then_some("no mail can be sent: email.smtp_host or email.smtp_from is not set")
}

fn ways(config: &Config) -> Vec<NotifyWay> {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let mut ways = vec![
        NotifyWay {
            way: "owner".into(),
            to: mail::compose::recipients::admin(config).map(|owner| owner.email.to_string()),
            problem: unreachable_owner(config),
            told: texts(&[
                "a job asks something that the one who asked for it is not asked",
                "a call needs an approval, with a code by which a reply decides",
                "a job has come to its limits; a reply gives it more",
                "a job has failed, or waits for a person for another reason",
                "a mail did not arrive, or nobody can tell whether it did",
                "this host keeps a tool from working",
            ]),
            keys: texts(&[
                "admin.email",
                "email.smtp_host",
                "email.smtp_from",
                "mail.approval_increase_factor",
                "app.base_url",
            ]),
        },
        NotifyWay {
            way: "requester".into(),
            to: None,
            problem: no_mail(config).map(str::to_owned),
            told: texts(&[
                "their job is done, unless it has written to them itself",
                "their job could not be done",
                "their job asks them something",
            ]),
            keys: texts(&["email.actionable_senders", "mail.max_per_thread_per_day", "mail.max_per_day"]),
        },
    ];
    let receivers = Receiver::all(config);
    for (way, tool, key) in
        [("command", "notify.command", "notify.command"), ("webhook", "notify.webhook", "notify.webhook_url")]
    {
        let receiver = receivers.iter().find(|receiver| receiver.tool() == tool);
        ways.push(NotifyWay {
            way: way.into(),
            to: receiver.map(Receiver::target),
            problem: receiver.is_none().then(|| format!("{key} is not set")),
            told: texts(&["a job waits for a person", "a job has failed", "money runs out"]),
            keys: texts(&[key, "notify.timeout"]),
        });
    }
    ways
}
