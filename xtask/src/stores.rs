//! Redis and Postgres for the tests: the machine's, or Debian's packages, with rights or without.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::{root, step};

/// What is installed where something is missing.
const PACKAGES: [&str; 2] = ["postgresql", "redis-server"];
/// Where it is unpacked without rights, below the workspace.
const WORK: &str = "target/stores";
/// The oldest that the gateway works with.
const OLDEST_POSTGRES: u32 = 13;
const OLDEST_REDIS: u32 = 7;

/// Where the servers are.
pub(crate) struct Stores {
    /// The folder with `initdb` and `postgres`.
    pub postgres: PathBuf,
    /// `redis-server`.
    pub redis: PathBuf,
}

impl Stores {
    /// As the tests are told.
    pub fn variables(&self) -> [(&'static str, &Path); 2] {
        [("NPC_GATEWAY_TEST_POSTGRES", &self.postgres), ("NPC_GATEWAY_TEST_REDIS", &self.redis)]
    }

    /// Finds both, and installs what is missing.
    pub fn get() -> anyhow::Result<Self> {
        if let Some(stores) = Self::find() {
            return Ok(stores);
        }
        eprintln!("==> the tests need Postgres {OLDEST_POSTGRES} and Redis {OLDEST_REDIS} or newer");
        install()?;
        Self::find().with_context(|| {
            format!(
                "install Postgres {OLDEST_POSTGRES} and Redis {OLDEST_REDIS} or newer, or set NPC_GATEWAY_TEST_POSTGRES \
                 to the folder with initdb and postgres, and NPC_GATEWAY_TEST_REDIS to redis-server"
            )
        })
    }

    fn find() -> Option<Self> {
        let postgres = find("NPC_GATEWAY_TEST_POSTGRES", "postgres", OLDEST_POSTGRES)?;
        Some(Self {
            postgres: postgres.parent()?.to_owned(),
            redis: find("NPC_GATEWAY_TEST_REDIS", "redis-server", OLDEST_REDIS)?,
        })
    }
}

/// A program that is new enough: the one that the variable names, one on the path, Debian's, or one that was unpacked.
fn find(variable: &str, name: &str, oldest: u32) -> Option<PathBuf> {
    let named = std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut debian: Vec<_> = debian.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect();
    debian.sort();
    let folders =
        std::env::split_paths(&path).chain(debian.into_iter().rev()).chain([root().join(WORK).join("bin")]);
    named.into_iter().chain(folders).find_map(|place| {
        let program = if place.is_dir() { place.join(name) } else { place };
        // A link on the path leads to where the programs that belong to Postgres lie. Redis goes by the link's name.
        let program = if name == "postgres" { program.canonicalize().ok()? } else { program };
        let beside = name != "postgres" || program.with_file_name("initdb").is_file();
        (beside && version(&program)? >= oldest).then_some(program)
    })
}

/// The first number that a program says its version is.
fn version(program: &Path) -> Option<u32> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    // "postgres (PostgreSQL) 15.8 (Debian …)", "Redis server v=7.0.15 sha=…"
    said.split_whitespace().find_map(|word| {
        let number = word.strip_prefix("v=").unwrap_or(word);
        number.split('.').next()?.parse().ok()
    })
}

fn install() -> anyhow::Result<()> {
    if Command::new("apt-get").arg("--version").stdout(Stdio::null()).status().is_err() {
        bail!("this machine has no apt-get");
    }
    let is = |words: &[&str]| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stderr(Stdio::null());
        command.output().ok().filter(|output| output.status.success())
    };
    let root = is(&["id", "-u"]).is_some_and(|output| output.stdout.trim_ascii() == b"0");
    let prefix: &[&str] = if root {
        &[]
    } else if is(&["sudo", "-n", "true"]).is_some() {
        &["sudo", "-n"]
    } else {
        return unpack();
    };
    let apt = |words: &[&str]| {
        let all: Vec<_> =
            prefix.iter().chain(&["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]).collect();
        let mut command = Command::new(all[0]);
        step(command.args(&all[1..]).args(words).stdin(Stdio::null()))
    };
    let wanted = [&["install", "--yes", "--no-install-recommends"], PACKAGES.as_slice()].concat();
    // Lists may be missing or old.
    apt(&wanted).or_else(|_| apt(&["update"]).and_then(|()| apt(&wanted)))
}

/// Unpacks the packages, and those that they need and this machine lacks, where no rights are needed.
fn unpack() -> anyhow::Result<()> {
    let work = root().join(WORK);
    let packages = work.join("packages");
    fs::create_dir_all(&packages).with_context(|| packages.display().to_string())?;
    let mut simulated = Command::new("apt-get");
    simulated.args(["install", "--simulate", "--no-install-recommends"]).args(PACKAGES);
    let output = simulated.stdin(Stdio::null()).output().context("apt-get")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let missing: Vec<_> =
        said.lines().filter_map(|line| line.strip_prefix("Inst ")?.split_whitespace().next()).collect();
    if missing.is_empty() {
        bail!("apt-get knows no packages {PACKAGES:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    step(Command::new("apt-get").args(["-qq", "download"]).args(&missing).current_dir(&packages))?;
    let tree = work.join("root");
    for package in fs::read_dir(&packages)?.filter_map(Result::ok) {
        step(Command::new("dpkg").arg("-x").arg(package.path()).arg(&tree))?;
    }
    wrap(&tree, &work.join("bin"))
}

/// Makes programs that run the unpacked ones with the unpacked libraries.
fn wrap(tree: &Path, programs: &Path) -> anyhow::Result<()> {
    let servers = fs::read_dir(tree.join("usr/lib/postgresql")).context("postgresql was not unpacked")?;
    let newest = servers.filter_map(|entry| Some(entry.ok()?.path())).max().context("it is empty")?;
    let libraries = fs::read_dir(tree.join("usr/lib"))?.filter_map(|entry| Some(entry.ok()?.path()));
    let libraries: Vec<_> =
        libraries.filter(|path| path.is_dir()).map(|path| path.display().to_string()).collect();
    fs::create_dir_all(programs).with_context(|| programs.display().to_string())?;
    let real = [
        ("initdb", newest.join("bin/initdb")),
        ("postgres", newest.join("bin/postgres")),
        ("redis-server", tree.join("usr/bin/redis-server")),
    ];
    for (name, real) in real {
        let script = format!(
            "#!/bin/sh\nLD_LIBRARY_PATH='{}' exec '{}' \"$@\"\n",
            libraries.join(":"),
            real.display()
        );
        let place = programs.join(name);
        fs::write(&place, script).with_context(|| place.display().to_string())?;
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_runs_as_itself() {
        let stores = Stores::get().unwrap();
        assert!(version(&stores.postgres.join("postgres")).unwrap() >= OLDEST_POSTGRES);
        assert!(stores.redis.ends_with("redis-server") && version(&stores.redis).unwrap() >= OLDEST_REDIS);
    }
}
