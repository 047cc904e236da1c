//! `clients/python`: installed from pinned packages into an environment of its own, then ruff, mypy and pytest.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

use super::Told;
use crate::{root, step};

/// The names that Python has, in the order tried.
const PYTHONS: [&str; 2] = ["python3", "python"];

/// Prints the version, and fails where the client could not run or not be installed.
const SUITABLE: &str = "import pip, sys, venv; print(sys.version); sys.exit(sys.version_info < (3, 11))";

/// Where everything of the client's tests lies, below `target`.
const WORK: &str = "target/clients/python";

/// Installs the client and runs what it is checked with.
pub(super) fn test(told: &Told) -> anyhow::Result<()> {
    let source = root().join("clients/python");
    let work = root().join(WORK);
    let programs = environment(&source, &work)?;
    let run = |program: &str, words: &[&str]| {
        let mut command = Command::new(programs.join(program));
        command
            .args(words)
            .current_dir(&source)
            .envs(told.variables.iter().copied())
            .env("NPC_GATEWAY_TEST_BINARY", told.gateway)
            // Nothing is written beside the sources.
            .env("PYTHONPYCACHEPREFIX", work.join("pycache"))
            .env("RUFF_CACHE_DIR", work.join("ruff"))
            .env("MYPY_CACHE_DIR", work.join("mypy"))
            .stdin(Stdio::null());
        step(&mut command)
    };
    let cache = format!("cache_dir={}", work.join("pytest").display());
    run("ruff", &["format", "--check"])?;
    run("ruff", &["check"])?;
    run("mypy", &[])?;
    run("pytest", &["-o", &cache])
}

/// Makes the environment if it is not there or other packages are pinned, installs the client anew, and says where
/// the programs are.
fn environment(source: &Path, work: &Path) -> anyhow::Result<PathBuf> {
    let lock = source.join("requirements.lock");
    let pins = fs::read_to_string(&lock).with_context(|| lock.display().to_string())?;
    let (python, version) = python()?;
    let venv = work.join("venv");
    let programs = venv.join(if cfg!(windows) { "Scripts" } else { "bin" });
    let own = programs.join("python");
    // Written last: what is half done is made anew.
    let done = work.join("installed");
    let wanted = format!("{version}\n{pins}");
    if fs::read_to_string(&done).ok().as_deref() != Some(&wanted) {
        // Debian keeps what puts pip into an environment in a package of its own; the pip outside will do.
        step(Command::new(python).args(["-m", "venv", "--clear", "--without-pip"]).arg(&venv))?;
        step(pip(python, &own).args(["--require-hashes", "--only-binary=:all:", "-r"]).arg(&lock))?;
        fs::write(&done, &wanted).with_context(|| done.display().to_string())?;
    }
    // As its users get it: built, with what belongs into the package and nothing else.
    step(pip(python, &own).args(["--no-deps", "--no-build-isolation", "--force-reinstall"]).arg(source))?;
    Ok(programs)
}

/// `pip install` of the machine, into the environment of `own`.
fn pip(python: &str, own: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", "pip", "--python"]).arg(own).args([
        "install",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
    ]);
    command.env("PIP_REQUIRE_VIRTUALENV", "0").stdin(Stdio::null());
    command
}

/// A Python that is new enough and has pip, and its version.
pub(super) fn python() -> anyhow::Result<(&'static str, String)> {
    let mut tried = Vec::new();
    for name in PYTHONS {
        match Command::new(name).args(["-c", SUITABLE]).stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => {
                let version = String::from_utf8(output.stdout).with_context(|| name.to_owned())?;
                ensure!(!version.trim().is_empty(), "{name} does not tell its version");
                return Ok((name, version.trim().to_owned()));
            }
            Ok(output) => {
                let said = [output.stderr, output.stdout].concat();
                let said = String::from_utf8_lossy(&said);
                tried.push(format!("`{name}`: {}", said.lines().last().unwrap_or("failed").trim()));
            }
            Err(error) => tried.push(format!("`{name}`: {error}")),
        }
    }
    bail!("the clients' tests need Python 3.11 or newer with pip and venv ({})", tried.join("; "))
}
