//! Downloads through pip: it knows the machine's index, proxy and certificates, so we need not.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use super::pins::Wheel;
use super::progress::Bar;

/// The names that Python has, in the order tried.
const PYTHONS: [&str; 2] = ["python3", "python"];

/// The names that pip has where Python goes by another one.
const PIPS: [&str; 2] = ["pip3", "pip"];

/// Fails without pip, and tells which file the interpreter is.
const WHICH: &str = "import pip, sys; print(sys.executable)";

/// How often pip's progress is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Lines of pip's complaint that go into an error message, and the longest of them in bytes.
const COMPLAINT_LINES: usize = 8;
const COMPLAINT_BYTES: usize = 400;

/// A pip that answers.
#[derive(Debug)]
pub(super) struct Pip {
    program: String,
    arguments: &'static [&'static str],
    /// How a person would call it.
    words: String,
}

/// Ends pip when the pull ends early.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Pip {
    /// The first pip that answers, or why there is none.
    pub(super) fn find() -> Result<Self, String> {
        let mut tried = Vec::new();
        for name in PYTHONS {
            let words = format!("{name} -m pip");
            match answer(Command::new(name).args(["-c", WHICH])) {
                // The interpreter itself, because `python3` may be a script that starts it as its child, and
                // that child would outlive a pull that is killed.
                Ok(path) => {
                    let program = if path.is_empty() { name.to_owned() } else { path };
                    return Ok(Self { program, arguments: &["-m", "pip"], words });
                }
                Err(reason) => tried.push(format!("`{words}`: {reason}")),
            }
        }
        for name in PIPS {
            match answer(Command::new(name).arg("--version")) {
                Ok(_) => return Ok(Self { program: name.into(), arguments: &[], words: name.into() }),
                Err(reason) => tried.push(format!("`{name}`: {reason}")),
            }
        }
        Err(format!("no pip was found ({})", tried.join("; ")))
    }

    /// Downloads the wheel into a folder below `work`; its content is not looked at. Dies with this process.
    pub(super) fn download(&self, wheel: &Wheel, work: &Path, bar: &mut Bar) -> Result<PathBuf, String> {
        let (dest, temp) = (work.join("wheel"), work.join("pip"));
        for folder in [&dest, &temp] {
            std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        let (implementation, abi, platform) = wheel.tags;
        let mut command = Command::new(&self.program);
        command
            .args(self.arguments)
            .args(["download", "--no-deps", "--only-binary=:all:", "--no-input", "--progress-bar=off"])
            .args(["--disable-pip-version-check", "--python-version=3.11", "--dest"])
            .arg(&dest)
            .args(["--implementation", implementation, "--abi", abi, "--platform", platform])
            .arg(format!("{}=={}", wheel.project, wheel.version))
            // Where pip keeps a download until it is whole: watched below, and swept with the rest.
            .env("TMPDIR", &temp)
            .env("PIP_REQUIRE_VIRTUALENV", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        die_with_parent(&mut command);
        let words = &self.words;
        let mut child = Running(command.spawn().map_err(|error| format!("`{words}`: {error}"))?);
        let complaint = child.0.stderr.take().map(|stderr| last_lines(BufReader::new(stderr)));
        let status = loop {
            match child.0.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) => bar.at(largest_file(work)),
                Err(error) => return Err(format!("`{words}`: {error}")),
            }
            std::thread::sleep(LOOK);
        };
        let complaint = complaint.and_then(|thread| thread.join().ok()).unwrap_or_default();
        if !status.success() {
            return Err(format!("`{words} download` ended with {status}:\n{complaint}"));
        }
        let file = dest.join(wheel.file);
        if file.is_file() {
            return Ok(file);
        }
        Err(format!("`{words} download` brought another file than {}", wheel.file))
    }
}

/// What a program says on standard output, or the last line of its complaint.
fn answer(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(clip(complaint.lines().last().unwrap_or("failed").trim()))
}

/// A pull that is killed cannot end pip itself, and pip would go on writing into a folder that the next pull
/// sweeps.
#[cfg(target_os = "linux")]
fn die_with_parent(command: &mut Command) {
    use std::os::unix::process::CommandExt;

    // SAFETY: prctl with these arguments only sets a flag of the calling process; it takes no lock and
    // allocates nothing, so it may run between fork and exec.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent(_: &mut Command) {}

/// Reads to the end, so that pip never waits for us, and keeps the last lines.
fn last_lines(mut stderr: impl BufRead + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let (mut lines, mut line) = (VecDeque::new(), Vec::new());
        while stderr.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            if lines.len() == COMPLAINT_LINES {
                lines.pop_front();
            }
            lines.push_back(clip(String::from_utf8_lossy(&line).trim_end()));
            line.clear();
        }
        lines.into_iter().collect::<Vec<_>>().join("\n")
    })
}

fn clip(line: &str) -> String {
    line.char_indices()
        .nth(COMPLAINT_BYTES)
        .map_or_else(|| line.to_owned(), |(end, _)| format!("{}…", &line[..end]))
}

/// Bytes of the largest file below `folder`: the download, since all else that pip writes is small.
fn largest_file(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => largest_file(&entry.path()),
        Ok(meta) => meta.len(),
        // Pip removes files while we look.
        Err(_) => 0,
    });
    sizes.max().unwrap_or(0)
}
