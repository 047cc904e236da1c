//! An NPC to a file.

use std::io::{BufWriter, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::TransferError;
use super::line::{FORMAT, Foot, Head, Line, VERSION};
use crate::history::journal::Snapshot;

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
/// interactions.
///
/// # Errors
/// [`TransferError`].
pub fn export(data: &Path, npc: &str, out: impl Write) -> Result<u64, TransferError> {
    let mut snapshot = Snapshot::open(data)?;
    let record = snapshot.npc(npc)?.ok_or_else(|| TransferError::NoNpc(npc.to_owned()))?;
    let mut out = Digesting { inner: BufWriter::new(out), digest: Sha256::new() };
    line(&mut out, &Head { format: FORMAT.to_owned(), version: VERSION, npc: record })?;
    let (mut interactions, mut after) = (0, None);
    loop {
        let page = snapshot.page(npc, after)?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        for record in page {
            line(&mut out, &Line::new(record))?;
            interactions += 1;
        }
    }
    let sha256 = format!("{:x}", out.digest.clone().finalize());
    line(&mut out, &Foot { interactions, sha256 })?;
    out.flush()?;
    Ok(interactions)
}

fn line(out: &mut impl Write, value: &impl serde::Serialize) -> Result<(), TransferError> {
    serde_json::to_writer(&mut *out, value).map_err(std::io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}
