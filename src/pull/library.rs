//! Looks at a runtime library before any of it is mapped or run: the loader kills the process that maps a
//! file that was cut off, and a library that is too old fails far from the cause.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::error::{PullError, io as io_error};

/// `sh_type` of the table of dynamic symbols.
const SHT_DYNSYM: u32 = 11;
/// Longest string table read, in bytes; the runtime's has 12 KiB.
const MAX_STRINGS: u64 = 16 << 20;
/// What the names of the runtime's symbol versions start with, as in `VERS_1.32.0`.
const VERSION_PREFIX: &[u8] = b"VERS_1.";

#[cfg(target_arch = "x86_64")]
const MACHINE: Option<u16> = Some(62);
#[cfg(target_arch = "aarch64")]
const MACHINE: Option<u16> = Some(183);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const MACHINE: Option<u16> = None;

/// Refuses a file that cannot be an ONNX Runtime library of this machine and of at least version
/// 1.`min_minor`.
///
/// # Errors
/// [`PullError::Library`] with the reason. A library whose version cannot be told is let through; ONNX Runtime
/// says it itself once it is loaded.
pub fn check_library(path: &Path, min_minor: u32) -> Result<(), PullError> {
    let bad = |reason: String| PullError::Library { path: path.to_owned(), reason };
    let meta = match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(bad("there is no such file".into()));
        }
        meta => meta.map_err(io_error(path))?,
    };
    if !meta.is_file() {
        return Err(bad("it is no file".into()));
    }
    if !cfg!(target_os = "linux") {
        return Ok(());
    }
    let mut file = File::open(path).map_err(io_error(path))?;
    let strings = match symbol_strings(&mut file, meta.len()) {
        Ok(strings) => strings.map_err(bad)?,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(bad("the file is cut off".into()));
        }
        Err(error) => return Err(io_error(path)(error)),
    };
    if !contains(&strings, b"OrtGetApiBase") {
        return Err(bad("it is a library, but not ONNX Runtime (no symbol OrtGetApiBase)".into()));
    }
    match minor(&strings) {
        Some(minor) if minor < min_minor => {
            Err(bad(format!("it is ONNX Runtime 1.{minor}, but 1.{min_minor} or newer is needed")))
        }
        _ => Ok(()),
    }
}

/// The names of an ELF library's dynamic symbols. The outer error is the disk's, the inner one the file's.
fn symbol_strings(file: &mut File, len: u64) -> io::Result<Result<Vec<u8>, String>> {
    let mut header = [0; 64];
    if len < 64 {
        return Ok(Err("it is no ELF file".into()));
    }
    file.read_exact(&mut header)?;
    if &header[..4] != b"\x7fELF" {
        return Ok(Err("it is no ELF file".into()));
    }
    // 64 bits, little-endian: all that the machines above have.
    let (class, kind, machine) = (&header[4..6], u16_at(&header, 16), u16_at(&header, 18));
    if class != [2, 1] || kind != 3 || MACHINE.is_some_and(|wanted| wanted != machine) {
        return Ok(Err("it is no shared library for this machine".into()));
    }
    let (offset, size, count) = (u64_at(&header, 40), u16_at(&header, 58), u16_at(&header, 60));
    if size != 64 {
        return Ok(Err("its section headers are damaged".into()));
    }
    // The section headers stand at the end, so a file that was cut off lacks them.
    let mut sections = vec![0; usize::from(count) * 64];
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(&mut sections)?;
    let section = |at: usize| sections.chunks_exact(64).nth(at);
    let symbols = sections.chunks_exact(64).find(|section| u32_at(section, 4) == SHT_DYNSYM);
    let Some(strings) = symbols.and_then(|symbols| section(u32_at(symbols, 40) as usize)) else {
        return Ok(Err("it has no dynamic symbols".into()));
    };
    let (offset, size) = (u64_at(strings, 24), u64_at(strings, 32));
    if size > MAX_STRINGS {
        return Ok(Err("its table of names is damaged".into()));
    }
    let mut names = vec![0; size as usize];
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(&mut names)?;
    Ok(Ok(names))
}

/// The 24 of `VERS_1.24.1`.
fn minor(strings: &[u8]) -> Option<u32> {
    let at = strings.windows(VERSION_PREFIX.len()).position(|window| window == VERSION_PREFIX)?;
    let digits = strings[at + VERSION_PREFIX.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    let text: String = digits.take(9).map(|&digit| char::from(digit)).collect();
    text.parse().ok()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

// The callers pass slices that are long enough; a shorter one would read as zero, which no check accepts.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|slice| slice.try_into().ok()).map_or(0, u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|slice| slice.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|slice| slice.try_into().ok()).map_or(0, u64::from_le_bytes)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn reason(content: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lib.so");
        std::fs::write(&path, content).unwrap();
        check_library(&path, 24).map_or_else(|error| error.to_string(), |()| "fine".into())
    }

    /// A small library: a header, a section of dynamic symbols and its strings.
    fn library(strings: &[u8]) -> Vec<u8> {
        let mut elf = vec![0_u8; 64];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[16] = 3;
        elf[18..20].copy_from_slice(&MACHINE.unwrap_or_default().to_le_bytes());
        elf.extend(strings);
        let headers = elf.len() as u64;
        elf[40..48].copy_from_slice(&headers.to_le_bytes());
        elf[58] = 64;
        elf[60] = 2;
        let mut symbols = [0_u8; 64];
        symbols[4] = SHT_DYNSYM as u8;
        symbols[40] = 1;
        let mut names = [0_u8; 64];
        names[24] = 64;
        names[32..40].copy_from_slice(&(strings.len() as u64).to_le_bytes());
        elf.extend(symbols);
        elf.extend(names);
        elf
    }

    #[test]
    fn tells_a_runtime_from_other_files() {
        let good = library(b"\0OrtGetApiBase\0VERS_1.24.0\0");
        assert_eq!(reason(&good), "fine");
        assert_eq!(reason(&library(b"\0OrtGetApiBase\0")), "fine");
        assert!(reason(b"").contains("it is no ELF file"));
        assert!(reason(&[b'#'; 200]).contains("it is no ELF file"));
        assert!(reason(&good[..good.len() - 1]).contains("the file is cut off"));
        assert!(reason(&library(b"\0malloc\0")).contains("not ONNX Runtime"));
        let old = reason(&library(b"\0OrtGetApiBase\0VERS_1.9.0\0"));
        assert!(old.contains("it is ONNX Runtime 1.9, but 1.24 or newer is needed"), "{old}");
        let mut other = good;
        other[18] ^= 1;
        assert!(reason(&other).contains("no shared library for this machine"));
    }

    #[test]
    fn names_a_path_that_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let error = check_library(folder.path(), 24).unwrap_err().to_string();
        assert!(error.contains(&folder.path().display().to_string()) && error.contains("no file"), "{error}");
        let missing = check_library(&folder.path().join("x"), 24).unwrap_err().to_string();
        assert!(missing.contains("there is no such file"), "{missing}");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_refused_quietly(mut bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
            reason(&bytes);
            if bytes.len() > 20 {
                bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
                reason(&bytes);
            }
        }

        #[test]
        fn a_damaged_library_is_never_a_panic(at in 0_usize..210, byte in proptest::num::u8::ANY) {
            let mut elf = library(b"\0OrtGetApiBase\0VERS_1.24.0\0");
            if let Some(slot) = elf.get_mut(at) {
                *slot = byte;
            }
            reason(&elf);
        }
    }
}
