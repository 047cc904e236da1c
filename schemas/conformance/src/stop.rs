//! Why a case ends before its last step.

/// The end of a case, or of a loop in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The server did something else than the protocol says.
    Failed(String),
    /// This run lacks something that the case needs.
    Skipped(String),
    /// The protocol knows it, and this server does not have it.
    NotAvailable(String),
    /// What a loop waits for has come.
    Enough,
}

pub type Step<T = ()> = Result<T, Stop>;

/// The server is wrong.
pub fn fail<T>(message: impl Into<String>) -> Step<T> {
    Err(Stop::Failed(message.into()))
}

/// A text that fits into a line of a report.
pub fn short(text: &str) -> String {
    const MOST: usize = 400;
    match text.char_indices().nth(MOST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
    }
}
