//! Pages of lists: how many items, which words, and opaque cursors, which say where the next page begins as base64url of
//! a small JSON value.
//!
//! ```ignore
//! let after: Option<(i64, JobId)> = query.cursor.as_deref().map(cursor::decode).transpose()?;
//! let next_cursor = more.then(|| cursor::encode(&(last.priority, last.id))).transpose()?;
//! ```

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};

use crate::error::{Error, Result};

/// Characters that a cursor may have.
const LONGEST: usize = 512;

/// Writes a position.
pub fn encode(position: &impl Serialize) -> Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(position)?))
}

/// Reads a position back.
///
/// # Errors
/// `validation` of the field `cursor` when it is not one of this list.
pub fn decode<T: DeserializeOwned>(cursor: &str) -> Result<T> {
    let fault = || {
        Error::validation("cursor is not one that this list gave out")
            .field("query.cursor")
            .hint("pass next_cursor as it was received, or leave it out for the first page")
    };
    if cursor.len() > LONGEST {
        return Err(fault());
    }
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| fault())?;
    serde_json::from_slice(&bytes).map_err(|_| fault())
}

/// How many items a page has.
///
/// # Errors
/// `validation` of the field `limit` outside of 1 to `most`.
pub fn limit(asked: Option<i64>, default: u32, most: u32) -> Result<u32> {
    match asked.map(u32::try_from) {
        None => Ok(default),
        Some(Ok(asked)) if (1..=most).contains(&asked) => Ok(asked),
        Some(_) => Err(Error::validation(format!("limit has to be from 1 to {most}")).field("query.limit")),
    }
}

/// Characters that are searched for.
const LONGEST_TEXT: usize = 200;

/// The words that a list is searched for, in lower case.
///
/// # Errors
/// `validation` of the field `q` when there are more than 200 characters.
pub fn words(text: Option<&str>) -> Result<Vec<String>> {
    let text = text.unwrap_or_default();
    if text.chars().count() > LONGEST_TEXT {
        return Err(Error::validation(format!("it has more than {LONGEST_TEXT} characters")).field("query.q"));
    }
    Ok(text.split_whitespace().map(str::to_lowercase).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_survive_and_nonsense_is_refused() {
        let cursor = encode(&(5, "x/ü")).unwrap();
        assert!(cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'), "{cursor}");
        assert_eq!(decode::<(i64, String)>(&cursor).unwrap(), (5, "x/ü".to_owned()));
        for wrong in ["", "!", "eyJ", &encode(&"other").unwrap(), &"a".repeat(600)] {
            assert_eq!(decode::<(i64, String)>(wrong).unwrap_err().field_name(), Some("query.cursor"), "{wrong}");
        }
    }

    #[test]
    fn limits_have_bounds() {
        assert_eq!(limit(None, 50, 200).unwrap(), 50);
        assert_eq!(limit(Some(200), 50, 200).unwrap(), 200);
        for wrong in [0, -1, 201, i64::MAX] {
            assert!(limit(Some(wrong), 50, 200).is_err());
        }
    }
}
