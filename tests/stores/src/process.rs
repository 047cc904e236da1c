//! A server process that does not outlive the test.

use std::ffi::OsStr;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than any server takes to start or stop on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// Starts the server, and stops it with the signal when its own input ends: a test that is killed closes that as well.
/// What the server prints goes into its log.
const KEEPER: &str = r#"signal=$1; shift; "$@" </dev/null >&2 & server=$!; echo $server; read -r _; kill -CONT $server; kill -"$signal" $server; wait $server"#;

/// A server and the shell that stops it.
#[derive(Debug)]
pub struct Server {
    keeper: Child,
    /// The server's own process.
    pub pid: i32,
}

impl Server {
    /// Starts a server, which gets `signal` when it is to stop. As root it runs as somebody who has no rights, if
    /// `demoted`; that one owns `folder` then.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(program: &Path, arguments: &[&OsStr], signal: &str, folder: &Path, demoted: bool) -> Self {
        let mut command = command(Path::new("/bin/sh"), folder, demoted);
        command.args(["-c", KEEPER, "keeper", signal]).arg(program).args(arguments);
        let log = fs::File::options().create(true).append(true).open(folder.join("log")).expect("a log");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut keeper = command.spawn().expect("a shell");
        let mut line = String::new();
        let output = keeper.stdout.take().expect("the shell's output");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).expect("a process id");
        Self { keeper, pid: line.trim().parse().expect("a process id") }
    }

    /// Stops it, and waits for its end.
    pub fn stop(&mut self) {
        drop(self.keeper.stdin.take());
        // Fails if it was waited for before.
        let _ = self.keeper.wait();
    }

    /// SIGKILL, SIGSTOP and so on, to the server's own process.
    pub fn signal(&self, signal: i32) {
        // SAFETY: sends a signal; the keeper has not waited for its child yet, so that the id is still the server's.
        unsafe { libc::kill(self.pid, signal) };
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A command that writes into `folder` alone; as root, if `demoted`, as somebody who has no rights.
pub(crate) fn command(program: &Path, folder: &Path, demoted: bool) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(program);
    command.current_dir(folder).env_remove("PGDATA").env("LC_ALL", "C");
    if demoted && let Some((user, group)) = nobody() {
        std::os::unix::fs::chown(folder, Some(user), Some(group)).expect("root may give folders away");
        command.uid(user).gid(group);
    }
    command
}

/// Whom root becomes; `None`: this is not root.
fn nobody() -> Option<(u32, u32)> {
    // SAFETY: only tells who runs this.
    if unsafe { libc::geteuid() } != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let ids = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut ids = line.split(':').skip(2);
        Some((ids.next()?.parse().ok()?, ids.next()?.parse().ok()?))
    };
    Some(ids("postgres").or_else(|| ids("nobody")).unwrap_or((65534, 65534)))
}

/// A program that `variable` names (itself, or the folder that it lies in), or that lies on the path, or in one of
/// `elsewhere`.
///
/// # Panics
/// If it is nowhere.
pub fn find(name: &str, variable: &str, elsewhere: impl IntoIterator<Item = PathBuf>) -> PathBuf {
    let named = std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).collect::<Vec<_>>();
    let program = |place: PathBuf| if place.is_dir() { place.join(name) } else { place };
    let places = match named {
        Some(named) => vec![named],
        None => folders.into_iter().chain(elsewhere).collect(),
    };
    let found = places.into_iter().map(program).find(|program| program.is_file());
    found.unwrap_or_else(|| {
        panic!("there is no {name}: run the tests with `cargo xtask test`, or set {variable}")
    })
}

/// A port that is free now, and likely to be free in a moment.
///
/// # Panics
/// If this machine has none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// Waits until it is `done`; false if it is `gone` before.
///
/// # Panics
/// If neither happens in two minutes.
pub fn until(done: impl Fn() -> bool, gone: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !done() {
        if gone() {
            return false;
        }
        assert!(start.elapsed() < PATIENCE, "a server does not come in two minutes");
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// Whether a process is there.
pub fn is_alive(pid: i32) -> bool {
    // A zombie is not: nobody listens there any more.
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
