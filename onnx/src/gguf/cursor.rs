//! Reading little-endian bytes without ever leaving them.

/// What stopped the reading; the reader of the field names it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The bytes end inside of what was to be read.
    Short {
        wanted: u64,
        left: usize,
    },
    NotUtf8,
    TooLong {
        len: u64,
        limit: usize,
    },
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Short { wanted, left } => {
                write!(f, "the file ends there: {wanted} bytes wanted, {left} left")
            }
            Self::NotUtf8 => write!(f, "not UTF-8"),
            Self::TooLong { len, limit } => write!(f, "{len} bytes long, at most {limit} are allowed"),
        }
    }
}

/// A position in bytes.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.position
    }

    pub(super) fn take(&mut self, len: u64) -> Result<&'a [u8], Fault> {
        let short = Fault::Short { wanted: len, left: self.left() };
        let Some(end) = usize::try_from(len).ok().and_then(|len| self.position.checked_add(len)) else {
            return Err(short);
        };
        let taken = self.bytes.get(self.position..end).ok_or(short)?;
        self.position = end;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N as u64)?);
        Ok(out)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Fault> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Fault> {
        self.array().map(u64::from_le_bytes)
    }

    /// A text with its length before it.
    pub(super) fn text(&mut self, limit: usize) -> Result<&'a str, Fault> {
        let len = self.u64()?;
        if len > limit as u64 {
            return Err(Fault::TooLong { len, limit });
        }
        std::str::from_utf8(self.take(len)?).map_err(|_| Fault::NotUtf8)
    }
}
