//! The keys of tokens: a folder with a file for each.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jsonwebtoken::{Algorithm, DecodingKey};

use crate::config::read_file;

/// Most keys of a folder.
const MAX_KEYS: usize = 64;
/// Largest file of a key, in bytes.
const MAX_FILE: u64 = 16 * 1024;
/// Shortest secret of HS256, in bytes: as long as its hash (RFC 7518, 3.2).
const MIN_SECRET: usize = 32;

/// Why a folder of keys cannot be used. The messages name the file, and nothing that stands in it.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("{path}: {problem}")]
    Key { path: PathBuf, problem: String },
    #[error("{0} has no key: no file KID.pem (EdDSA) or KID.secret (HS256)")]
    Empty(PathBuf),
}

/// A key and the only algorithm that it may be used with.
#[derive(Debug, Clone)]
pub(super) struct Key {
    algorithm: Algorithm,
    decoding: DecodingKey,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        // Compared with what was read from the same files before: there is nobody to time it.
        self.algorithm == other.algorithm
            && self.decoding.try_get_as_bytes().ok() == other.decoding.try_get_as_bytes().ok()
    }
}

impl Key {
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub fn decoding(&self) -> &DecodingKey {
        &self.decoding
    }

    fn eddsa(pem: &[u8]) -> Result<Self, String> {
        if pem.windows(11).any(|word| word == b"PRIVATE KEY") {
            return Err("is a private key; the server needs the public key alone".into());
        }
        let decoding = DecodingKey::from_ed_pem(pem)
            .map_err(|_| "is no Ed25519 public key in PEM (BEGIN PUBLIC KEY)".to_owned())?;
        Ok(Self { algorithm: Algorithm::EdDSA, decoding })
    }

    fn hs256(bytes: &[u8]) -> Result<Self, String> {
        let secret = without_line_end(bytes);
        if secret.len() < MIN_SECRET {
            let has = secret.len();
            return Err(format!("has {has} bytes, but a secret of HS256 needs at least {MIN_SECRET}"));
        }
        Ok(Self { algorithm: Algorithm::HS256, decoding: DecodingKey::from_secret(secret) })
    }
}

/// The content of a file without the line end that editors put behind a text; bytes that are no text are taken as
/// they are.
fn without_line_end(bytes: &[u8]) -> &[u8] {
    let Ok(text) = std::str::from_utf8(bytes) else { return bytes };
    let line = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    if line.chars().any(char::is_control) { bytes } else { line.as_bytes() }
}

/// Keys by `kid`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Keys {
    by_id: BTreeMap<String, Key>,
}

impl Keys {
    pub fn get(&self, kid: &str) -> Option<&Key> {
        self.by_id.get(kid)
    }

    /// Every `kid`.
    pub fn names(&self) -> Vec<&str> {
        self.by_id.keys().map(String::as_str).collect()
    }

    /// Reads a folder. Files of other kinds are passed over.
    pub fn read(folder: &Path) -> Result<Self, KeyError> {
        let failed = |path: &Path, source| KeyError::File { path: path.to_owned(), source };
        let mut keys = Self::default();
        for entry in fs::read_dir(folder).map_err(|source| failed(folder, source))? {
            let path = entry.map_err(|source| failed(folder, source))?.path();
            let name = path.file_stem().and_then(|stem| stem.to_str());
            let kind = path.extension().and_then(|kind| kind.to_str());
            let (Some(kid), Some(kind @ ("pem" | "secret"))) = (name, kind) else { continue };
            if kid.starts_with('.') {
                continue;
            }
            let bad = |problem: String| KeyError::Key { path: path.clone(), problem };
            let bytes = read_file(&path, MAX_FILE).map_err(|source| failed(&path, source))?;
            let key = if kind == "pem" { Key::eddsa(&bytes) } else { Key::hs256(&bytes) }.map_err(bad)?;
            if keys.by_id.insert(kid.to_owned(), key).is_some() {
                return Err(bad(format!("there are two keys {kid:?}, one of each kind; a kid is one key")));
            }
            if keys.by_id.len() > MAX_KEYS {
                return Err(bad(format!("is one key more than the {MAX_KEYS} that a folder may have")));
            }
        }
        if keys.by_id.is_empty() { Err(KeyError::Empty(folder.to_owned())) } else { Ok(keys) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &[u8])]) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let keys = Keys::read(folder.path()).map_err(|error| error.to_string())?;
        Ok(keys.names().into_iter().map(str::to_owned).collect())
    }

    #[test]
    fn a_folder_may_have_other_files() {
        let files: [(&str, &[u8]); 4] =
            [("a.secret", &[7; 32]), (".b.secret", b"x"), ("README", b"x"), ("c.secret.old", b"x")];
        assert_eq!(read(&files), Ok(vec!["a".to_owned()]));
    }

    #[test]
    fn what_cannot_be_a_key_is_named() {
        let private = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let elliptic = rcgen::KeyPair::generate().unwrap().public_key_pem();
        let secret = private.serialize_pem();
        let long = "x".repeat(20_000);
        let cases: [(&str, &[u8], &str); 6] = [
            ("a.secret", b"0123456789012345678901234567890\n", "a.secret: has 31 bytes, but"),
            ("a.pem", b"nonsense", "a.pem: is no Ed25519 public key"),
            ("a.pem", secret.as_bytes(), "a.pem: is a private key"),
            ("a.pem", elliptic.as_bytes(), "a.pem: is no Ed25519 public key"),
            ("a.secret", long.as_bytes(), "more than 16384 bytes"),
            ("README", b"", "has no key"),
        ];
        for (name, content, message) in cases {
            let error = read(&[(name, content)]).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
        let public = private.public_key_pem();
        assert_eq!(read(&[("a.pem", public.as_bytes())]), Ok(vec!["a".to_owned()]));
        let error = read(&[("a.pem", public.as_bytes()), ("a.secret", &[1; 32])]).unwrap_err();
        assert!(error.contains("two keys \"a\""), "{error}");
        assert!(Keys::read(Path::new("/nowhere")).unwrap_err().to_string().contains("/nowhere: "));
    }

    #[test]
    fn only_a_text_loses_its_line_end() {
        for (content, kept) in [
            (&b"secret"[..], &b"secret"[..]),
            (b"secret\n", b"secret"),
            (b"secret\r\n", b"secret"),
            (b"secret\n\n", b"secret\n\n"),
            (b"\xff\x00\n", b"\xff\x00\n"),
            (b"\x01\n", b"\x01\n"),
        ] {
            assert_eq!(without_line_end(content), kept);
        }
    }

    #[test]
    fn a_key_is_not_shown() {
        let key = Key::hs256(b"a secret that has at least 32 bytes").unwrap();
        let shown = format!("{key:?}");
        assert!(!shown.contains("secret that") && !shown.contains("97, 32"), "{shown}");
    }
}
