//! Names of folders on the wire: modified UTF-7 (RFC 3501, section 5.1.3) in quotes.

use base64::{
    Engine as _,
    alphabet::IMAP_MUTF7,
    engine::{GeneralPurpose, general_purpose::NO_PAD},
};

/// Base64 with a comma instead of the slash, and without padding.
const ENGINE: GeneralPurpose = GeneralPurpose::new(&IMAP_MUTF7, NO_PAD);

/// A name as commands take it.
pub(super) fn quoted(name: &str) -> String {
    escaped(&encoded(name))
}

/// A text of printable ASCII characters as a quoted string.
pub(super) fn escaped(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Everything but printable ASCII becomes base64 of UTF-16; control characters too, so that no name ends a command.
fn encoded(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut rest = name.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '&' => text.push_str("&-"),
            ' '..='~' => text.push(c),
            _ => {
                let mut bytes = Vec::new();
                let mut units = [0; 2];
                let mut next = Some(c);
                while let Some(c) = next {
                    bytes.extend(c.encode_utf16(&mut units).iter().flat_map(|unit| unit.to_be_bytes()));
                    next = rest.next_if(|c| !(' '..='~').contains(c));
                }
                text.push('&');
                ENGINE.encode_string(bytes, &mut text);
                text.push('-');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_servers_know_them() {
        for (name, wire) in [
            ("INBOX", "\"INBOX\""),
            ("Sent Items", "\"Sent Items\""),
            ("a\"b\\c", "\"a\\\"b\\\\c\""),
            ("Tom & Jerry", "\"Tom &- Jerry\""),
            ("Entwürfe", "\"Entw&APw-rfe\""),
            ("~peter/mail/台北/日本語", "\"~peter/mail/&U,BTFw-/&ZeVnLIqe-\""),
            ("😀", "\"&2D3eAA-\""),
            ("x\r\nA1 LOGOUT", "\"x&AA0ACg-A1 LOGOUT\""),
        ] {
            assert_eq!(quoted(name), wire);
        }
    }
}
