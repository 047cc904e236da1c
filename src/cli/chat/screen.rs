//! What the player sees.

use std::io::{self, Write};

use crate::cli::clean::clean;

/// Standard output for what the NPC says, standard error for everything else.
pub(super) struct Screen<O, E> {
    pub(super) out: O,
    pub(super) err: E,
    /// Notes are written faintly: standard error is a terminal.
    pub(super) dim: bool,
    /// The player is asked for lines with a sign.
    pub(super) prompt: bool,
    /// Answers begin with the NPC's name.
    pub(super) names: bool,
}

impl<O: Write, E: Write> Screen<O, E> {
    /// Plain: no faint notes, no prompt, no names.
    pub(super) fn new(out: O, err: E) -> Self {
        Self { out, err, dim: false, prompt: false, names: false }
    }

    /// A note about the conversation. `text` may hold what the gateway sent.
    pub(super) fn note(&mut self, text: &str) -> io::Result<()> {
        let text = clean(text);
        if self.dim { writeln!(self.err, "\x1b[2m{text}\x1b[0m") } else { writeln!(self.err, "{text}") }
    }

    /// Asks for the next line.
    pub(super) fn ask(&mut self) -> io::Result<()> {
        if !self.prompt {
            return Ok(());
        }
        write!(self.err, "> ")?;
        self.err.flush()
    }

    /// Begins an answer.
    pub(super) fn speaker(&mut self, name: &str) -> io::Result<()> {
        if self.names {
            write!(self.out, "{}: ", clean(name))?;
        }
        Ok(())
    }

    /// A piece of an answer, at once.
    pub(super) fn speech(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(clean(text).as_bytes())?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_faint_only_on_a_terminal() {
        let mut screen = Screen::new(Vec::new(), Vec::new());
        screen.note("plain").unwrap();
        screen.ask().unwrap();
        screen.dim = true;
        screen.note("faint\x1b[1m").unwrap();
        screen.prompt = true;
        screen.ask().unwrap();
        assert_eq!(String::from_utf8(screen.err).unwrap(), "plain\n\x1b[2mfaint[1m\x1b[0m\n> ");
    }
}
