//! What provisioning works with, from the settings.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use super::StartError;
use crate::config::Config;
use crate::provision::{Limits, Provisioner, Registrar, Setup, TrainerCommand};

/// Opens what is stored of provisioning, which blocks. `registrar`: who has turns use what was trained.
/// `model`: the folder that is served.
pub(super) async fn open(
    config: &Config,
    model: &Path,
    registrar: Arc<dyn Registrar>,
) -> Result<Arc<Provisioner>, StartError> {
    let setup = setup(config, model).map_err(StartError::Provision)?;
    let opened = tokio::task::spawn_blocking(move || Provisioner::open(setup, registrar)).await;
    opened.map_err(|error| StartError::Loader(error.to_string()))?.map_err(StartError::Provision)
}

/// How the trainer is run beside a server with these settings.
///
/// # Errors
/// The program does not know where it lies.
pub fn trainer(config: &Config, model: &Path) -> std::io::Result<TrainerCommand> {
    let settings = &config.provision;
    let (program, arguments) = if settings.trainer.as_os_str().is_empty() {
        let memory = settings.max_memory_mb.to_string();
        (std::env::current_exe()?, vec!["background".into(), "--max-memory-mb".into(), memory.into()])
    } else {
        (settings.trainer.clone(), Vec::new())
    };
    let threads = settings.threads.to_string();
    let mut variables: Vec<(OsString, OsString)> = vec![
        ("RAYON_NUM_THREADS".into(), threads.clone().into()),
        ("OMP_NUM_THREADS".into(), threads.into()),
        // Its helpers would spin while they wait, beside a server that wants the cores.
        ("CANDLE_NUM_THREADS".into(), "1".into()),
    ];
    // The weights that are served are those that are trained on.
    variables.push(("NPC_GATEWAY__MODEL__PATH".into(), model.into()));
    Ok(TrainerCommand {
        program,
        arguments,
        variables,
        packs: config.packs.path.clone(),
        epochs: settings.epochs,
    })
}

fn setup(config: &Config, model: &Path) -> std::io::Result<Setup> {
    let settings = &config.provision;
    let packs = &config.packs.path;
    Ok(Setup {
        data: config.server.data.clone(),
        packs: (!packs.as_os_str().is_empty()).then(|| packs.clone()),
        trainer: trainer(config, model)?,
        limits: Limits::new(settings),
        queue: settings.queue,
        auto: settings.auto,
    })
}
