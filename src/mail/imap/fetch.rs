//! What lies in a folder, and the messages themselves, part by part.

use std::collections::BTreeMap;

use async_imap::imap_proto::{AttributeValue, Response};
use jiff::{Timestamp, fmt::strtime::BrokenDownTime};

use super::{
    Connection, Fault,
    connection::{ResponseData, Tag},
};

/// Bytes of a message that are asked for at once.
pub(in crate::mail) const PART: u32 = 1 << 20;

/// A message that lies in the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mail) struct Listed {
    pub(in crate::mail) uid: u32,
    /// As the server says; some count otherwise than we.
    pub(in crate::mail) size: u32,
    /// When the server got it.
    pub(in crate::mail) received_at: Option<Timestamp>,
}

/// A part of a message.
pub(in crate::mail) struct Part(ResponseData);

impl Connection {
    /// The first messages from a UID on, at most `limit`, in their order.
    pub(in crate::mail) async fn list(&mut self, from: u32, limit: usize) -> Result<Vec<Listed>, Fault> {
        self.news = false;
        if self.exists == 0 {
            return Ok(Vec::new());
        }
        self.list_set(&format!("{from}:*"), from, limit).await
    }

    /// Those of these messages that still lie there.
    pub(in crate::mail) async fn list_again(&mut self, uids: &[u32]) -> Result<Vec<Listed>, Fault> {
        self.list_set(&set(uids), 1, uids.len()).await
    }

    async fn list_set(&mut self, set: &str, from: u32, limit: usize) -> Result<Vec<Listed>, Fault> {
        let tag = self.say(&format!("UID FETCH {set} (UID RFC822.SIZE INTERNALDATE)")).await?;
        let mut found = BTreeMap::new();
        while let Some(response) = self.hear(&tag).await? {
            let Response::Fetch(_, attributes) = response.parsed() else { continue };
            // Without a size it is about something else: a server may tell of changed flags at any time.
            let Some(listed) = listed(attributes) else { continue };
            // A range up to the last message always has that one, however it is numbered.
            if listed.uid < from {
                continue;
            }
            if found.insert(listed.uid, listed).is_some_and(|before| before != listed) {
                return Err(Fault::Gone(format!("it has two messages of the number {}", listed.uid)));
            }
            if found.len() > limit {
                found.pop_last();
            }
        }
        Ok(found.into_values().collect())
    }

    /// Asks for the first part of each of these messages.
    pub(in crate::mail) async fn ask_first_parts(&mut self, uids: &[u32]) -> Result<Parts, Fault> {
        self.ask_parts(uids, 0).await
    }

    /// Asks for a part of one message.
    pub(in crate::mail) async fn ask_part(&mut self, uid: u32, offset: u32) -> Result<Parts, Fault> {
        self.ask_parts(&[uid], offset).await
    }

    async fn ask_parts(&mut self, uids: &[u32], offset: u32) -> Result<Parts, Fault> {
        let tag = self.say(&format!("UID FETCH {} (UID BODY.PEEK[]<{offset}.{PART}>)", set(uids))).await?;
        Ok(Parts { tag, asked: uids.to_vec(), offset })
    }

    /// The next part that was asked for; `None` after the last.
    pub(in crate::mail) async fn next_part(&mut self, parts: &mut Parts) -> Result<Option<(u32, Part)>, Fault> {
        while let Some(response) = self.hear(&parts.tag).await? {
            let Response::Fetch(_, attributes) = response.parsed() else { continue };
            let Some((uid, index)) = body(attributes) else { continue };
            let Some(at) = parts.asked.iter().position(|asked| *asked == uid) else {
                return Err(Fault::Gone(format!("it sends message {uid}, which nobody asked for")));
            };
            if index.unwrap_or(0) != parts.offset {
                return Err(Fault::Gone(format!("it sends another part of message {uid} than was asked for")));
            }
            parts.asked.swap_remove(at);
            return Ok(Some((uid, Part(response))));
        }
        Ok(None)
    }
}

/// Parts that were asked for and come.
pub(in crate::mail) struct Parts {
    tag: Tag,
    /// Those that have not come yet.
    asked: Vec<u32>,
    offset: u32,
}

impl Part {
    /// Its bytes.
    pub(in crate::mail) fn bytes(&self) -> &[u8] {
        let Response::Fetch(_, attributes) = self.0.parsed() else { return &[] };
        let mut bodies = attributes.iter().filter_map(|attribute| match attribute {
            AttributeValue::BodySection { section: None, data, .. } => data.as_deref(),
            _ => None,
        });
        bodies.next().unwrap_or_default()
    }
}

/// UIDs as commands take them; ranges where they follow each other.
pub(super) fn set(uids: &[u32]) -> String {
    use std::fmt::Write as _;
    let (mut text, mut rest) = (String::new(), uids);
    while let [first, ..] = rest {
        let count =
            rest.iter().zip(u64::from(*first)..).take_while(|(uid, expected)| u64::from(**uid) == *expected).count();
        let comma = if text.is_empty() { "" } else { "," };
        let last = rest[count - 1];
        let _ = if count > 1 { write!(text, "{comma}{first}:{last}") } else { write!(text, "{comma}{first}") };
        rest = &rest[count..];
    }
    text
}

fn listed(attributes: &[AttributeValue<'_>]) -> Option<Listed> {
    let (mut uid, mut size, mut received_at) = (None, None, None);
    for attribute in attributes {
        match attribute {
            AttributeValue::Uid(found) if *found > 0 => uid = Some(*found),
            AttributeValue::Rfc822Size(found) => size = Some(*found),
            AttributeValue::InternalDate(text) => received_at = date(text),
            _ => {}
        }
    }
    Some(Listed { uid: uid?, size: size?, received_at })
}

fn body(attributes: &[AttributeValue<'_>]) -> Option<(u32, Option<u32>)> {
    let (mut uid, mut index, mut there) = (None, None, false);
    for attribute in attributes {
        match attribute {
            AttributeValue::Uid(found) => uid = Some(*found),
            AttributeValue::BodySection { section: None, index: found, data: Some(_) } => {
                (index, there) = (*found, true);
            }
            _ => {}
        }
    }
    uid.filter(|_| there).map(|uid| (uid, index))
}

/// A date and time such as ` 7-Feb-1994 21:52:25 -0800` (RFC 9051, `date-time`).
fn date(text: &str) -> Option<Timestamp> {
    BrokenDownTime::parse("%d-%b-%Y %H:%M:%S %z", text.trim()).ok()?.to_timestamp().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_servers_are_understood() {
        let at = |text: &str| date(text).map(|at| at.to_string());
        assert_eq!(at(" 7-Feb-1994 21:52:25 -0800").as_deref(), Some("1994-02-08T05:52:25Z"));
        assert_eq!(at("17-Jul-1996 02:44:25 +0530").as_deref(), Some("1996-07-16T21:14:25Z"));
        assert_eq!(at("yesterday"), None);
    }

    #[test]
    fn numbers_are_put_into_ranges() {
        assert_eq!(set(&[1]), "1");
        assert_eq!(set(&[1, 2, 3, 5, 7, 8]), "1:3,5,7:8");
        assert_eq!(set(&[u32::MAX]), "4294967295");
        assert_eq!(set(&[9, 3]), "9,3");
    }
}
