//! Addresses of `YouTube` in the text of a mail.

/// Characters of a video's id.
const ID: std::ops::RangeInclusive<usize> = 6..=64;

/// Each video once, in the order in which they stand: `https://www.youtube.com/watch?v=ID`.
pub(super) fn links(texts: &[&str]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for text in texts {
        let low = text.to_ascii_lowercase();
        for (at, _) in low.match_indices("youtu") {
            if let Some(id) = video(&low, text, at) {
                let link = format!("https://www.youtube.com/watch?v={id}");
                if !found.contains(&link) {
                    found.push(link);
                }
            }
        }
    }
    found
}

/// The id in the address whose host has `youtu` at `at`. `low` is `text` in lower case.
fn video<'t>(low: &str, text: &'t str, at: usize) -> Option<&'t str> {
    let before = &low[..at];
    let host_begin =
        before.rfind(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))).map_or(0, |i| i + 1);
    let host_end = at + low[at..].find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-')))?;
    let scheme = &low[..host_begin];
    if !scheme.ends_with("http://") && !scheme.ends_with("https://") {
        return None;
    }
    let path = &low[host_end..];
    let begin = match &low[host_begin..host_end] {
        "youtu.be" => path.starts_with('/').then_some(1)?,
        "youtube.com" | "www.youtube.com" | "m.youtube.com" | "music.youtube.com" => {
            if path.starts_with("/watch?") {
                let query = path.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '#'));
                let query = &path[..query.unwrap_or(path.len())];
                let marks = ["?v=", "&v=", "&amp;v="];
                marks.iter().filter_map(|mark| query.find(mark).map(|at| at + mark.len())).min()?
            } else {
                ["/shorts/", "/embed/"].iter().find(|prefix| path.starts_with(**prefix)).map(|prefix| prefix.len())?
            }
        }
        _ => return None,
    };
    let rest = &text[host_end + begin..];
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))).unwrap_or(rest.len());
    ID.contains(&end).then(|| &rest[..end])
}
