//! `cargo xtask lint`: what must hold of the code before any test runs.

use std::path::PathBuf;
use std::process::Command;

use clap::Args;

use crate::{cargo, root, step};

/// Tools that cargo does not bring, by exact version, so that a new release changes nothing by itself.
const MACHETE: Tool = Tool { package: "cargo-machete", version: "0.9.2" };
const DENY: Tool = Tool { package: "cargo-deny", version: "0.20.2" };

#[derive(Debug, Args)]
pub struct LintArgs {
    /// Only what needs no further tool: format and clippy.
    #[arg(long)]
    quick: bool,
    /// Also check for known vulnerabilities, which needs the advisory database from the network.
    #[arg(long)]
    advisories: bool,
}

struct Tool {
    package: &'static str,
    version: &'static str,
}

pub fn run(args: &LintArgs) -> anyhow::Result<()> {
    step(cargo().args(["fmt", "--all", "--check"]))?;
    step(cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    if args.quick {
        return Ok(());
    }
    step(Command::new(MACHETE.installed()?).current_dir(root()))?;
    let mut deny = Command::new(DENY.installed()?);
    deny.current_dir(root()).args(["--all-features", "check", "bans", "licenses", "sources"]);
    if args.advisories {
        deny.arg("advisories");
    }
    step(&mut deny)
}

impl Tool {
    /// The tool's binary, installed into `target/tools` if it is not there yet.
    fn installed(&self) -> anyhow::Result<PathBuf> {
        let tools = root().join("target/tools").join(format!("{}-{}", self.package, self.version));
        let binary = tools.join("bin").join(self.package);
        if !binary.is_file() {
            // Unoptimized, since they run for seconds and would compile for many minutes.
            let mut install = cargo();
            install.args([
                "install",
                "--locked",
                "--quiet",
                "--debug",
                self.package,
                "--version",
                self.version,
                "--root",
            ]);
            step(install.arg(&tools))?;
        }
        Ok(binary)
    }
}
