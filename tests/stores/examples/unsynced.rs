//! What a machine that loses its power does to files, for a process that is killed: SIGKILL alone leaves what was written
//! in the page cache, synced or not.
//!
//! Preloaded (`LD_PRELOAD`), it takes the place of the C library's functions that write files, truncate them and sync them.
//! Before a file in the folder `NPC_UNSYNCED_DATA` changes, what it was is appended to a log in the folder
//! `NPC_UNSYNCED_UNDO`, named by the file's inode; when the file is synced the log is emptied. After the kill whoever
//! started the process undoes what the logs have, the last first, and the files are as they were last synced.
//!
//! A log is a sequence of records, each little endian: the file's length before, the offset, the number of bytes, the bytes
//! that were there. SQLite's shared memory (`-shm`) is left alone: it is made anew after a crash.

use std::ffi::{CString, c_int, c_void};
use std::os::unix::ffi::OsStringExt;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use libc::{off_t, size_t, ssize_t};

/// Bytes of a record before those that were there.
const HEADER: usize = 24;

/// The two folders; `None`: nothing is watched.
fn folders() -> Option<&'static (Vec<u8>, Vec<u8>)> {
    static FOLDERS: OnceLock<Option<(Vec<u8>, Vec<u8>)>> = OnceLock::new();
    let read = || {
        let folder = |name: &str| std::env::var_os(name).map(OsStringExt::into_vec);
        Some((folder("NPC_UNSYNCED_DATA")?, folder("NPC_UNSYNCED_UNDO")?))
    };
    FOLDERS.get_or_init(read).as_ref()
}

/// Held while a file changes or is synced: what is written meanwhile is not in the sync.
fn lock() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file that is watched.
struct Watched {
    length: u64,
    /// Its log.
    log: CString,
}

/// The file behind a descriptor, if it is watched.
fn watched(fd: c_int) -> Option<Watched> {
    let (data, undo) = folders()?;
    // SAFETY: zeros are a stat, and fstat fills it.
    let stat = unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        if libc::fstat(fd, &raw mut stat) != 0 {
            return None;
        }
        stat
    };
    if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
        return None;
    }
    let link = CString::new(format!("/proc/self/fd/{fd}")).ok()?;
    let mut name = [0_u8; 4096];
    // SAFETY: the link's name ends with a zero, and the room is as long as said.
    let length = unsafe { libc::readlink(link.as_ptr(), name.as_mut_ptr().cast(), name.len()) };
    let name = name.get(..usize::try_from(length).ok()?)?;
    if !name.starts_with(data) || name.ends_with(b"-shm") {
        return None;
    }
    let log = [&undo[..], format!("/{}", stat.st_ino).as_bytes()].concat();
    Some(Watched { length: u64::try_from(stat.st_size).ok()?, log: CString::new(log).ok()? })
}

impl Watched {
    /// Notes what stands at `offset` before `length` bytes of it change, or before the file is cut there.
    fn note(&self, fd: c_int, offset: u64, length: u64) {
        let there = self.length.saturating_sub(offset).min(length) as usize;
        let mut record = vec![0; HEADER + there];
        // SAFETY: the room is as long as said. The system calls themselves: the C library's names are ours.
        unsafe {
            let bytes = record[HEADER..].as_mut_ptr();
            let read = libc::syscall(libc::SYS_pread64, fd, bytes, there, offset);
            let same = usize::try_from(read).is_ok_and(|read| read == there);
            // A file that is open for writing alone would make the test blind.
            if !same {
                libc::abort();
            }
            record[..8].copy_from_slice(&self.length.to_le_bytes());
            record[8..16].copy_from_slice(&offset.to_le_bytes());
            record[16..24].copy_from_slice(&(there as u64).to_le_bytes());
            self.with_log(libc::O_APPEND, |log| {
                let written = libc::syscall(libc::SYS_write, log, record.as_ptr(), record.len());
                if !usize::try_from(written).is_ok_and(|written| written == record.len()) {
                    libc::abort();
                }
            });
        }
    }

    /// All of it is on the disk.
    fn synced(&self) {
        self.with_log(libc::O_TRUNC, |_| {});
    }

    fn with_log(&self, flag: c_int, work: impl FnOnce(c_int)) {
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_CLOEXEC | flag;
        // SAFETY: the name ends with a zero; the descriptor is ours.
        unsafe {
            let log = libc::open(self.log.as_ptr(), flags, 0o600);
            if log < 0 {
                libc::abort();
            }
            work(log);
            libc::close(log);
        }
    }
}

/// # Safety
/// As of write(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(fd: c_int, bytes: *const c_void, length: size_t) -> ssize_t {
    let file = watched(fd);
    let _held = file.is_some().then(lock);
    // SAFETY: as the caller promises.
    unsafe {
        // Again, under the lock: its length may be another one.
        if let Some(file) = file.and_then(|_| watched(fd)) {
            let offset = libc::lseek(fd, 0, libc::SEEK_CUR);
            file.note(fd, offset.max(0) as u64, length as u64);
        }
        libc::syscall(libc::SYS_write, fd, bytes, length) as ssize_t
    }
}

/// # Safety
/// As of pwrite(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite64(fd: c_int, bytes: *const c_void, length: size_t, offset: off_t) -> ssize_t {
    let file = watched(fd);
    let _held = file.is_some().then(lock);
    // SAFETY: as the caller promises.
    unsafe {
        if let Some(file) = file.and_then(|_| watched(fd)) {
            file.note(fd, offset.max(0) as u64, length as u64);
        }
        libc::syscall(libc::SYS_pwrite64, fd, bytes, length, offset) as ssize_t
    }
}

/// # Safety
/// As of pwrite(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite(fd: c_int, bytes: *const c_void, length: size_t, offset: off_t) -> ssize_t {
    // SAFETY: as the caller promises.
    unsafe { pwrite64(fd, bytes, length, offset) }
}

/// # Safety
/// As of ftruncate(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ftruncate64(fd: c_int, length: off_t) -> c_int {
    let file = watched(fd);
    let _held = file.is_some().then(lock);
    if let Some(file) = file.and_then(|_| watched(fd)) {
        file.note(fd, length.max(0) as u64, u64::MAX);
    }
    // SAFETY: as the caller promises.
    unsafe { libc::syscall(libc::SYS_ftruncate, fd, length) as c_int }
}

/// # Safety
/// As of ftruncate(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ftruncate(fd: c_int, length: off_t) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { ftruncate64(fd, length) }
}

/// # Safety
/// As of fsync(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fsync(fd: c_int) -> c_int {
    // SAFETY: a system call without memory.
    sync(fd, || unsafe { libc::syscall(libc::SYS_fsync, fd) as c_int })
}

/// # Safety
/// As of fdatasync(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fdatasync(fd: c_int) -> c_int {
    // SAFETY: a system call without memory.
    sync(fd, || unsafe { libc::syscall(libc::SYS_fdatasync, fd) as c_int })
}

fn sync(fd: c_int, real: impl FnOnce() -> c_int) -> c_int {
    let file = watched(fd);
    let _held = file.is_some().then(lock);
    let done = real();
    if done == 0
        && let Some(file) = file
    {
        file.synced();
    }
    done
}
