//! The cache folder: its paths, its lock, and its room for work in progress.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::error::{PullError, io};
use super::pins::Wheel;
use super::progress::Reporter;

/// The folder that holds what was fetched and imported.
///
/// | below it | what |
/// |---|---|
/// | `runtime/`, `models/` | what `pull` fetched; each folder is there whole or not at all |
/// | `imported/` | model folders made from checkpoints, and `index/`, which says from which |
/// | `wheels/` | wheels that somebody placed by hand, for machines without a network |
/// | `tmp/` | work in progress; whatever lies there while the lock is free is a leftover |
/// | `lock` | held by the one process that writes here |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    root: PathBuf,
}

/// The right to write into the cache. Dropping it, or dying, gives it back.
#[derive(Debug)]
pub(super) struct Guard<'a> {
    cache: &'a Cache,
    _file: File,
}

impl Cache {
    /// `NPC_GATEWAY_CACHE`, else `$XDG_CACHE_HOME/npc-gateway`, else `~/.cache/npc-gateway`. Makes nothing.
    ///
    /// # Errors
    /// [`PullError::NoCache`] if none of these is set.
    pub fn from_env() -> Result<Self, PullError> {
        Self::from_vars(|name| std::env::var_os(name))
    }

    fn from_vars(var: impl Fn(&str) -> Option<OsString>) -> Result<Self, PullError> {
        let set = |name| var(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = set("NPC_GATEWAY_CACHE")
            // The XDG standard says that a relative path is to be ignored.
            .or_else(|| Some(set("XDG_CACHE_HOME").filter(|path| path.is_absolute())?.join("npc-gateway")))
            .or_else(|| Some(set("HOME")?.join(".cache/npc-gateway")))
            .ok_or(PullError::NoCache)?;
        Self::at(&root)
    }

    /// The cache in the folder `root`, which need not exist.
    pub fn at(root: &Path) -> Result<Self, PullError> {
        Ok(Self { root: std::path::absolute(root).map_err(io(root))? })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the wheel's main file is, or will be.
    pub(super) fn main_file(&self, wheel: &Wheel) -> PathBuf {
        let folder = self.root.join(wheel.folder);
        wheel.members.first().map_or_else(|| folder.clone(), |member| folder.join(member.name()))
    }

    /// Whether the wheel's main file is in place. Its size is enough: it is renamed into place whole, and
    /// hashing it would cost every start a second.
    pub(super) fn has(&self, wheel: &Wheel) -> bool {
        let size = fs::metadata(self.main_file(wheel)).map(|file| file.len());
        wheel.members.first().is_some_and(|member| size.is_ok_and(|size| size == member.bytes))
    }

    /// A wheel that somebody placed by hand.
    pub(super) fn placed(&self, wheel: &Wheel) -> PathBuf {
        self.root.join("wheels").join(wheel.file)
    }

    pub(super) fn imported(&self) -> PathBuf {
        self.root.join("imported")
    }

    fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Waits for the right to write, and removes what killed processes left.
    pub(super) fn lock(&self, report: Reporter) -> Result<Guard<'_>, PullError> {
        fs::create_dir_all(self.tmp()).map_err(io(self.tmp()))?;
        let path = self.root.join("lock");
        let file = File::create(&path).map_err(io(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                report.line(&format!(
                    "another npc-gateway is filling {}; waiting until it is done",
                    self.root.display()
                ));
                file.lock().map_err(io(&path))?;
            }
            Err(TryLockError::Error(source)) => return Err(PullError::Io { path, source }),
        }
        let guard = Guard { cache: self, _file: file };
        guard.sweep()?;
        Ok(guard)
    }

    /// Removes leftovers if there are any and nobody is at work. Nothing depends on it, so nothing is said.
    pub(super) fn tidy(&self) {
        let leftovers = fs::read_dir(self.tmp()).is_ok_and(|mut entries| entries.next().is_some());
        if !leftovers {
            return;
        }
        let Ok(file) = File::create(self.root.join("lock")) else { return };
        if file.try_lock().is_ok() {
            let _ = Guard { cache: self, _file: file }.sweep();
        }
    }
}

impl Guard<'_> {
    /// A fresh folder for work in progress, on the cache's own file system, so that its content can be renamed
    /// into place.
    pub(super) fn work(&self) -> Result<TempDir, PullError> {
        let tmp = self.cache.tmp();
        tempfile::Builder::new().prefix("work-").tempdir_in(&tmp).map_err(io(tmp))
    }

    /// Puts the folder `new` at `place`, in one step. What was there before goes to `work`.
    pub(super) fn place(&self, new: &Path, place: &Path, work: &Path) -> Result<(), PullError> {
        let parent = place.parent().unwrap_or(&self.cache.root);
        fs::create_dir_all(parent).map_err(io(parent))?;
        if place.symlink_metadata().is_ok() {
            // Moved, not removed: a process that has the old file mapped keeps it.
            fs::rename(place, work.join("replaced")).map_err(io(place))?;
        }
        sync(new)?;
        fs::rename(new, place).map_err(io(place))?;
        sync(parent)
    }

    fn sweep(&self) -> Result<(), PullError> {
        let tmp = self.cache.tmp();
        for entry in fs::read_dir(&tmp).map_err(io(&tmp))? {
            let path = entry.map_err(io(&tmp))?.path();
            let is_folder = path.symlink_metadata().map_err(io(&path))?.is_dir();
            if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.map_err(io(&path))?;
        }
        Ok(())
    }
}

/// Writes a file or a folder's list of files through to the disk.
pub(super) fn sync(path: &Path) -> Result<(), PullError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(io(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(vars: &[(&str, &str)]) -> Option<String> {
        let var = |name: &str| Some(vars.iter().find(|(known, _)| *known == name)?.1.into());
        Cache::from_vars(var).ok().map(|cache| cache.root.display().to_string())
    }

    #[test]
    fn is_where_the_environment_says() {
        let (own, xdg, home) = (("NPC_GATEWAY_CACHE", "/a"), ("XDG_CACHE_HOME", "/b"), ("HOME", "/c"));
        assert_eq!(root(&[own, xdg, home]).unwrap(), "/a");
        assert_eq!(root(&[xdg, home]).unwrap(), "/b/npc-gateway");
        assert_eq!(root(&[("XDG_CACHE_HOME", "b"), home]).unwrap(), "/c/.cache/npc-gateway");
        assert_eq!(root(&[("NPC_GATEWAY_CACHE", ""), home]).unwrap(), "/c/.cache/npc-gateway");
        assert_eq!(root(&[]), None);
    }

    #[test]
    fn sweeps_leftovers_but_not_work_in_progress() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path()).unwrap();
        let report = Reporter::new();
        let guard = cache.lock(report).unwrap();
        let work = guard.work().unwrap().keep();
        cache.tidy();
        assert!(work.is_dir(), "the lock is held, so this is work in progress");
        drop(guard);
        cache.tidy();
        assert!(!work.exists());
        fs::write(cache.tmp().join("left"), "over").unwrap();
        drop(cache.lock(report).unwrap());
        assert!(!cache.tmp().join("left").exists());
    }

    #[test]
    fn a_folder_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path()).unwrap();
        let guard = cache.lock(Reporter::new()).unwrap();
        let place = folder.path().join("a/b");
        for round in ["one", "two"] {
            let work = guard.work().unwrap();
            let new = work.path().join("new");
            fs::create_dir(&new).unwrap();
            fs::write(new.join(round), round).unwrap();
            guard.place(&new, &place, work.path()).unwrap();
        }
        assert!(!place.join("one").exists() && place.join("two").is_file());
    }
}
