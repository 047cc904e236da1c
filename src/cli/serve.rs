//! `serve`: settings, then what is missing, then the server.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;

use super::Usage;
use super::adapters::env_vars;
use crate::app::{App, Paths, StartError};
use crate::archetype::holds_packs;
use crate::chain::ChainError;
use crate::config::{Config, ConfigError, EngineKind, Loader};
use crate::engine::EngineError;
use crate::history::ArchiveError;
use crate::pull::{Cache, PullOptions, Reporter, ensure, model_folder, runtime};

#[derive(Debug, Default, Args)]
pub(super) struct ServeArgs {
    /// Address and port to listen on [setting server.listen].
    #[arg(long)]
    listen: Option<String>,
    /// Folder for everything that the server writes [setting server.data].
    #[arg(long)]
    data: Option<String>,
    /// A model folder, or a checkpoint to import [setting model.path].
    #[arg(long)]
    model: Option<String>,
    /// A TOML file of settings.
    #[arg(long)]
    config: Option<PathBuf>,
    /// One setting; may be given again.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    sets: Vec<String>,
}

impl ServeArgs {
    /// A flag of its own wins over `--set`.
    pub(super) fn config(&self) -> Result<Config, ConfigError> {
        let mut loader = Loader::new()?;
        if let Some(file) = &self.config {
            loader = loader.file(file)?;
        }
        loader = loader.env(env_vars())?;
        for set in &self.sets {
            loader = loader.assignment("--set", set)?;
        }
        let flags = [
            ("--listen", "server.listen", &self.listen),
            ("--data", "server.data", &self.data),
            ("--model", "model.path", &self.model),
        ];
        for (flag, name, value) in flags {
            if let Some(value) = value {
                loader = loader.value(flag, name, value)?;
            }
        }
        loader.finish()
    }
}

pub(super) fn run(args: ServeArgs) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut config = args.config()?;
    drop(args);
    find_packs(&mut config);
    let _spans = super::logging::start_server(&config.log)?;
    raise_file_limit(config.session.max_sessions);
    App::check(&config).map_err(explain)?;
    let paths = engine_paths(&config)?;
    super::runtime()?.block_on(async {
        let shutdown = super::signal::shutdown()?;
        let app = App::start(config, paths).await.map_err(explain)?;
        // Scripts wait for this line. A server whose output nobody reads serves all the same.
        let _ = writeln!(std::io::stdout(), "listening on {}", app.address());
        tracing::info!(address = %app.address(), seconds = start.elapsed().as_secs_f32(), "ready");
        Ok(app.run(shutdown).await?)
    })
}

/// Where packs are looked for if no setting names a folder.
pub(super) const PACKS: &str = "adapters";

/// Without a folder in the settings, the packs are those of the folder where the server is started.
pub(super) fn find_packs(config: &mut Config) {
    let here = Path::new(PACKS);
    if config.packs.path.as_os_str().is_empty() && holds_packs(here) {
        here.clone_into(&mut config.packs.path);
    }
}

/// Files that the server opens besides its sockets, about.
const OTHER_FILES: u64 = 100;

/// Every socket is an open file: takes as many as the system lets the process have.
fn raise_file_limit(max_sessions: usize) {
    let wanted = max_sessions as u64 + OTHER_FILES;
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit >= wanted => {}
        Ok(limit) => tracing::warn!(
            limit,
            wanted,
            "the hard limit of open files (ulimit -Hn) is too low for session.max_sessions sockets"
        ),
        Err(error) => tracing::warn!(%error, "the limit of open files could not be raised"),
    }
}

/// What the engine runs on; `None`: a script needs nothing.
pub(super) fn engine_paths(config: &Config) -> anyhow::Result<Option<Paths>> {
    match config.engine.kind {
        EngineKind::Model => paths(config).map(Some),
        EngineKind::Scripted => Ok(None),
    }
}

/// Finds, and fetches and imports if need be, what the model runs on.
fn paths(config: &Config) -> anyhow::Result<Paths> {
    let (cache, report) = (Cache::from_env()?, Reporter::new());
    let gpu = config.engine.providers.iter().any(|provider| provider.needs_cuda());
    let options = PullOptions::from_env(gpu);
    let precision = super::pull::precision_for(gpu);
    if config.model.path.as_os_str().is_empty() {
        let assets = ensure(&cache, &options, report)?;
        let model = model_folder(&cache, &assets.model_gguf, precision, report)?;
        return Ok(Paths { library: assets.runtime_lib, model });
    }
    let model = model_folder(&cache, &config.model.path, precision, report)
        .map_err(|error| Usage(format!("setting model.path: {error}")))?;
    Ok(Paths { library: runtime(&cache, &options, report)?, model })
}

/// The same, for those who measure the model.
pub(super) fn model_paths(config: &Config) -> anyhow::Result<Paths> {
    if config.engine.kind != EngineKind::Model {
        let error = "setting engine.kind: bench measures the model, so it must be \"model\"";
        return Err(Usage(error.to_owned()).into());
    }
    paths(config)
}

/// Tells the user's mistakes, which have a setting to change, from the machine's troubles.
pub(super) fn explain(error: StartError) -> anyhow::Error {
    let setting = match &error {
        StartError::Keys(_) => "auth.keys",
        StartError::Journal(_) | StartError::Provision(_) | StartError::Chains(ChainError::State(_)) => {
            "server.data"
        }
        StartError::Chains(_) => "packs.path",
        StartError::Archive(ArchiveError::Ca { .. }) => "history.postgres_ca",
        StartError::Archive(_) => "history.postgres_url",
        // Names its settings itself.
        StartError::Warm(error) => return Usage(error.to_string()).into(),
        StartError::Moderation(error) => return Usage(error.to_string()).into(),
        StartError::Models(error) => return Usage(error.to_string()).into(),
        StartError::Tls(error) => return Usage(error.to_string()).into(),
        StartError::Engine(EngineError::BadModel { .. }) => "model.path",
        StartError::Engine(EngineError::BadScript { .. }) => "engine.script_file",
        StartError::Engine(EngineError::Provider { .. }) => "engine.providers",
        _ => return error.into(),
    };
    Usage(format!("setting {setting}: {error}")).into()
}
