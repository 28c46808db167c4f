//! Entity tags (RFC 9110, section 8.8): a change names the version that it was made from.

use axum::http::{HeaderMap, HeaderValue, header};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, ErrorKind, Result};

/// A strong entity tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ETag(String);

impl ETag {
    /// The tag of some content.
    pub fn of(content: &[u8]) -> Self {
        let hash = Sha256::digest(content);
        Self(hash[..16].iter().fold(String::from("\""), |tag, byte| format!("{tag}{byte:02x}")) + "\"")
    }

    /// The tag of something that has a version of its own, made of visible ASCII characters without quotes.
    pub fn version(version: &str) -> Self {
        let clean: String = version.chars().filter(|c| c.is_ascii_graphic() && *c != '"').collect();
        Self(format!("\"{clean}\""))
    }

    /// The tag with its quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As a header's value.
    pub fn header(&self) -> HeaderValue {
        HeaderValue::try_from(&self.0).unwrap_or(HeaderValue::from_static("\"\""))
    }

    /// Whether the client has this version already (`If-None-Match`): the answer is then 304 without a body.
    pub fn is_known(&self, headers: &HeaderMap) -> bool {
        listed(headers, header::IF_NONE_MATCH).any(|tag| tag == "*" || tag.trim_start_matches("W/") == self.0)
    }

    /// Holds `If-Match` against `current`, the tag of what is there (`None`: nothing). Without the header all is well.
    ///
    /// # Errors
    /// `precondition_failed` when the client's version is no longer the current one.
    pub fn check_match(headers: &HeaderMap, current: Option<&Self>) -> Result<()> {
        if !headers.contains_key(header::IF_MATCH) {
            return Ok(());
        }
        let fits =
            current.is_some_and(|current| listed(headers, header::IF_MATCH).any(|tag| tag == "*" || tag == current.0));
        if fits {
            return Ok(());
        }
        Err(Error::new(ErrorKind::PreconditionFailed, "it has changed since the version that If-Match names")
            .hint("read it again, then repeat the change"))
    }
}

/// The tags of a header; a comma within quotes does not occur in ours.
fn listed(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::try_from(value).unwrap())])
    }

    #[test]
    fn a_change_of_an_older_version_is_refused() {
        let tag = ETag::of(b"content");
        assert_eq!(tag.as_str().len(), 34);
        assert!(ETag::check_match(&HeaderMap::new(), None).is_ok());
        for (sent, current, fits) in [
            (tag.as_str(), Some(&tag), true),
            ("\"x\", *", Some(&tag), true),
            ("\"x\"", Some(&tag), false),
            ("*", None, false),
            (&format!("W/{}", tag.as_str()), Some(&tag), false),
        ] {
            let result = ETag::check_match(&headers(header::IF_MATCH, sent), current);
            assert_eq!(result.is_ok(), fits, "{sent}");
        }
        assert!(tag.is_known(&headers(header::IF_NONE_MATCH, &format!("\"x\", W/{}", tag.as_str()))));
        assert!(!tag.is_known(&headers(header::IF_NONE_MATCH, "\"x\"")));
        assert_eq!(ETag::version("17-\"2").as_str(), "\"17-2\"");
    }
}
