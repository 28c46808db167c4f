//! The one decision about a message: planned first, then carried out, all in one transaction.

use assistant_api::{
    JobId,
    jobs::{Metadata, ReviewOverride},
    mail::Decision,
};
use assistant_mail::protocol::{Address, Message};
use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;
use serde_json::{Value, json};

use super::{
    Sender, Taken, bounce, guards, own_addresses, own_domain,
    reply::{self, Verdict},
    sender::Standing,
    store::{self, Known, NewEmail, NewReceived},
};
use crate::{
    config::Config,
    error::Result,
    jobs::{
        ApprovalState, NeedsWhat, Overrides,
        within::{self, Creation},
    },
    mail::{
        Arrived, artifacts,
        codes::{self, Kind as CodeKind, Request, Worth},
        compose::disclosure,
    },
    policy::Origin,
};

/// Ids of a thread that are looked for.
const MAX_IDS: usize = 50;
const MAX_SUBJECT: usize = 240;
/// Characters of an answer or an instruction.
const MAX_TOLD: usize = 10_000;
/// How far `Date` may lie from the time at which the server got the message.
const LATE: SignedDuration = SignedDuration::from_hours(72);
const EARLY: SignedDuration = SignedDuration::from_mins(10);
/// Who decides, in the record of jobs.
const BY: &str = "mail";

/// Decides, and says whether the file of the message is still needed.
pub(super) fn decide(
    tx: &Connection,
    now: Timestamp,
    config: &Config,
    arrived: &Arrived,
    message: &Message,
    sender: &Sender,
) -> Result<(Taken, bool)> {
    if let Some(known) = store::at(tx, &arrived.place)? {
        // Decided before a crash; its file is as that decision left it.
        return Ok((Taken { archive: known.archive, job_id: known.job_id, decision: known.decision }, true));
    }
    let desk = Desk { tx, now, config, arrived, message, sender };
    if let Some((original, reason)) = desk.duplicate()? {
        let taken = Taken { archive: original.archive, job_id: original.job_id, decision: Decision::Duplicate };
        desk.write_down(&taken, &reason, None)?;
        return Ok((taken, false));
    }
    let plan = desk.plan()?;
    let email_id = desk.keep(&plan)?;
    let acts = !matches!(plan.act, Act::Nothing | Act::Bounce(_));
    let waits = artifacts::register(tx, now, config, email_id, message, &arrived.raw_name, acts)?;
    let job_id = desk.carry_out(&plan, email_id, waits)?;
    let archive = !matches!(plan.decision, Decision::Stored | Decision::Loop);
    let taken = Taken { archive, job_id, decision: plan.decision };
    desk.write_down(&taken, &plan.reason, Some(email_id))?;
    Ok((taken, !message.parts.is_empty()))
}

/// What is going to happen.
struct Plan {
    decision: Decision,
    reason: String,
    /// The thread that it belongs to; unset: one of its own.
    thread: Option<String>,
    origin: Origin,
    act: Act,
}

enum Act {
    Nothing,
    NewJob,
    Join(JobId),
    Answer(JobId, String),
    /// What was asked, whether it is granted, and what was said with it.
    Decide(JobId, Request, bool, String),
    Bounce(i64),
}

struct Desk<'a> {
    tx: &'a Connection,
    now: Timestamp,
    config: &'a Config,
    arrived: &'a Arrived,
    message: &'a Message,
    sender: &'a Sender,
}

impl Desk<'_> {
    /// The message that it is a copy of. One that only claims the id of another is none: it gets an id of its own.
    fn duplicate(&self) -> Result<Option<(Known, String)>> {
        if let Some(known) = store::same_content(self.tx, &self.arrived.place.mailbox, &self.arrived.content_hash)? {
            let reason = format!("the same message as number {}", known.id);
            return Ok(Some((known, reason)));
        }
        let Some(id) = &self.message.message_id else { return Ok(None) };
        let signed = |known: &Known| {
            let theirs = known.verification["signatures"].as_array();
            let ours = &self.sender.signatures;
            theirs.is_some_and(|theirs| {
                theirs.iter().filter_map(Value::as_str).any(|one| ours.iter().any(|own| own == one))
            })
        };
        let same = |known: &Known| {
            known.verification["print"] == self.sender.print.as_str() && (known.verified || !self.sender.verified)
        };
        let known = store::same_id(self.tx, id)?.into_iter().find(|known| signed(known) || same(known));
        Ok(known.map(|known| {
            let reason = format!("it came before as number {}, with the same Message-ID", known.id);
            (known, reason)
        }))
    }

    fn plan(&self) -> Result<Plan> {
        if let Some(plan) = self.no_person()? {
            return Ok(plan);
        }
        let stored = |reason: String| Plan::stored(reason, self.sender.origin());
        if !self.sender.verified {
            return Ok(stored(format!("the sender is not verified: {}", self.sender.why)));
        }
        let admin = self.sender.standing == Standing::Admin;
        if !self.addressed() {
            return Ok(stored("it is not addressed to the assistant: none of its own addresses is in To or Cc".into()));
        }
        let fresh = reply::fresh(&disclosure::strip(&self.message.text));
        if admin && let Some(plan) = self.by_code(&fresh)? {
            return Ok(plan);
        }
        let thread = self.thread()?;
        let job = thread.as_deref().map(|thread| within::open_job(self.tx, thread)).transpose()?.flatten();
        let takes_part = match (&thread, &self.sender.address) {
            (Some(thread), Some(address)) => admin || store::takes_part(self.tx, thread, job, address)?,
            _ => false,
        };
        let may_act = self.sender.actionable || (admin && takes_part && job.is_some());
        if !may_act {
            return Ok(self.stranger(thread, job));
        }
        if let Some(reason) =
            guards::too_many(self.tx, self.now, &self.config.mail, thread.as_deref().filter(|_| takes_part))?
        {
            // In its thread, where what answers it is counted too.
            let thread = thread.filter(|_| takes_part);
            return Ok(Plan { decision: Decision::Loop, thread, ..stored(reason) });
        }
        match (job, takes_part) {
            (Some(job), true) => self.on_open_job(job, thread, &fresh),
            (None, true) => Ok(self.new_job(thread, "a verified sender wrote in a thread without an open job")),
            (_, false) if thread.is_some() => {
                Ok(self.new_job(None, "a verified sender refers to a thread in which they have no part"))
            }
            _ => Ok(self.new_job(None, "a verified sender whose mail makes jobs")),
        }
    }

    /// What no person wrote, or the assistant itself.
    fn no_person(&self) -> Result<Option<Plan>> {
        let plan =
            |decision, reason: String, act| Plan { decision, reason, thread: None, origin: Origin::Stranger, act };
        let own = own_addresses(self.config);
        let from_self = self.message.from.iter().any(|from| own.contains(&from.address));
        if from_self {
            return Ok(Some(plan(Decision::Own, "it comes from the assistant's own address".into(), Act::Nothing)));
        }
        if let Some(report) = &self.message.report {
            let ids = report.message_id.iter().chain(&self.message.in_reply_to).chain(&self.message.references);
            for id in ids.take(MAX_IDS) {
                if let Some(outbox) = store::sent(self.tx, id)? {
                    let reason = format!("a report about mail {outbox} of the outbox");
                    return Ok(Some(plan(Decision::Bounce, reason, Act::Bounce(outbox))));
                }
            }
            let reason = "a report about a mail that the assistant did not send".into();
            return Ok(Some(plan(Decision::Loop, reason, Act::Nothing)));
        }
        Ok(guards::automatic(self.message).map(|reason| plan(Decision::Loop, reason, Act::Nothing)))
    }

    /// Whether the assistant is among the recipients that everybody sees; otherwise what somebody wrote to others could
    /// be handed on to it. Where no own address is known, every message is.
    fn addressed(&self) -> bool {
        let own = own_addresses(self.config);
        let without_tag = |address: &str| match address.split_once('@') {
            Some((local, domain)) => format!("{}@{domain}", local.split('+').next().unwrap_or_default()),
            None => address.to_owned(),
        };
        let is_own = |to: &Address| own.iter().any(|own| *own == to.address || *own == without_tag(&to.address));
        own.is_empty() || self.message.to.iter().chain(&self.message.cc).any(is_own)
    }

    /// The thread that it answers in.
    fn thread(&self) -> Result<Option<String>> {
        let ids: Vec<&String> =
            self.message.in_reply_to.iter().chain(self.message.references.iter().rev()).take(MAX_IDS).collect();
        let found = store::thread(self.tx, &ids)?;
        match (&found, &self.sender.address) {
            (None, Some(address)) if self.config.email.subject_threading_fallback => {
                let since = self.now - SignedDuration::from_hours(30 * 24);
                store::thread_by_subject(self.tx, since, address, &self.message.subject)
            }
            _ => Ok(found),
        }
    }

    /// What the owner answers or decides by a code. Only what they wrote themselves counts as their word; the code may
    /// stand in what they quote. What is no word about what is asked goes its way as any other mail in its thread.
    fn by_code(&self, fresh: &str) -> Result<Option<Plan>> {
        let (verdict, rest) = reply::verdict(fresh);
        let mut refused = None;
        let subject = codes::find(&self.message.subject);
        for code in subject.into_iter().chain(codes::find(&self.message.text)) {
            let (kind, why) = match codes::worth(self.tx, &code)? {
                Worth::Good(job, request) => {
                    let plan = self.word(job, request, verdict, fresh, &rest)?;
                    if plan.decision != Decision::Joined {
                        codes::use_up(self.tx, self.now, &code)?;
                    }
                    return Ok(Some(plan));
                }
                Worth::Used(job, kind) => (kind, format!("its code, about job {job}, was used before")),
                Worth::Void(job, kind) => {
                    (kind, format!("its code is void: job {job} no longer asks what it was made for"))
                }
                Worth::Unknown => continue,
            };
            if kind == CodeKind::Decision && verdict != Verdict::Unclear {
                refused = Some(Plan::stored(why, Origin::Owner));
            }
        }
        Ok(refused)
    }

    /// What the owner's words do about what a job asks: what is no word about it is something for the job to know.
    fn word(&self, job: JobId, request: Request, verdict: Verdict, fresh: &str, rest: &str) -> Result<Plan> {
        let asks = request.kind() == CodeKind::Question;
        let (decision, reason, act) = match verdict {
            _ if asks && !fresh.is_empty() => {
                let act = Act::Answer(job, first_chars(fresh, MAX_TOLD));
                (Decision::Answered, format!("the owner answers the question of job {job}"), act)
            }
            Verdict::Yes | Verdict::No if !asks => {
                let yes = verdict == Verdict::Yes;
                let (decision, word) =
                    if yes { (Decision::Approved, "approved") } else { (Decision::Denied, "denied") };
                let reason = format!("the owner {word} what job {job} asked for ({})", request.what);
                (decision, reason, Act::Decide(job, request, yes, rest.to_owned()))
            }
            _ => {
                let said = if asks { "says nothing" } else { "begins with neither \"approve\" nor \"deny\"" };
                (Decision::Joined, format!("it {said}, so that it only adds to job {job}"), Act::Join(job))
            }
        };
        let decides = matches!(act, Act::Decide(..));
        let thread = (!decides).then(|| within::get(self.tx, job)).transpose()?.map(|job| job.thread_id);
        Ok(Plan { decision, reason, thread, origin: Origin::Owner, act })
    }

    fn stranger(&self, thread: Option<String>, job: Option<JobId>) -> Plan {
        let who = self.sender.address.as_deref().unwrap_or_default();
        let owner = self.config.admin.email.as_deref().map(str::to_lowercase);
        let copied = self.message.to.iter().chain(&self.message.cc).any(|to| Some(&to.address) == owner.as_ref());
        match job {
            Some(job) if self.config.email.strangers_join_threads && copied => Plan {
                decision: Decision::Joined,
                reason: format!("{who} wrote in the thread of job {job} with the owner among the recipients"),
                thread,
                origin: Origin::Stranger,
                act: Act::Join(job),
            },
            _ => Plan::stored(format!("{who} is verified and not one of email.actionable_senders"), Origin::Stranger),
        }
    }

    fn on_open_job(&self, job: JobId, thread: Option<String>, fresh: &str) -> Result<Plan> {
        let asked = within::get(self.tx, job)?.needs.filter(|needs| needs.what == NeedsWhat::Answer.as_str());
        // What the owner is asked nobody else answers.
        let admin = self.sender.standing == Standing::Admin;
        let asks = asked.is_some_and(|asked| admin || !asked.text.starts_with(NeedsWhat::FOR_ADMIN));
        let plan = Plan {
            decision: Decision::Joined,
            reason: format!("it adds to job {job}, which is open in its thread"),
            thread,
            origin: self.sender.origin(),
            act: Act::Join(job),
        };
        if !asks || fresh.is_empty() {
            return Ok(plan);
        }
        Ok(Plan {
            decision: Decision::Answered,
            reason: format!("it answers the question of job {job}"),
            act: Act::Answer(job, first_chars(fresh, MAX_TOLD)),
            ..plan
        })
    }

    fn new_job(&self, thread: Option<String>, reason: &str) -> Plan {
        let reason = format!("{reason}: {} ({})", self.sender.address.as_deref().unwrap_or_default(), self.sender.why);
        Plan { decision: Decision::Job, reason, thread, origin: self.sender.origin(), act: Act::NewJob }
    }

    /// The item of its thread, with an id that nobody else has.
    fn keep(&self, plan: &Plan) -> Result<i64> {
        let domain = own_domain(self.config);
        let hash = codes::hex(&self.arrived.content_hash[..16]);
        let taken = |id: &str| {
            Ok::<_, crate::error::Error>(store::has_item(self.tx, id)? || store::sent(self.tx, id)?.is_some())
        };
        let mut id = self.message.message_id.clone().unwrap_or_else(|| format!("<missing-{hash}@{domain}>"));
        if taken(&id)? {
            id = format!("<copy-{hash}@{domain}>");
        }
        if taken(&id)? {
            id = format!("<copy-{hash}-{}-{}@{domain}>", self.arrived.place.uid_validity, self.arrived.place.uid);
        }
        let attachments: Vec<Value> = self.message.parts.iter().map(attachment).collect();
        let addresses = |all: &'_ [Address]| all.iter().map(|one| one.address.clone()).collect::<Vec<_>>();
        let (to, cc) = (addresses(&self.message.to), addresses(&self.message.cc));
        let subject = first_chars(&self.message.subject, 1000);
        let html = self.message.html.as_deref().map(disclosure::strip_html);
        let new = NewEmail {
            message_id: &id,
            thread_id: plan.thread.as_deref().unwrap_or(&id),
            in_reply_to: self.message.in_reply_to.first().map(String::as_str),
            references: &self.message.references,
            from: self.sender.address.as_deref().unwrap_or("unknown@unknown"),
            to: to.iter().map(String::as_str).collect(),
            cc: cc.iter().map(String::as_str).collect(),
            subject: &subject,
            text: &disclosure::strip(&self.message.text),
            html: html.as_deref(),
            attachments: &attachments,
            origin: plan.origin.as_str(),
            received_at: self.received_at(),
            folder: self.arrived.place.mailbox.rsplit_once('/').map_or("INBOX", |(_, folder)| folder),
            actionable: !matches!(plan.act, Act::Nothing | Act::Bounce(_)) && plan.origin != Origin::Stranger,
        };
        store::insert_email(self.tx, self.now, &new)
    }

    /// What `Date` says, where it may be true.
    fn received_at(&self) -> Timestamp {
        let server = self.arrived.received_at;
        let date = self.message.date.and_then(|date| Timestamp::from_second(date).ok());
        date.filter(|date| *date <= server + EARLY && *date >= server - LATE).unwrap_or(server)
    }

    fn carry_out(&self, plan: &Plan, email_id: i64, waits: bool) -> Result<Option<JobId>> {
        let by = self.sender.address.as_deref().map_or_else(|| BY.to_owned(), |address| format!("{BY} from {address}"));
        match &plan.act {
            Act::Nothing => Ok(None),
            Act::NewJob => create(self.tx, self.now, self.config, email_id, &by, waits).map(Some),
            Act::Join(job) => {
                within::set_new_context(self.tx, *job)?;
                Ok(Some(*job))
            }
            Act::Answer(job, text) => {
                within::answer(self.tx, self.now, *job, text, &by, plan.origin)?;
                Ok(Some(*job))
            }
            Act::Decide(job, request, yes, said) => {
                self.settle(*job, request, *yes, said, &by)?;
                Ok(Some(*job))
            }
            Act::Bounce(outbox) => bounce::tell(self.tx, self.now, *outbox, self.message),
        }
    }

    /// Carries a decision of the owner out.
    fn settle(&self, job: JobId, request: &Request, yes: bool, said: &str, by: &str) -> Result<()> {
        let said = Some(first_chars(said, MAX_TOLD)).filter(|said| !said.is_empty());
        if request.what == NeedsWhat::Approval.as_str() {
            let state = if yes { ApprovalState::Approved } else { ApprovalState::Denied };
            within::decide(self.tx, self.now, job, request.approval_id, state, said.as_deref(), by)?;
            if yes && let Some(said) = said {
                within::instruct(self.tx, self.now, job, &said, by, Origin::Owner)?;
            }
            return Ok(());
        }
        if !yes {
            return within::cancel(self.tx, self.now, job, by).map(drop);
        }
        let mut review = ReviewOverride { instruction: said, ..Default::default() };
        if request.what == NeedsWhat::Limits.as_str() {
            let job = within::get(self.tx, job)?;
            let limits = &self.config.limits;
            let set = Overrides::of(&job.metadata)?;
            let more = |set: Option<i64>, of_config: u32| {
                increased(set.unwrap_or(of_config.into()), self.config.mail.approval_increase_factor)
            };
            let iterations = more(set.max_iterations, limits.max_iterations_per_task);
            review.max_iterations_per_task = Some(iterations.min(10_000));
            review.max_tokens_per_task = Some(more(set.max_tokens, limits.max_tokens_per_task).min(100_000_000));
        }
        within::review(self.tx, self.now, job, &review, by, Origin::Owner).map(drop)
    }

    fn write_down(&self, taken: &Taken, reason: &str, email_id: Option<i64>) -> Result<()> {
        let kept = email_id.is_some() && !self.message.parts.is_empty();
        let new = NewReceived {
            place: &self.arrived.place,
            email_id,
            message_id: self.message.message_id.as_deref(),
            content_hash: &self.arrived.content_hash,
            size_bytes: self.arrived.size_bytes,
            headers: &self.message.headers,
            from: self.sender.address.as_deref(),
            subject: &self.message.subject,
            verification: &self.sender.verification,
            verified: self.sender.verified,
            decision: taken.decision,
            reason,
            job_id: taken.job_id,
            raw_name: kept.then_some(self.arrived.raw_name.as_str()),
            archive: taken.archive,
            received_at: self.arrived.received_at,
        };
        let id = store::insert_received(self.tx, self.now, &new)?;
        let data = json!({ "id": id, "decision": taken.decision });
        crate::events::emit(self.tx, self.now, "mail.received", taken.job_id, &data).map(drop)
    }
}

impl Plan {
    fn stored(reason: String, origin: Origin) -> Self {
        Self { decision: Decision::Stored, reason, thread: None, origin, act: Act::Nothing }
    }
}

/// A job for an item that is in its thread; held if it waits for its attachments.
pub(super) fn create(
    tx: &Connection,
    now: Timestamp,
    config: &Config,
    email_id: i64,
    by: &str,
    waits: bool,
) -> Result<JobId> {
    let (thread, subject, origin) = store::item(tx, email_id)?;
    let subject = codes::without(&subject);
    let subject =
        if subject.trim().is_empty() { "(no subject)".to_owned() } else { first_chars(&subject, MAX_SUBJECT) };
    let metadata: Metadata = [("source".to_owned(), Value::from("email"))].into_iter().collect();
    let new = Creation {
        subject,
        body: String::new(),
        from_address: String::new(),
        to_address: String::new(),
        origin: origin.parse().unwrap_or(Origin::Stranger),
        priority: 0,
        max_attempts: i64::from(config.jobs.max_attempts.max(1)),
        run_at: now,
        hold: waits,
        attachments: Vec::new(),
        metadata,
        parent_job_id: None,
        domain: String::new(),
        created_by: by.to_owned(),
    };
    within::insert_job(tx, now, &new, email_id, &thread).map(|job| job.id)
}

/// An attachment as everybody may see it: no path.
fn attachment(part: &assistant_mail::protocol::Part) -> Value {
    let name = part.name.clone().unwrap_or_else(|| format!("part-{}", part.index));
    json!({ "filename": name, "content_type": part.content_type, "size_bytes": part.size_bytes, "index": part.index })
}

fn first_chars(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "limits are far below 2^52")]
fn increased(limit: i64, factor: f64) -> i64 {
    ((limit as f64 * factor) as i64).max(limit + 1)
}
