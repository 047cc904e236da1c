//! A trainer's child process.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Pid;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use super::child;
use super::progress::Progress;
use crate::archetype::Task;

/// Bytes of a line that are kept; what is longer is no progress.
const MAX_LINE: usize = 4096;
/// Bytes of a trainer's last words that are read.
const LAST_WORDS: u64 = 4096;
/// How often it is looked whether a trainer from before has ended.
const RETRY: Duration = Duration::from_millis(20);
/// How long it may take to: it is killed with its server.
const PATIENCE: Duration = Duration::from_secs(30);

/// What its trainer writes beside the adapters: its errors.
const LOG: &str = "trainer.log";
const OUT: &str = "out";

/// How a trainer is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainerCommand {
    pub program: PathBuf,
    /// Before those that say what is to be trained.
    pub arguments: Vec<OsString>,
    pub variables: Vec<(OsString, OsString)>,
    /// The folder of all packs.
    pub packs: PathBuf,
    /// 0: as many as the trainer finds right.
    pub epochs: u32,
}

/// How a trainer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    Done,
    /// It found its input wrong, and says how.
    BadInput(String),
    /// It failed, and says how.
    Failed(String),
}

/// Where a trainer's adapters lie in its folder.
pub fn out(work: &Path, task: Task) -> PathBuf {
    work.join(OUT).join(task.name())
}

/// A running trainer. Dropped, it is killed with all that it has started.
#[derive(Debug)]
pub struct Trainer {
    child: Child,
    leader: Option<Pid>,
    log: PathBuf,
    /// The trainer has it too, as its standard error: for as long as one of the two lives it is locked.
    _log: File,
}

/// What a trainer says.
#[derive(Debug)]
pub struct Steps {
    lines: Lines<BufReader<ChildStdout>>,
}

impl TrainerCommand {
    /// The words that say what is to be trained.
    fn words(&self, archetype: &str, tasks: &[Task], work: &Path) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["adapters".into(), "train".into()];
        let mut add = |flag: &str, value: OsString| words.extend([flag.into(), value]);
        add("--packs", self.packs.clone().into());
        add("--archetype", archetype.into());
        for task in tasks {
            add("--task", task.name().into());
        }
        if self.epochs > 0 {
            add("--epochs", self.epochs.to_string().into());
        }
        add("--out", work.join(OUT).into());
        add("--progress", "json".into());
        words.push("--resume".into());
        words
    }

    /// Starts it in `work`, when the one that was there before has ended. What that finished is not trained again.
    ///
    /// # Errors
    /// The folder cannot be written, another trainer is still in it, or the program cannot be run.
    pub async fn start(&self, archetype: &str, tasks: &[Task], work: &Path) -> io::Result<(Trainer, Steps)> {
        fs::create_dir_all(work.join(OUT))?;
        let log = work.join(LOG);
        let file = lock(&log).await?;
        file.set_len(0)?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).args(self.words(archetype, tasks, work));
        command.envs(self.variables.iter().cloned());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file.try_clone()?);
        let mut child = child::spawn(command.process_group(0).kill_on_drop(true))
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.program.display())))?;
        let leader = child::leader(&child);
        let lines = child.stdout.take().ok_or_else(|| io::Error::other("it has no standard output"))?;
        let steps = Steps { lines: Lines::new(BufReader::new(lines)) };
        Ok((Trainer { child, leader, log, _log: file }, steps))
    }
}

impl Steps {
    /// What it says next; `None`: it has closed its standard output, as it does when it ends. Lines that tell of no
    /// progress are passed over. A future that is dropped loses nothing.
    ///
    /// # Errors
    /// Its output cannot be read.
    pub async fn next(&mut self) -> io::Result<Option<Progress>> {
        while let Some(line) = self.lines.next().await? {
            if let Some(progress) = Progress::parse(&line) {
                return Ok(Some(progress));
            }
        }
        Ok(None)
    }
}

impl Trainer {
    /// The process group that it leads, if it has not ended.
    pub fn group(&self) -> Option<Pid> {
        self.leader
    }

    /// How it ended, when it has. A future that is dropped loses nothing.
    ///
    /// # Errors
    /// The system cannot tell.
    pub async fn ended(&mut self) -> io::Result<Ended> {
        // `wait` alone would close its standard input, which tells it to end.
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break status,
                None => tokio::time::sleep(RETRY).await,
            }
        };
        // What it has started may have outlived it.
        if let Some(leader) = self.leader.take() {
            child::kill(leader);
        }
        if status.success() {
            return Ok(Ended::Done);
        }
        let words = last_words(&self.log)?;
        let words = if words.is_empty() { format!("the trainer ended with {status}") } else { words };
        // What the standard library says when the system refuses memory.
        let words = if words.contains("memory allocation of") {
            format!("{words} (provision.max_memory_mb bounds its memory)")
        } else {
            words
        };
        Ok(if status.code() == Some(2) { Ended::BadInput(words) } else { Ended::Failed(words) })
    }
}

impl Drop for Trainer {
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            child::kill(leader);
        }
    }
}

/// The file of a trainer's errors, once nobody else has it.
async fn lock(log: &Path) -> io::Result<File> {
    let file = File::options().create(true).append(true).open(log)?;
    let mut waited = Duration::ZERO;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if waited >= PATIENCE => {
                let message = format!("{}: a trainer from before still runs", log.display());
                return Err(io::Error::other(message));
            }
            Err(TryLockError::WouldBlock) => {
                tokio::time::sleep(RETRY).await;
                waited += RETRY;
            }
        }
    }
}

/// The last lines that a trainer wrote to its standard error.
fn last_words(log: &Path) -> io::Result<String> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = File::open(log)?;
    let start = file.metadata()?.len().saturating_sub(LAST_WORDS);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(LAST_WORDS).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    Ok(lines[lines.len().saturating_sub(3)..].join(" "))
}

/// Lines of bytes, each cut at [`MAX_LINE`].
#[derive(Debug)]
struct Lines<R> {
    reader: R,
    line: Vec<u8>,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    fn new(reader: R) -> Self {
        Self { reader, line: Vec::new() }
    }

    /// The next line without its end; `None`: there is no more. What is behind the last end of a line is none.
    async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let buffer = self.reader.fill_buf().await?;
            if buffer.is_empty() {
                return Ok(None);
            }
            let end = buffer.iter().position(|&byte| byte == b'\n');
            let part = &buffer[..end.unwrap_or(buffer.len())];
            let room = MAX_LINE.saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            let used = end.map_or(buffer.len(), |end| end + 1);
            self.reader.consume(used);
            if end.is_some() {
                return Ok(Some(std::mem::take(&mut self.line)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_read_however_long() {
        let text = format!("one\n\n{}\nlast", "x".repeat(20_000));
        let mut reader = Lines::new(BufReader::with_capacity(7, text.as_bytes()));
        let mut lines = Vec::new();
        while let Some(line) = reader.next().await.unwrap() {
            lines.push(String::from_utf8(line).unwrap());
        }
        assert_eq!(lines, ["one", "", &"x".repeat(MAX_LINE)]);
    }

    #[test]
    fn last_words_are_the_last_lines() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), format!("{}\none\n\ntwo\n three\nfour\n", "x".repeat(9000))).unwrap();
        assert_eq!(last_words(file.path()).unwrap(), "two three four");
    }
}
