//! Server-sent events, as far as chat completions use them: the data of each event.

/// Bytes of one event at most.
const MAX_EVENT: usize = 1 << 20;

/// Takes bytes as they come, and gives events.
#[derive(Debug, Default)]
pub struct Events {
    /// The line that has not ended.
    line: Vec<u8>,
    /// The data of the event that has not ended.
    data: Vec<u8>,
    /// The line before ended in a carriage return: a line feed right behind it belongs to that.
    returned: bool,
    held: bool,
}

/// An event is larger than any that a server should send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event has more than {MAX_EVENT} bytes")]
pub struct TooLarge;

impl Events {
    /// The data of the events that end in these bytes. What has not ended when there are no more bytes is no event.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, TooLarge> {
        let mut events = Vec::new();
        for &byte in bytes {
            let follows = std::mem::replace(&mut self.returned, byte == b'\r') && byte == b'\n';
            if follows {
                continue;
            }
            if byte != b'\n' && byte != b'\r' {
                if self.line.len() + self.data.len() >= MAX_EVENT {
                    return Err(TooLarge);
                }
                self.line.push(byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            if line.is_empty() {
                if std::mem::take(&mut self.held) {
                    events.push(std::mem::take(&mut self.data));
                }
            } else if let Some(data) = field(&line) {
                if std::mem::replace(&mut self.held, true) {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(data);
            }
        }
        Ok(events)
    }
}

/// The value of a line whose field is `data`; other fields and comments are passed over.
fn field(line: &[u8]) -> Option<&[u8]> {
    let value = line.strip_prefix(b"data")?;
    match value.first() {
        None => Some(value),
        Some(b':') => Some(value[1..].strip_prefix(b" ").unwrap_or(&value[1..])),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(text: &[u8], size: usize) -> Vec<String> {
        let mut events = Events::default();
        let parts = text.chunks(size.max(1)).flat_map(|part| events.push(part).unwrap());
        parts.map(|event| String::from_utf8(event).unwrap()).collect()
    }

    #[test]
    fn events_are_their_data() {
        let text = b": hello\n\nevent: x\ndata: {\"a\":1}\n\ndata:one\rdata: two\r\n\r\ndatum: no\ndata\n\ndata: cut off\n";
        assert_eq!(all(text, 1000), ["{\"a\":1}", "one\ntwo", ""]);
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut events = Events::default();
        assert_eq!(events.push(&vec![b'x'; MAX_EVENT]).unwrap(), Vec::<Vec<u8>>::new());
        assert_eq!(events.push(b"x"), Err(TooLarge));
        let mut events = Events::default();
        let line = [b"data: ".as_slice(), &[b'x'; 1000], b"\n"].concat();
        assert!((0..2000).any(|_| events.push(&line).is_err()));
    }

    proptest! {
        #[test]
        fn it_makes_no_difference_how_the_bytes_come(
            text in "(data: ?|event:|:|x|é|\r\n|\n|\r){0,40}",
            size in 1_usize..9,
        ) {
            prop_assert_eq!(all(text.as_bytes(), size), all(text.as_bytes(), text.len()));
        }
    }
}
