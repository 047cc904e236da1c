//! `replay`: plays the log of a session again and compares what comes.

mod compare;
mod log;
mod socket;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::Value;
use tokio::time::timeout;

use self::log::SessionLog;
use self::socket::Socket;
use super::serve::{self, ServeArgs};
use crate::app::{App, Paths};
use crate::config::{AuthMode, Config};
use crate::session::From;
use crate::turn::Turns;

/// How long a frame may be waited for.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long it is listened whether more comes than the log has.
const SILENCE: Duration = Duration::from_millis(500);

/// Plays the log of a session again, on a server of its own with the same settings, and compares the frames.
#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// A file of the folder session.record.
    log: PathBuf,
    /// Settings, as for `serve`: those with which the log was written.
    #[command(flatten)]
    serve: ServeArgs,
}

pub(super) fn run(args: &ReplayArgs) -> anyhow::Result<()> {
    let log = SessionLog::read(&args.log)?;
    let data = tempfile::tempdir().context("no folder for the server's data")?;
    let mut config = args.serve.config()?;
    serve::find_packs(&mut config);
    // A server that has met nobody, for this alone.
    data.path().clone_into(&mut config.server.data);
    config.server.listen = ([127, 0, 0, 1], 0).into();
    config.server.tls_cert = PathBuf::new();
    config.server.tls_key = PathBuf::new();
    config.auth.mode = AuthMode::Dev;
    config.session.record = PathBuf::new();
    config.session.frames_per_second = 0;
    config.session.turns_per_minute = 0;
    config.history.postgres_url = String::new();
    config.history.redis_url = String::new();
    super::logging::start(&config.log)?;
    let paths = serve::engine_paths(&config)?;
    let different = super::runtime()?.block_on(play(config, paths, &log))?;
    match different {
        None => {
            println!(
                "the same: {} frames of the client, {} of the server",
                log.count(From::Client),
                log.count(From::Server)
            );
            Ok(())
        }
        Some(difference) => bail!("the frames differ: {difference}"),
    }
}

/// Plays a log; returns where what comes differs from it.
async fn play(config: Config, paths: Option<Paths>, log: &SessionLog) -> anyhow::Result<Option<String>> {
    let app = App::start(config, paths).await.map_err(serve::explain)?;
    let (address, turns) = (app.address(), Arc::clone(app.turns()));
    let stop = tokio_util::sync::CancellationToken::new();
    let serving = tokio::spawn({
        let stop = stop.clone();
        async move { app.run(stop).await }
    });
    let came = session(&format!("ws://{address}/ws"), log, &turns).await;
    stop.cancel();
    let _ = serving.await;
    Ok(compare::difference(&log.server_frames(), &came?))
}

/// One session as in the log; returns the frames that came.
async fn session(url: &str, log: &SessionLog, turns: &Turns) -> anyhow::Result<Vec<Value>> {
    let mut link = Socket::open(url, &log.player).await?;
    let mut came: Vec<Value> = vec![link.ready.clone()];
    let mut wanted = 0;
    for logged in &log.frames {
        match logged.from {
            From::Server => wanted += 1,
            From::Client => {
                // As the client saw as much when it sent this.
                while came.len() < wanted {
                    let next = timeout(PATIENCE, link.next()).await;
                    let next = next
                        .with_context(|| format!("frame {} of the server has not come", came.len() + 1))??;
                    came.push(next);
                }
                // What fades with time has faded as far as it had.
                turns.stop_clock(logged.at_ms);
                link.send(&logged.frame).await?;
            }
        }
    }
    while came.len() < wanted {
        let Ok(next) = timeout(PATIENCE, link.next()).await else { break };
        came.push(next?);
    }
    while let Ok(next) = timeout(SILENCE, link.next()).await {
        came.push(next?);
    }
    Ok(came)
}
