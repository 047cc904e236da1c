//! How a trainer behaves beside a server that answers players.

use std::io::{self, Read};
use std::thread;

use rustix::process::{Pid, Signal, getpid, kill_process, kill_process_group, setpriority_process};

/// The lowest priority: a trainer gets what the server does not need.
const NICE: i32 = 19;

/// For a trainer, called before it does anything else: takes the lowest priority, and has this process killed when its
/// standard input ends. The server holds the other end of it and never writes, so it ends with the server, however that
/// ends.
///
/// # Errors
/// There are no threads any more.
pub fn settle() -> io::Result<()> {
    lower(None)?;
    thread::Builder::new().name("parent".into()).spawn(|| {
        // What comes is of no interest, and an error is an end too.
        let mut buffer = [0; 64];
        while io::stdin().read(&mut buffer).is_ok_and(|read| read > 0) {}
        // Not `exit`, which would wait for threads that compute.
        let _ = kill_process(getpid(), Signal::KILL);
    })?;
    Ok(())
}

/// Gives a process, and the threads that it will have, the lowest priority; `None`: this one.
pub(super) fn lower(process: Option<Pid>) -> io::Result<()> {
    Ok(setpriority_process(process, NICE)?)
}

/// Kills a trainer that leads a process group, with all that it has started.
pub(super) fn kill(leader: Pid) {
    // It fails only if nobody is left.
    let _ = kill_process_group(leader, Signal::KILL);
}
