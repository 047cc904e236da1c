//! Places at which tests kill the process, to see that a server that is started again goes on.

/// Elsewhere than in tests it is nothing.
#[cfg(not(test))]
pub const fn point(_name: &'static str) {}

#[cfg(test)]
pub use counting::{kill_at, point};

#[cfg(test)]
mod counting {
    use std::sync::atomic::{AtomicI64, Ordering};

    /// Points until the end; below zero: none is.
    static LEFT: AtomicI64 = AtomicI64::new(-1);

    /// This process is killed, as by SIGKILL, at the n-th point from now on.
    pub fn kill_at(n: u32) {
        LEFT.store(i64::from(n), Ordering::SeqCst);
    }

    pub fn point(name: &'static str) {
        if LEFT.load(Ordering::SeqCst) >= 0 && LEFT.fetch_sub(1, Ordering::SeqCst) == 0 {
            eprintln!("killed {name}");
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            loop {
                std::thread::park();
            }
        }
    }
}
