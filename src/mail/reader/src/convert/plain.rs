//! Text, tables and data that are text already.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use serde::de::IgnoredAny;

use super::{
    Failed, Page, Result, markdown,
    xml::{self, Piece},
};

/// Characters that show text in another order than it is read (Unicode TR 9), and controls.
fn is_unwanted(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        || (character.is_control() && !matches!(character, '\n' | '\t'))
}

/// Text of whatever encoding, with line feeds, without characters that nobody should see.
pub(super) fn decoded(input: &[u8]) -> Result<String> {
    let (text, _) = match Encoding::for_bom(input) {
        Some((encoding, length)) => encoding.decode_without_bom_handling(&input[length..]),
        None if input.contains(&0) => return Err(Failed("it is not text".to_owned())),
        None => match UTF_8.decode_without_bom_handling_and_without_replacement(input) {
            Some(text) => (text, false),
            None => WINDOWS_1252.decode_without_bom_handling(input),
        },
    };
    Ok(clean(&text).into_owned())
}

/// The same, of text that is decoded.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unwanted) {
        return Cow::Borrowed(text);
    }
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    Cow::Owned(text.chars().filter(|character| !is_unwanted(*character)).collect())
}

pub(super) fn text(input: &[u8], page: &mut Page<'_>) -> Result<()> {
    page.text(&decoded(input)?)
}

pub(super) fn json(input: &[u8], page: &mut Page<'_>) -> Result<()> {
    let text = decoded(input)?;
    serde_json::from_str::<IgnoredAny>(&text).map_err(|err| Failed(format!("it is not JSON: {err}")))?;
    markdown::fenced(page, "json", &text)
}

pub(super) fn xml(input: &[u8], page: &mut Page<'_>) -> Result<()> {
    let text = decoded(input)?;
    let mut elements = 0_u64;
    xml::walk(&text, |piece| {
        elements += u64::from(matches!(piece, Piece::Open(_)));
        Ok(())
    })?;
    if elements == 0 {
        return Err(Failed("it is not XML: there is no element".to_owned()));
    }
    markdown::fenced(page, "xml", &text)
}

pub(super) fn csv(input: &[u8], page: &mut Page<'_>) -> Result<()> {
    let text = decoded(input)?;
    let first = text.lines().next().unwrap_or_default();
    let count = |delimiter: char| first.matches(delimiter).count();
    let delimiter = [b',', b';', b'\t'].into_iter().max_by_key(|byte| (count(char::from(*byte)), *byte == b','));
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter.unwrap_or(b','))
        .from_reader(text.as_bytes());
    let mut table = markdown::Table::default();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(|err| Failed(format!("it is not a table: {err}")))? {
        table.row(page, record.iter())?;
    }
    Ok(())
}

/// What is said in subtitles, one line after the other; a line that is only repeated is said once.
pub(super) fn vtt(input: &[u8], page: &mut Page<'_>) -> Result<()> {
    let text = decoded(input)?;
    if !text.starts_with("WEBVTT") {
        return Err(Failed("they are not subtitles (WebVTT)".to_owned()));
    }
    let mut last = String::new();
    for block in text.split("\n\n").skip(1) {
        let mut lines = block.lines();
        if !lines.by_ref().any(|line| line.contains("-->")) {
            continue;
        }
        for line in lines {
            let mut said = String::new();
            let mut tag = false;
            for character in line.chars() {
                match character {
                    '<' => tag = true,
                    '>' if tag => tag = false,
                    other if !tag => said.push(other),
                    _ => {}
                }
            }
            let said = said.trim();
            if !said.is_empty() && said != last {
                page.text(said)?;
                page.text("\n")?;
                said.clone_into(&mut last);
            }
        }
    }
    Ok(())
}
