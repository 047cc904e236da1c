//! A gateway of its own to measure, in this process.

use anyhow::Context;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::{App, Paths, StartError};
use crate::config::{AuthMode, Config};
use crate::engine::Backend;

/// A gateway that runs on a loopback port.
pub struct Host {
    pub url: String,
    pub model: String,
    pub decoder: &'static str,
    pub engine: Backend,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), StartError>>,
    /// Of everything that it writes; goes with it.
    _data: TempDir,
}

impl Host {
    /// Starts it with these settings, but for what makes it a neighbour's business: address, data, tokens, and
    /// the limits that keep one client from taking too much.
    pub async fn start(mut config: Config, paths: Paths) -> anyhow::Result<Self> {
        let data = tempfile::tempdir()?;
        config.server.listen = ([127, 0, 0, 1], 0).into();
        data.path().clone_into(&mut config.server.data);
        config.auth.mode = AuthMode::Dev;
        (config.server.tls_cert, config.server.tls_key) = Default::default();
        (config.session.frames_per_second, config.session.turns_per_minute) = (0, 0);
        config.session.heartbeat_ms = 600_000;
        config.session.max_sessions = config.session.max_sessions.max(10_000);
        config.session.max_npcs = config.session.max_npcs.max(64);
        config.session.max_text_chars = config.session.max_text_chars.max(1_000_000);
        config.session.max_frame_bytes = config.session.max_frame_bytes.max(1 << 23);
        config.session.send_queue_bytes = config.session.send_queue_bytes.max(1 << 20);
        config.npc.max_npcs = config.npc.max_npcs.max(10_000);
        let app = App::start(config, Some(paths)).await?;
        let url = format!("ws://{}/ws", app.address());
        let (model, decoder) = match app.engine() {
            Backend::Model(engine) => (engine.model().name.clone(), engine.decoder()),
            Backend::Scripted(_) => ("none".to_owned(), "scripted"),
        };
        let engine = app.engine().clone();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(app.run(shutdown.clone()));
        Ok(Self { url, model, decoder, engine, shutdown, task, _data: data })
    }

    /// Ends it, and the engine with it.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        self.task.await.context("the gateway panicked")??;
        Ok(())
    }
}
