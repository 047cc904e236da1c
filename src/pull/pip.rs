//! Downloads through pip: it knows the machine's index, proxy and certificates, so we need not.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use super::pins::Wheel;
use super::progress::Bar;

/// The ways to call pip, in the order tried.
const COMMANDS: &[&[&str]] = &[&["python3", "-m", "pip"], &["python", "-m", "pip"], &["pip3"], &["pip"]];

/// How often pip's progress is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Lines of pip's complaint that go into an error message, and the longest of them in bytes.
const COMPLAINT_LINES: usize = 8;
const COMPLAINT_BYTES: usize = 400;

/// A pip that answers.
#[derive(Debug)]
pub(super) struct Pip {
    command: &'static [&'static str],
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
        for &command in COMMANDS {
            let words = command.join(" ");
            match call(command).arg("--version").stdin(Stdio::null()).output() {
                Ok(output) if output.status.success() => return Ok(Self { command }),
                Ok(output) => {
                    let complaint = String::from_utf8_lossy(&output.stderr);
                    let last = complaint.lines().last().unwrap_or("failed").trim();
                    tried.push(format!("`{words}`: {}", clip(last)));
                }
                Err(error) => tried.push(format!("`{words}`: {error}")),
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
        let mut command = call(self.command);
        command
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
        let words = self.command.join(" ");
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

fn call(words: &'static [&'static str]) -> Command {
    let mut command = Command::new(words.first().copied().unwrap_or("pip"));
    command.args(words.iter().skip(1));
    command
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
