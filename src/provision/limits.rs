//! What one training may take.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::config;

/// The bounds of one training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in its folder.
    pub bytes: u64,
    /// Time that its trainers may run for together.
    pub time: Duration,
}

impl Limits {
    pub fn new(config: &config::Provision) -> Self {
        Self { bytes: config.max_mb << 20, time: Duration::from_secs(config.max_minutes * 60) }
    }

    /// Whether a training that has run for so long, and writes into this folder, may go on.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn check(&self, trained: Duration, folder: &Path) -> Result<(), String> {
        if trained > self.time {
            let minutes = self.time.as_secs_f64() / 60.0;
            return Err(format!(
                "its training took longer than the {minutes} minutes that provision.max_minutes allows"
            ));
        }
        match size(folder) {
            Ok(bytes) if bytes <= self.bytes => Ok(()),
            Ok(bytes) => Err(format!(
                "its training wrote {bytes} bytes, more than the {} that provision.max_mb allows",
                self.bytes
            )),
            // A file that was there a moment ago: the next look will tell.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(format!("{}: {error}", folder.display())),
        }
    }
}

/// Bytes of all files in a folder and in those below it. Links are not followed.
fn size(folder: &Path) -> io::Result<u64> {
    let (mut bytes, mut folders) = (0, vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let found = entry.metadata()?;
            if found.is_dir() {
                folders.push(entry.path());
            } else {
                bytes += found.len();
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bounds_are_told_by_their_settings() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("out")).unwrap();
        fs::write(folder.path().join("out/model"), [0; 90]).unwrap();
        fs::write(folder.path().join("log"), [0; 10]).unwrap();
        let limits = Limits { bytes: 100, time: Duration::from_secs(90) };
        let check = |limits: Limits, seconds| limits.check(Duration::from_secs(seconds), folder.path());
        assert_eq!(check(limits, 90), Ok(()));
        let late = check(limits, 91).unwrap_err();
        assert!(late.contains("1.5 minutes that provision.max_minutes"), "{late}");
        let large = check(Limits { bytes: 99, ..limits }, 90).unwrap_err();
        assert!(large.contains("wrote 100 bytes, more than the 99 that provision.max_mb"), "{large}");
        assert_eq!(limits.check(Duration::ZERO, &folder.path().join("missing")), Ok(()));
    }
}
