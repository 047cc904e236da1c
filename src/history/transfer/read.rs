//! An NPC from a file.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::line::{FORMAT, Foot, Head, Line, VERSION};
use super::{MAX_LINE, TransferError};
use crate::config;
use crate::history::journal::Intake;
use crate::history::npc::NpcRecord;
use crate::history::record::Record;

/// Records in one transaction.
const BATCH: usize = 500;

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Restored {
    pub interactions: u64,
    /// Were there already.
    pub known: u64,
    /// Are of players who were erased since.
    pub erased: u64,
}

/// Reads an NPC and all that happened with it into the store of a data folder, which no server may use meanwhile. The file
/// is checked as a whole first; what is there already stays as it is.
///
/// # Errors
/// [`TransferError`]. If it is [`TransferError::Journal`], a part may have been read; it can be read again.
pub fn restore(data: &Path, config: &config::History, file: &Path) -> Result<Restored, TransferError> {
    let npc = check(file)?;
    let mut intake = Intake::open(data, config)?;
    if let Some(known) = intake.npc(&npc.id)? {
        let fields = [
            ("archetype", known.archetype != npc.archetype),
            ("name", known.name != npc.name),
            ("seed", known.seed != npc.seed),
        ];
        if let Some((field, _)) = fields.into_iter().find(|(_, differs)| *differs) {
            return Err(TransferError::Other { npc: npc.id, field });
        }
    } else {
        intake.put_npc(npc.clone())?;
    }
    let mut restored = Restored::default();
    let mut batch = Vec::with_capacity(BATCH);
    let mut put = |batch: &mut Vec<Record>| {
        let written = intake.put(batch)?;
        restored.interactions += written.new;
        restored.known += written.known;
        restored.erased += written.erased;
        batch.clear();
        Ok::<_, TransferError>(())
    };
    let mut lines = Lines::open(file)?;
    lines.next()?;
    while let Some(text) = lines.next()? {
        // It was a line or the end when the file was checked.
        let Ok(line) = serde_json::from_str::<Line>(text) else { break };
        batch.push(line.record(&npc.id));
        if batch.len() == BATCH {
            put(&mut batch)?;
        }
    }
    put(&mut batch)?;
    Ok(restored)
}

/// Reads all of a file; returns its NPC.
fn check(file: &Path) -> Result<NpcRecord, TransferError> {
    let damaged = |reason: &str| TransferError::Damaged { path: file.to_owned(), reason: reason.to_owned() };
    let mut lines = Lines::open(file)?;
    let Some(first) = lines.next()?.map(str::to_owned) else { return Err(damaged("it is empty")) };
    let head: Head = lines.parse(&first)?;
    if head.format != FORMAT || head.version != VERSION {
        let reason = format!(
            "it has format {:?}, version {}; this program reads {FORMAT:?}, version {VERSION}",
            head.format, head.version
        );
        return Err(damaged(&reason));
    }
    let mut interactions = 0;
    loop {
        let digest = lines.digest.clone();
        let Some(text) = lines.next()?.map(str::to_owned) else { return Err(damaged("its end is missing")) };
        let Ok(foot) = serde_json::from_str::<Foot>(&text) else {
            lines.parse::<Line>(&text)?;
            interactions += 1;
            continue;
        };
        let found = format!("{:x}", digest.finalize());
        if found != foot.sha256 {
            return Err(damaged("its checksum is another one"));
        }
        if interactions != foot.interactions {
            return Err(damaged("it has another number of interactions than it says"));
        }
        if lines.next()?.is_some() {
            return Err(damaged("something stands behind its end"));
        }
        return Ok(head.npc);
    }
}

/// The lines of a file, one after the other.
struct Lines<'a> {
    path: &'a Path,
    input: BufReader<File>,
    buffer: Vec<u8>,
    number: usize,
    /// Of all lines so far.
    digest: Sha256,
}

impl<'a> Lines<'a> {
    fn open(path: &'a Path) -> Result<Self, TransferError> {
        let input =
            File::open(path).map_err(|source| TransferError::Read { path: path.to_owned(), source })?;
        Ok(Self { path, input: BufReader::new(input), buffer: Vec::new(), number: 0, digest: Sha256::new() })
    }

    /// `None`: there is no other one.
    fn next(&mut self) -> Result<Option<&str>, TransferError> {
        self.buffer.clear();
        let mut limited = (&mut self.input).take(MAX_LINE as u64 + 1);
        let read = limited
            .read_until(b'\n', &mut self.buffer)
            .map_err(|source| TransferError::Read { path: self.path.to_owned(), source })?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.digest.update(&self.buffer);
        if read > MAX_LINE {
            return Err(self.wrong(&format!("it is longer than {MAX_LINE} bytes")));
        }
        std::str::from_utf8(&self.buffer).map(Some).map_err(|_| TransferError::Line {
            path: self.path.to_owned(),
            line: self.number,
            reason: "it is not UTF-8".to_owned(),
        })
    }

    fn parse<T: DeserializeOwned>(&self, text: &str) -> Result<T, TransferError> {
        serde_json::from_str(text).map_err(|error| self.wrong(&error.to_string()))
    }

    fn wrong(&self, reason: &str) -> TransferError {
        TransferError::Line { path: self.path.to_owned(), line: self.number, reason: reason.to_owned() }
    }
}
