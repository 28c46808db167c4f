//! Who is told of what, and what was told last: for people who wonder why they heard nothing.

use assistant_api::notify::{Notice, Notifications, NotifyWay};

use super::{Receiver, store};
use crate::{config::Config, cx::Cx, error::Result, mail};

/// Notices that are listed.
const LISTED: u32 = 30;

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

fn ways(config: &Config) -> Vec<NotifyWay> {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let (sends, owner) = (mail::outbox::configured(config), mail::compose::recipients::admin(config));
    let no_mail = || (!sends).then(|| "no mail can be sent: email.smtp_host or email.smtp_from is not set".to_owned());
    let no_owner = match (&owner, &config.admin.email) {
        (Some(_), _) => None,
        (None, None) => Some("nobody is named: admin.email is not set".to_owned()),
        (None, Some(_)) => Some("admin.email is no address that mail can be sent to".to_owned()),
    };
    let mut ways = vec![
        NotifyWay {
            way: "owner".into(),
            to: owner.map(|owner| owner.email.to_string()),
            problem: no_owner.or_else(no_mail),
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
            problem: no_mail(),
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
