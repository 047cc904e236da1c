//! Lines from standard input.

use std::io::{self, BufRead, Read};

use tokio::sync::mpsc;

/// Longest line that is read, in bytes; the gateway takes far less.
const MAX_LINE: u64 = 64 << 10;

/// Lines as they are typed; ends with the input.
pub(super) type Lines = mpsc::Receiver<io::Result<String>>;

/// Reads standard input on a thread of its own: a read from a terminal cannot be called off, and so must not
/// hold up the end of the program.
pub(super) fn lines() -> Lines {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        while let Some(line) = read_line(&mut stdin).transpose() {
            let failed = line.is_err();
            if sender.blocking_send(line).is_err() || failed {
                break;
            }
        }
    });
    receiver
}

/// The next line; waits for ever where there is no input to read.
pub(super) async fn next(lines: &mut Option<Lines>) -> Option<io::Result<String>> {
    match lines {
        Some(lines) => lines.recv().await,
        None => std::future::pending().await,
    }
}

/// One line without its end; `None` at the end of the input. Bytes that are no UTF-8 become U+FFFD.
fn read_line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    if input.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    if bytes.len() as u64 == MAX_LINE && bytes.last() != Some(&b'\n') {
        let reason = format!("a line of the input is longer than {MAX_LINE} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    let text = String::from_utf8_lossy(&bytes);
    Ok(Some(text.trim_end_matches(['\n', '\r']).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_anywhere_and_are_bounded() {
        let mut input: &[u8] = b"one\r\n\ntwo \xff\nthree";
        let mut read = || read_line(&mut input).unwrap();
        assert_eq!(read().as_deref(), Some("one"));
        assert_eq!(read().as_deref(), Some(""));
        assert_eq!(read().as_deref(), Some("two \u{FFFD}"));
        assert_eq!(read().as_deref(), Some("three"));
        assert_eq!(read(), None);

        let long = vec![b'x'; MAX_LINE as usize + 1];
        assert!(read_line(&mut long.as_slice()).unwrap_err().to_string().contains("longer than"));
    }
}
