//! What the machine lets this process have.

use anyhow::{Context, bail};

/// Files that a process needs besides its sockets.
const OTHER_FILES: u64 = 100;

/// Raises the limit of open files as far as it goes, and checks that `sockets` fit.
///
/// # Errors
/// They do not fit.
pub fn raise_files(sockets: usize) -> anyhow::Result<()> {
    let limit = rlimit::increase_nofile_limit(u64::MAX).context("the limit of open files cannot be read")?;
    let wanted = sockets as u64 + OTHER_FILES;
    if limit < wanted {
        bail!(
            "{sockets} sockets need {wanted} open files, but the hard limit of this process is {limit} (ulimit -Hn)"
        );
    }
    Ok(())
}

/// Seconds that the threads of a process have computed, those of ended ones left out.
///
/// # Errors
/// There is no such process, or this is no Linux.
pub fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/task");
    let mut nanos = 0;
    for thread in std::fs::read_dir(&path).with_context(|| format!("cannot read {path}"))? {
        // One that ends meanwhile is left out.
        let Ok(stat) = std::fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        nanos += stat.split_whitespace().next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(nanos as f64 / 1e9)
}

/// Resident memory of a process in bytes.
///
/// # Errors
/// There is no such process, or this is no Linux.
pub fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .map(|kib| kib * 1024)
        .with_context(|| format!("{path} has no VmRSS"))
}
