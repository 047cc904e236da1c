//! What the system knows of this process.

use std::fs;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use super::page::Page;

/// This process since a start in it.
#[derive(Debug, Clone, Copy)]
pub struct Process {
    began: Instant,
    /// Milliseconds since 1970, UTC.
    pub started_ms: u64,
}

/// Of `/proc/self`; zeros where there is none.
#[derive(Debug, Default, PartialEq, Eq)]
struct Status {
    resident_bytes: u64,
    threads: u64,
}

impl Process {
    /// Starts to count now.
    pub fn start() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { began: Instant::now(), started_ms: now.as_millis() as u64 }
    }

    pub fn uptime_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// Of the page's writer.
    pub fn write(&self, page: &mut Page<'_>) -> std::fmt::Result {
        let Status { resident_bytes, threads } =
            fs::read_to_string("/proc/self/status").map(|text| status(&text)).unwrap_or_default();
        // The one that lists them is open, too.
        let open = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1));
        let most = rlimit::Resource::NOFILE.get_soft().unwrap_or(0);
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
        let started = self.started_ms as f64 / 1e3;
        page.float("start_time_seconds", "When the server started, seconds since 1970", started)?;
        page.float("uptime_seconds", "Time since then", self.uptime_ms() as f64 / 1e3)?;
        page.gauge("process_resident_memory_bytes", "Memory in RAM", resident_bytes)?;
        page.gauge("process_open_fds", "Open files and sockets", open)?;
        page.gauge("process_max_fds", "How many of them there may be", most)?;
        page.gauge("process_threads", "Threads", threads)?;
        page.seconds("process_cpu_seconds", "CPU time", cpu)
    }
}

/// Reads `/proc/self/status`.
fn status(text: &str) -> Status {
    let number = |name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    Status { resident_bytes: number("VmRSS") << 10, threads: number("Threads") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_file_is_read() {
        let text = "Name:\tnpc-gateway\nVmPeak:\t  9000 kB\nVmRSS:\t    2048 kB\nThreads:\t7\n";
        assert_eq!(status(text), Status { resident_bytes: 2 << 20, threads: 7 });
        assert_eq!(status(""), Status::default());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory_and_threads() {
        let own = status(&fs::read_to_string("/proc/self/status").unwrap());
        assert!(own.resident_bytes > 1 << 20 && own.threads >= 1, "{own:?}");
    }
}
