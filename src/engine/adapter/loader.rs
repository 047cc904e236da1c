//! The thread that brings adapters back into memory.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Sender;
use npc_onnx::ModelFile;

use super::Adapter;
use super::registry::{Registered, Registry};
use crate::config::AdapterPrecision;
use crate::engine::EngineError;
use crate::engine::worker::Command;
use crate::metrics::EngineMetrics;

/// How adapters are read, for the decoder that computes them.
#[derive(Debug, Clone)]
pub struct Reader {
    pub model: Arc<ModelFile>,
    /// For the native decoder, which holds nothing but packed numbers; `None`: plain floats.
    pub precision: Option<AdapterPrecision>,
}

impl Reader {
    /// Reads a PEFT folder. Takes some milliseconds, so not on a thread that others wait for.
    pub fn read(&self, id: &str, dir: &std::path::Path) -> Result<Adapter, EngineError> {
        let adapter = Adapter::load(id, dir, &self.model.graph, self.model.model.layers)?;
        Ok(match self.precision {
            Some(precision) => adapter.into_packed(precision),
            None => adapter,
        })
    }

    fn read_again(&self, registered: &Registered) -> Result<Adapter, EngineError> {
        let mut adapter = self.read(&registered.info.id, &registered.info.path)?;
        registered.check(&adapter)?;
        adapter.version = registered.version;
        Ok(adapter)
    }
}

/// Reads what requests wait for, one after another, until the engine ends.
pub fn run(registry: &Registry, reader: &Reader, commands: &Sender<Command>, metrics: &EngineMetrics) {
    while let Some((version, registered)) = registry.next_to_read() {
        let began = Instant::now();
        let command = match reader.read_again(&registered) {
            Ok(adapter) => {
                metrics.adapter_load.observe(began.elapsed());
                Command::Add(Arc::new(adapter), None)
            }
            Err(error) => {
                metrics.adapter_load_failures.inc();
                tracing::error!(adapter = %registered.info.id, %error, "an adapter did not come back");
                registry.failed(version, &error);
                Command::Failed(version, error)
            }
        };
        // Waits where the channel is full: the engine's thread empties it.
        if commands.send(command).is_err() {
            return;
        }
    }
}
