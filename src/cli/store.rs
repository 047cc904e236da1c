//! `export` and `restore`: an NPC with its history, to a file and from one.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use super::adapters::env_vars;
use crate::config::{Config, ConfigError, Loader};
use crate::history::{self, Restored};

/// Where the store is.
#[derive(Debug, Args)]
struct StoreArgs {
    /// The server's folder [setting server.data].
    #[arg(long)]
    data: Option<String>,
    /// The server's TOML file of settings.
    #[arg(long)]
    config: Option<PathBuf>,
    /// One setting; may be given again.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    sets: Vec<String>,
}

impl StoreArgs {
    fn config(&self) -> Result<Config, ConfigError> {
        let mut loader = Loader::new()?;
        if let Some(file) = &self.config {
            loader = loader.file(file)?;
        }
        loader = loader.env(env_vars())?;
        for set in &self.sets {
            loader = loader.assignment("--set", set)?;
        }
        if let Some(data) = &self.data {
            loader = loader.value("--data", "server.data", data)?;
        }
        loader.finish()
    }
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The NPC's id.
    npc: String,
    /// The file; it must not exist yet [default: standard output].
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// The file.
    file: PathBuf,
    #[command(flatten)]
    store: StoreArgs,
}

pub(super) fn export(args: &ExportArgs) -> anyhow::Result<()> {
    let config = args.store.config()?;
    let interactions = match &args.out {
        None => history::export(&config.server.data, &config.history, &args.npc, io::stdout().lock())?,
        Some(path) => export_to(&config, &args.npc, path)?,
    };
    eprintln!("npc {:?} with {interactions} interactions", args.npc);
    Ok(())
}

/// The file is there when it is whole.
fn export_to(config: &Config, npc: &str, path: &Path) -> anyhow::Result<u64> {
    let name = || path.display().to_string();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(name)?;
    let interactions = history::export(&config.server.data, &config.history, npc, file.as_file_mut())?;
    file.as_file_mut().flush().and_then(|()| file.as_file().sync_all()).with_context(name)?;
    file.persist_noclobber(path).map_err(|error| error.error).with_context(name)?;
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(name)?;
    Ok(interactions)
}

pub(super) fn restore(args: &RestoreArgs) -> anyhow::Result<()> {
    let config = args.store.config()?;
    let restored = history::restore(&config.server.data, &config.history, &args.file)?;
    let Restored { interactions, known, erased } = restored;
    eprintln!(
        "{interactions} interactions restored, {known} were there already, {erased} are of players who were \
         erased and stay away"
    );
    Ok(())
}
