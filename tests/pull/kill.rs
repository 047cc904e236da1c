//! A pull that is killed leaves nothing half-done, and nothing running.

use std::process::Child;
use std::time::{Duration, Instant};

use crate::support::{Cache, processes_with, stderr};

/// SIGKILL: no handler, no destructor, no flush.
fn kill_after(mut child: Child, delay: Duration) -> bool {
    std::thread::sleep(delay);
    let running = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    running
}

/// Wheels that pip has brought, in the rooms for work in progress.
fn downloads(cache: &Cache) -> usize {
    cache.files().keys().filter(|path| path.extension().is_some_and(|kind| kind == "whl")).count()
}

fn finish(cache: &Cache) {
    let output = cache.gateway(&["pull"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    cache.assert_complete();
}

#[test]
fn killed_while_checking_unpacking_and_importing() {
    let cache = Cache::with_wheels();
    // Growing waits reach later and later work, because what was brought before a kill stays.
    let mut interrupted = 0;
    let mut delay = Duration::from_millis(30);
    while kill_after(cache.spawn(&["pull"]), delay) {
        cache.assert_whole_or_absent();
        interrupted += 1;
        delay = delay * 3 / 2;
    }
    assert!(interrupted >= 4, "only {interrupted} kills met a running pull");
    finish(&cache);
}

#[test]
fn killed_while_pip_downloads() {
    let cache = Cache::new();
    let word = cache.0.path().as_os_str();
    for delay in [500, 1500] {
        let pull = cache.spawn(&["pull"]);
        let start = Instant::now();
        // pip is told of the cache as the place for its download; the gateway is not, on its command line.
        while processes_with(word).is_empty() {
            assert!(start.elapsed() < Duration::from_mins(1), "pip was never started");
            std::thread::sleep(Duration::from_millis(10));
        }
        kill_after(pull, Duration::from_millis(delay));
        let brought = downloads(&cache);
        let killed = Instant::now();
        // Helpers of a wrapper script around Python may end a little later than pip itself.
        while !processes_with(word).is_empty() {
            assert!(killed.elapsed() < Duration::from_mins(1), "something outlives the pull");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(downloads(&cache), brought, "pip went on without the pull");
        cache.assert_whole_or_absent();
    }
    finish(&cache);
}
