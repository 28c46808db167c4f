//! Event streams (WHATWG HTML, "Server-sent events"), decoded from chunks that may be cut anywhere.

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// Empty unless the stream names it.
    pub(super) name: String,
    pub(super) data: String,
}

/// Why a stream cannot be decoded any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Takes bytes, gives events. Bytes are turned into text by whole lines, so a cut within a character does no harm.
#[derive(Debug)]
pub(super) struct Decoder {
    /// The line that is not complete yet.
    line: Vec<u8>,
    event: Event,
    has_data: bool,
    /// A carriage return ended the last line: a line feed right after it belongs to it.
    after_return: bool,
    first_line: bool,
    /// Bytes that one line, and the data of one event, may have.
    limit: usize,
}

impl Decoder {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            line: Vec::new(),
            event: Event::default(),
            has_data: false,
            after_return: false,
            first_line: true,
            limit,
        }
    }

    /// Adds a chunk; the events that it completes are appended to `events`.
    pub(super) fn push(&mut self, chunk: &[u8], events: &mut Vec<Event>) -> Result<(), TooLong> {
        for &byte in chunk {
            if std::mem::take(&mut self.after_return) && byte == b'\n' {
                continue;
            }
            match byte {
                b'\n' | b'\r' => {
                    self.after_return = byte == b'\r';
                    self.end_line(events)?;
                }
                _ if self.line.len() >= self.limit => return Err(TooLong),
                _ => self.line.push(byte),
            }
        }
        Ok(())
    }

    /// The stream is over: what was begun is taken as complete, because some servers leave the last blank line out.
    pub(super) fn end(&mut self, events: &mut Vec<Event>) -> Result<(), TooLong> {
        if !self.line.is_empty() {
            self.end_line(events)?;
        }
        self.end_event(events);
        Ok(())
    }

    fn end_line(&mut self, events: &mut Vec<Event>) -> Result<(), TooLong> {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        let mut text = text.as_ref();
        if std::mem::take(&mut self.first_line) {
            text = text.strip_prefix('\u{feff}').unwrap_or(text);
        }
        if text.is_empty() {
            self.end_event(events);
            return Ok(());
        }
        let (field, value) = text.split_once(':').unwrap_or((text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if self.event.data.len() + value.len() > self.limit {
                    return Err(TooLong);
                }
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            "event" => value.clone_into(&mut self.event.name),
            // `id`, `retry`, and comments, whose field is empty: heartbeats of proxies.
            _ => {}
        }
        Ok(())
    }

    fn end_event(&mut self, events: &mut Vec<Event>) {
        let event = std::mem::take(&mut self.event);
        if std::mem::take(&mut self.has_data) {
            events.push(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(chunks: &[&[u8]]) -> Vec<(String, String)> {
        let mut decoder = Decoder::new(1000);
        let mut events = Vec::new();
        for chunk in chunks {
            decoder.push(chunk, &mut events).unwrap();
        }
        decoder.end(&mut events).unwrap();
        events.into_iter().map(|event| (event.name, event.data)).collect()
    }

    fn event(name: &str, data: &str) -> (String, String) {
        (name.into(), data.into())
    }

    const STREAM: &str = "\u{feff}: hello\r\nevent: a\r\ndata: {\"x\":\"größe €\"}\r\n\r\ndata: one\ndata:two\n\n:\rid: 7\rdata\r\rdata: [DONE]";

    #[test]
    fn fields_comments_and_all_line_ends() {
        let expected =
            vec![event("a", "{\"x\":\"größe €\"}"), event("", "one\ntwo"), event("", ""), event("", "[DONE]")];
        assert_eq!(decode(&[STREAM.as_bytes()]), expected);
    }

    #[test]
    fn a_cut_at_any_byte_changes_nothing() {
        let bytes = STREAM.as_bytes();
        let whole = decode(&[bytes]);
        for at in 0..=bytes.len() {
            assert_eq!(decode(&[&bytes[..at], &bytes[at..]]), whole, "cut at {at}");
        }
        assert_eq!(decode(&bytes.chunks(1).collect::<Vec<_>>()), whole);
    }

    #[test]
    fn an_event_without_data_is_none() {
        assert_eq!(decode(&[b"event: ping\n\n\n\n: x\n\n"]), vec![]);
    }

    #[test]
    fn lines_and_events_are_bounded() {
        let mut events = Vec::new();
        assert_eq!(Decoder::new(10).push(b"data: 12345", &mut events), Err(TooLong));
        assert_eq!(Decoder::new(10).push(b"data:12345\ndata:12345\ndata:1\n\n", &mut events), Err(TooLong));
        assert_eq!(Decoder::new(10).push(b"data:12345\n\ndata:12345\n\n", &mut events), Ok(()));
        assert_eq!(events.len(), 2);
    }

    proptest! {
        #[test]
        fn no_bytes_and_no_cuts_confuse_it(bytes in prop::collection::vec(any::<u8>(), 0..300), cuts in prop::collection::vec(0usize..300, 0..8)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(decode(&chunks), decode(&[&bytes]));
        }
    }
}
