//! Moves a finished adapter into its pack, so that it is there whole or not at all.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::fault;
use super::pack::{ADAPTER, FILES, PackFolder};
use super::store::sync;
use crate::archetype::Task;

/// Versions of an adapter that a pack may hold.
pub const MAX_VERSIONS: usize = 64;

/// The version that the next adapter of a task gets.
///
/// # Errors
/// The folder cannot be read, or holds [`MAX_VERSIONS`].
pub fn next_version(pack: &PackFolder, task: Task) -> io::Result<u32> {
    let versions = pack.versions(task)?;
    if versions.len() >= MAX_VERSIONS {
        let path = pack.task(task);
        let message = format!("{} holds {MAX_VERSIONS} versions, as many as it may", path.display());
        return Err(io::Error::other(message));
    }
    Ok(versions.into_iter().max().unwrap_or(0) + 1)
}

/// Puts the adapter in `from` into its pack as this version. Done again it changes nothing; `from` stays.
///
/// # Errors
/// A file could not be read or written, or another adapter is there under this version, which is
/// [`io::ErrorKind::AlreadyExists`].
pub fn place(from: &Path, pack: &PackFolder, task: Task, version: u32) -> io::Result<()> {
    let target = pack.version(task, version);
    if fs::symlink_metadata(pack.task(task)).is_ok_and(|task| task.is_symlink()) {
        let message = format!("{} is a link, which nothing is written through", pack.task(task).display());
        return Err(io::Error::other(message));
    }
    if target.try_exists()? {
        if is_same(from, &target)? {
            return Ok(());
        }
        let message = format!("{}: another adapter is there", target.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    let folder = pack.task(task);
    // Its name is no version, so nobody takes it for one.
    let partial = folder.join(format!(".v{version}.partial"));
    if partial.try_exists()? {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(&partial)?;
    fault::point("before an adapter is copied");
    for name in FILES {
        let source = from.join(name);
        let to = partial.join(name);
        fs::copy(source, &to)?;
        fault::point("while an adapter is copied");
        File::open(to)?.sync_all()?;
    }
    sync(&partial)?;
    fault::point("before an adapter is moved");
    fs::rename(&partial, &target)?;
    fault::point("behind an adapter");
    sync(&folder)?;
    Ok(())
}

/// Takes a version out of its pack again.
///
/// # Errors
/// It could not be moved, or not be removed.
pub fn take_back(pack: &PackFolder, task: Task, version: u32) -> io::Result<()> {
    let partial = pack.task(task).join(format!(".v{version}.partial"));
    if partial.try_exists()? {
        fs::remove_dir_all(&partial)?;
    }
    match fs::rename(pack.version(task, version), &partial) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => fs::remove_dir_all(partial),
    }
}

/// Whether both hold the same adapter.
fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    for name in ADAPTER {
        let (one, other) = (one.join(name), other.join(name));
        if !other.try_exists()? || fs::metadata(&one)?.len() != fs::metadata(&other)?.len() {
            return Ok(false);
        }
        if fs::read(one)? != fs::read(other)? {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(text: &str) -> tempfile::TempDir {
        let from = tempfile::tempdir().unwrap();
        for name in FILES {
            fs::write(from.path().join(name), format!("{name} {text}")).unwrap();
        }
        from
    }

    #[test]
    fn an_adapter_is_placed_once_however_often_it_is_tried() {
        let (packs, from) = (tempfile::tempdir().unwrap(), adapter("one"));
        let pack = PackFolder::new(packs.path(), "banshee");
        let task = Task::Personality;
        assert_eq!(next_version(&pack, task).unwrap(), 1);
        // What a copy that was cut off has left.
        let partial = pack.task(task).join(".v1.partial");
        fs::create_dir_all(partial.join("rubbish")).unwrap();
        for _ in 0..2 {
            place(from.path(), &pack, task, 1).unwrap();
            assert_eq!(pack.versions(task).unwrap(), [1]);
            let names = fs::read_dir(pack.version(task, 1)).unwrap().count();
            assert_eq!((names, partial.exists()), (FILES.len(), false));
        }
        assert_eq!(next_version(&pack, task).unwrap(), 2);
        for _ in 0..2 {
            take_back(&pack, task, 1).unwrap();
            assert_eq!(fs::read_dir(pack.task(task)).unwrap().count(), 0);
        }
    }

    #[test]
    fn another_adapter_is_never_written_over() {
        let (packs, one, other) = (tempfile::tempdir().unwrap(), adapter("one"), adapter("two"));
        let pack = PackFolder::new(packs.path(), "banshee");
        place(one.path(), &pack, Task::Personality, 1).unwrap();
        let error = place(other.path(), &pack, Task::Personality, 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        let kept = fs::read(pack.version(Task::Personality, 1).join(FILES[0])).unwrap();
        assert_eq!(kept, fs::read(one.path().join(FILES[0])).unwrap());
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let (packs, elsewhere, from) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), adapter("one"));
        let pack = PackFolder::new(packs.path(), "banshee");
        fs::create_dir_all(pack.task(Task::Personality).parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), pack.task(Task::Personality)).unwrap();
        let error = place(from.path(), &pack, Task::Personality, 1).unwrap_err().to_string();
        assert!(error.contains("is a link"), "{error}");
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    }

    #[test]
    fn versions_do_not_pile_up_for_ever() {
        let packs = tempfile::tempdir().unwrap();
        let pack = PackFolder::new(packs.path(), "banshee");
        for version in 1..=MAX_VERSIONS as u32 {
            fs::create_dir_all(pack.version(Task::Personality, version)).unwrap();
        }
        let error = next_version(&pack, Task::Personality).unwrap_err().to_string();
        assert!(error.contains("holds 64 versions"), "{error}");
    }
}
