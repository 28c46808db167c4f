//! What is said between the daemon and the reader.
//!
//! The reader is started for one message, with the message as its standard input, a file that it maps, and a socket as
//! its standard output. It says [`Said`], one line of JSON each, and hears [`Records`] when it asked for names. It opens
//! no file and no connection: whatever it is led to by a message, there is nothing to reach.

use serde::{Deserialize, Serialize};

/// The header that the assistant marks its own mail with.
pub const OWN_MARK: &str = "X-Assistant-Mail";

/// What the reader says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// TXT records that it needs to verify the sender: names of the DNS.
    Names(Vec<String>),
    /// Everything about the message; the last line.
    Message(Box<Message>),
    /// Why it cannot be read; the last line.
    Failed(String),
}

/// TXT records by name, as they were looked up.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Records(pub Vec<(String, Lookup)>);

/// What the DNS said of one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lookup {
    /// The records, each with its strings put together (RFC 7208, section 3.3).
    Found(Vec<String>),
    /// There is none.
    Missing,
    /// Nobody knows at present.
    Failed,
}

/// A message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// With its angle brackets.
    pub message_id: Option<String>,
    /// Message ids with their angle brackets, in their order.
    pub in_reply_to: Vec<String>,
    pub references: Vec<String>,
    pub from: Vec<Address>,
    pub sender: Option<Address>,
    pub reply_to: Vec<Address>,
    pub to: Vec<Address>,
    pub cc: Vec<Address>,
    pub subject: String,
    /// What `Date` says, in seconds since 1970.
    pub date: Option<i64>,
    /// Names and values of the headers, unfolded, in their order; bounded.
    pub headers: Vec<(String, String)>,
    /// The text parts; made of HTML where there are none.
    pub text: String,
    /// There was more.
    pub text_cut: bool,
    /// The HTML without scripts, forms, styles that hide, and anything that would be loaded.
    pub html: Option<String>,
    pub parts: Vec<Part>,
    pub automatic: Automatic,
    pub report: Option<Report>,
    pub authentication: Authentication,
    /// What is odd about it, for people.
    pub defects: Vec<String>,
}

/// A mail address with the name before it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    pub name: Option<String>,
    /// In lower case.
    pub address: String,
}

/// A part that is a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// By which it can be asked for.
    pub index: u32,
    /// Without directories and control characters.
    pub name: Option<String>,
    /// Such as `application/pdf`.
    pub content_type: String,
    /// Decoded.
    pub size_bytes: u64,
    /// How many messages it lies in; 0: in this one.
    pub depth: u32,
}

/// What says that no person wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Automatic {
    /// `Auto-Submitted` other than `no` (RFC 3834).
    pub auto_submitted: Option<String>,
    /// `Precedence` if it is `bulk`, `junk` or `list`.
    pub precedence: Option<String>,
    /// `List-Id` (RFC 2919).
    pub list_id: Option<String>,
    /// The header that the assistant marks its own mail with.
    pub own_mark: Option<String>,
    /// The envelope has no sender (`Return-Path: <>`).
    pub no_return_path: bool,
}

/// What became of a mail (RFC 3464).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Of the mail that it is about, with its angle brackets.
    pub message_id: Option<String>,
    pub recipients: Vec<Delivery>,
}

/// What became of it for one recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    pub recipient: String,
    /// `failed`, `delayed`, `delivered`, `relayed` or `expanded`.
    pub action: String,
    /// Such as `5.1.1` (RFC 3463).
    pub status: String,
    pub diagnostic: Option<String>,
}

/// What can be said of who sent it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authentication {
    pub dkim: Vec<Signature>,
    pub arc: Option<Chain>,
    pub dmarc: Option<Dmarc>,
    /// What servers on the way say (RFC 8601), from the top.
    pub claims: Vec<Claim>,
    /// Some name could not be looked up: another time may say more.
    pub temporary: bool,
}

/// A DKIM signature (RFC 6376).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    pub domain: String,
    pub selector: String,
    /// As `Authentication-Results` names it: `pass`, `fail`, `neutral`, `temperror`, `permerror`.
    pub result: String,
    pub reason: Option<String>,
    /// Whether it covers the whole body and the headers that say who wrote what to whom.
    pub covers: bool,
    /// Whether its domain is that of `From`, or one above it.
    pub aligned: bool,
    /// The signature itself, by which a copy of the message is known again.
    pub signature: String,
}

/// The ARC chain (RFC 8617).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    pub result: String,
    pub reason: Option<String>,
    /// Domains that sealed it, the first one first.
    pub sealers: Vec<String>,
    /// What the first one found.
    pub found: Vec<Found>,
    /// As of a [`Signature`].
    pub covers: bool,
}

/// DMARC (RFC 7489) of the domain in `From`, by aligned DKIM alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dmarc {
    pub domain: String,
    pub result: String,
    /// What the domain asks to be done otherwise: `none`, `quarantine` or `reject`; unset without a record.
    pub policy: Option<String>,
}

/// One `Authentication-Results` header.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub authserv_id: String,
    /// It stands above the first `Received` line that this server wrote, so that this server or a later one wrote it.
    pub above_own_received: bool,
    /// The other servers whose `Received` lines stand above it, but for those that put it into the mailbox (LMTP): each of
    /// them could have been handed it by anybody.
    pub handed_on_by: Vec<String>,
    pub results: Vec<Found>,
}

/// What a server found by one method (RFC 8601, section 2.2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Such as `spf`.
    pub method: String,
    /// Such as `pass`.
    pub result: String,
    /// The domain that it is about: of the envelope's sender, of `From`, or of the signature.
    pub domain: Option<String>,
}
