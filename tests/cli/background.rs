//! What runs beside the server.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::support::gateway;

/// Field 19 of a process's line: how nice it is.
fn niceness(process: u32) -> i32 {
    let line = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // Its name, in brackets, may hold spaces.
    let (_, fields) = line.rsplit_once(") ").unwrap();
    fields.split(' ').nth(16).unwrap().parse().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn what_runs_in_the_background_is_nice_and_ends_with_its_standard_input() {
    use std::os::unix::process::ExitStatusExt;

    let bounds = ["background", "--max-memory-mb", "4096"];
    let serve = ["serve", "--listen", "127.0.0.1:0", "--set", "engine.kind=scripted"];
    let mut command = gateway(&[&bounds[..], &serve].concat());
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("listening on "), "{line}");
    assert_eq!(niceness(child.id()), 19);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let data = limits.lines().find(|limit| limit.starts_with("Max data size")).unwrap();
    assert!(data.contains(" 4294967296 "), "{data}");
    assert!(child.try_wait().unwrap().is_none());
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}
