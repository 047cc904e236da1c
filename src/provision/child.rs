//! How a trainer behaves beside a server that answers players.

use std::io::{self, Read};
use std::thread;

use rustix::process::{
    Pid, Resource, Rlimit, Signal, getpid, getrlimit, kill_process, kill_process_group, setpriority_process,
    setrlimit,
};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;

/// The lowest priority: a trainer gets what the server does not need.
const NICE: i32 = 19;

/// For a trainer, called before it does anything else: takes the lowest priority, is refused more than `memory` bytes of its own
/// (what is mapped of files does not count), and has this process killed when its standard input ends. The server holds the
/// other end of it and never writes, so it ends with the server, however that ends.
///
/// # Errors
/// There are no threads any more, or the system does not bound its memory.
pub fn settle(memory: Option<u64>) -> io::Result<()> {
    lower(None);
    if let Some(memory) = memory {
        // What is allowed already cannot be raised.
        let most = getrlimit(Resource::Data).maximum.map_or(memory, |most| most.min(memory));
        setrlimit(Resource::Data, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    thread::Builder::new().name("parent".into()).spawn(|| {
        // What comes is of no interest, and an error is an end too.
        let mut buffer = [0; 64];
        while io::stdin().read(&mut buffer).is_ok_and(|read| read > 0) {}
        // Not `exit`, which would wait for threads that compute.
        let _ = kill_process(getpid(), Signal::KILL);
    })?;
    Ok(())
}

/// Starts a process that has the lowest priority from its first moment on.
pub(super) fn spawn(command: &mut Command) -> io::Result<Child> {
    if !cfg!(target_os = "linux") {
        let child = command.spawn()?;
        lower(leader(&child));
        return Ok(child);
    }
    // A priority belongs to a thread there, and who starts a process leaves it its own. It cannot be raised again, so the
    // thread is one that does nothing else.
    let runtime = Handle::current();
    thread::scope(|scope| {
        let spawning = scope.spawn(|| {
            let _entered = runtime.enter();
            lower(None);
            command.spawn()
        });
        spawning.join().unwrap_or_else(|_| Err(io::Error::other("starting it stopped")))
    })
}

/// The process group that a child leads, if it has not ended.
pub(super) fn leader(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| Pid::from_raw(id.cast_signed()))
}

/// Gives a process the lowest priority; `None`: whoever calls. Where that fails it runs all the same.
fn lower(process: Option<Pid>) {
    if let Err(error) = setpriority_process(process, NICE) {
        tracing::warn!(%error, "a trainer does not have the lowest priority");
    }
}

/// Kills a trainer that leads a process group, with all that it has started.
pub(super) fn kill(leader: Pid) {
    // It fails only if nobody is left.
    let _ = kill_process_group(leader, Signal::KILL);
}
