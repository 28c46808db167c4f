//! What goes out with a mail: files of the workspace, and texts that a job made up for it.

use serde::Serialize;

use crate::{
    agent::tools::Call,
    config::Config,
    cx::Cx,
    error::{Error, Result},
    workspace,
};

/// One attachment as it is asked for: a path of the workspace, or a content with a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Attached {
    /// A file of the workspace. Either this or `content`.
    #[serde(default)]
    pub path: Option<String>,
    /// The text of the file, if there is none in the workspace; needs `filename`.
    #[serde(default)]
    pub content: Option<String>,
    /// Its name for the recipient; that of the file unless given.
    #[serde(default)]
    pub filename: Option<String>,
    /// Such as `text/csv`; by the name unless given.
    #[serde(default)]
    pub content_type: Option<String>,
}

/// One attachment with its bytes.
#[derive(Clone, Debug)]
pub struct Attachment {
    pub about: About,
    pub bytes: Vec<u8>,
}

/// What is told of an attachment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct About {
    pub filename: String,
    pub content_type: String,
    pub size_bytes: u64,
    /// In the workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// Reads what is to be attached, within the bounds of `[email]`.
///
/// # Errors
/// `validation` that names the field; `too_large`; what the workspace says of a path.
pub async fn attach(cx: &Cx, call: &Call, wanted: &[Attached]) -> Result<Vec<Attachment>> {
    let config = cx.config.load_full();
    let most = config.email.max_attachment_count as usize;
    if wanted.len() > most {
        let message = format!("{} attachments; at most {most} (email.max_attachment_count)", wanted.len());
        return Err(Error::validation(message).field("attachments").hint("put them into one archive"));
    }
    let mut total = 0;
    let mut all = Vec::with_capacity(wanted.len());
    for (index, one) in wanted.iter().enumerate() {
        let field = format!("attachments.{index}");
        let attachment = read(cx, &config, call, one).await.map_err(|err| err.field(field))?;
        total += attachment.about.size_bytes;
        if total > config.email.max_total_attachment_bytes.0 {
            let max = config.email.max_total_attachment_bytes.0;
            let message = format!("the attachments together are over {max} bytes (email.max_total_attachment_bytes)");
            return Err(Error::too_large(message).field("attachments"));
        }
        all.push(attachment);
    }
    Ok(all)
}

async fn read(cx: &Cx, config: &Config, call: &Call, one: &Attached) -> Result<Attachment> {
    let max = config.email.max_attachment_bytes.0;
    let (name, path, bytes) = match (&one.path, &one.content) {
        (Some(path), None) => {
            let file = workspace::to_send(cx, call.job_id, path.clone(), max).await?;
            let own = file.path.rsplit('/').next().unwrap_or_default().to_owned();
            (one.filename.clone().unwrap_or(own), Some(file.path), file.bytes)
        }
        (None, Some(content)) => {
            let name = one.filename.clone();
            let name = name.ok_or_else(|| Error::validation("an attachment made of a text needs a filename"))?;
            (name, None, content.clone().into_bytes())
        }
        _ => return Err(Error::validation("an attachment is either a path or a content with a filename")),
    };
    if bytes.len() as u64 > max {
        return Err(Error::too_large(format!("it is over {max} bytes (email.max_attachment_bytes)")));
    }
    let filename = filename(&name)?;
    let content_type = match &one.content_type {
        Some(kind) => content_type(kind)?,
        None => guess(&filename).to_owned(),
    };
    Ok(Attachment { about: About { filename, content_type, size_bytes: bytes.len() as u64, path }, bytes })
}

/// A name without directories, control characters and what turns text around.
fn filename(text: &str) -> Result<String> {
    let text = text.trim();
    let odd = |c: char| {
        c.is_control()
            || matches!(c, '/' | '\\' | '"' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.is_empty() || text == "." || text == ".." || text.chars().count() > 150 || text.contains(odd) {
        return Err(Error::validation(format!("{text:?} is no name for an attachment")).hint("such as \"report.pdf\""));
    }
    Ok(text.to_owned())
}

/// `type/subtype` without parameters.
fn content_type(text: &str) -> Result<String> {
    let text = text.trim().to_ascii_lowercase();
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'+' | b'-' | b'_'))
    };
    match text.split_once('/') {
        // A part of these types would be taken for more than a file.
        Some((kind, sub)) if token(kind) && token(sub) && !matches!(kind, "multipart" | "message") => Ok(text),
        _ => Err(Error::validation(format!("{text:?} is no content type of a file")).hint("such as \"text/csv\"")),
    }
}

/// The type that the end of a name stands for.
fn guess(name: &str) -> &'static str {
    let end = name.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase()).unwrap_or_default();
    match end.as_str() {
        "txt" | "log" | "md" => "text/plain",
        "csv" => "text/csv",
        "html" | "htm" => "text/html",
        "ics" => "text/calendar",
        "json" => "application/json",
        "xml" => "application/xml",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "svg" => "image/svg+xml",
        "mp3" => "audio/mpeg",
        "mp4" => "video/mp4",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "xlsx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "pptx" => "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "odt" => "application/vnd.oasis.opendocument.text",
        "epub" => "application/epub+zip",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_types_that_are_taken() {
        assert_eq!(filename(" Bericht über.pdf ").unwrap(), "Bericht über.pdf");
        for bad in ["", ".", "..", "a/b", "a\\b", "a\"b", "a\r\nb", "gpj.\u{202e}exe", &"x".repeat(151)] {
            assert!(filename(bad).is_err(), "{bad:?}");
        }
        assert_eq!(content_type("Text/CSV").unwrap(), "text/csv");
        for bad in ["", "text", "text/", "text/csv; name=x", "text/csv\r\nX: y", "message/rfc822", "multipart/mixed"] {
            assert!(content_type(bad).is_err(), "{bad:?}");
        }
        assert_eq!((guess("a.PDF"), guess("noend")), ("application/pdf", "application/octet-stream"));
    }
}
