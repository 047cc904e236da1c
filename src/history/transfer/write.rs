//! An NPC to a file.

use std::collections::VecDeque;
use std::io::{BufWriter, Write};
use std::path::Path;

use sha2::{Digest, Sha256};
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

use super::TransferError;
use super::line::{FORMAT, Foot, Head, Line, VERSION};
use crate::config;
use crate::history::archive::ArchiveReader;
use crate::history::journal::Snapshot;
use crate::history::record::Record;

/// Passes on what is written, and digests it.
struct Digesting<W> {
    inner: W,
    digest: Sha256,
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// Writes an NPC and all that happened with it, as it is at one moment; a server may be running. Returns the number of
/// interactions. Blocks, and wants no runtime around it.
///
/// # Errors
/// [`TransferError`].
pub fn export(
    data: &Path,
    config: &config::History,
    npc: &str,
    out: impl Write,
) -> Result<u64, TransferError> {
    let mut snapshot = Snapshot::open(data)?;
    let record = snapshot.npc(npc)?.ok_or_else(|| TransferError::NoNpc(npc.to_owned()))?;
    let mut out = Digesting { inner: BufWriter::new(out), digest: Sha256::new() };
    line(&mut out, &Head { format: FORMAT.to_owned(), version: VERSION, npc: record })?;
    let mut interactions = 0;
    let mut records = Records::new(snapshot, config, npc)?;
    while let Some(record) = records.next()? {
        line(&mut out, &Line::new(record))?;
        interactions += 1;
    }
    let sha256 = format!("{:x}", out.digest.clone().finalize());
    line(&mut out, &Foot { interactions, sha256 })?;
    out.flush()?;
    Ok(interactions)
}

/// What happened with an NPC, oldest first, from the journal and the archive.
struct Records<'a> {
    npc: &'a str,
    snapshot: Snapshot,
    here: VecDeque<Record>,
    here_after: Option<Uuid>,
    /// `None`: there is none, or it has nothing more.
    archive: Option<(Runtime, ArchiveReader)>,
    there: VecDeque<Record>,
    there_after: Uuid,
}

impl<'a> Records<'a> {
    fn new(snapshot: Snapshot, config: &config::History, npc: &'a str) -> Result<Self, TransferError> {
        let archive = match ArchiveReader::open(config)? {
            Some(reader) => Some((Builder::new_current_thread().enable_all().build()?, reader)),
            None => None,
        };
        let (here, there) = (VecDeque::new(), VecDeque::new());
        Ok(Self { npc, snapshot, here, here_after: None, archive, there, there_after: Uuid::nil() })
    }

    fn next(&mut self) -> Result<Option<Record>, TransferError> {
        if self.here.is_empty() {
            self.here = self.snapshot.page(self.npc, self.here_after)?.into();
            self.here_after = self.here.back().map(|last| last.id).or(self.here_after);
        }
        if self.there.is_empty()
            && let Some((runtime, reader)) = &self.archive
        {
            let mut page = runtime.block_on(reader.page_after(self.npc, self.there_after))?;
            self.snapshot.amend(&mut page)?;
            self.there = page.into();
            match self.there.back() {
                Some(last) => self.there_after = last.id,
                None => self.archive = None,
            }
        }
        Ok(match (self.here.front(), self.there.front()) {
            (Some(here), Some(there)) if there.id < here.id => self.there.pop_front(),
            (Some(here), Some(there)) => {
                // On its way from the one to the other.
                if here.id == there.id {
                    self.there.pop_front();
                }
                self.here.pop_front()
            }
            (Some(_), None) => self.here.pop_front(),
            (None, _) => self.there.pop_front(),
        })
    }
}

fn line(out: &mut impl Write, value: &impl serde::Serialize) -> Result<(), TransferError> {
    serde_json::to_writer(&mut *out, value).map_err(std::io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}
