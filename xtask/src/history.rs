//! `cargo xtask bench-history`: interactions through all tiers, without an archive and with a Postgres of its own.

use std::process::Command;

use clap::Args;
use npc_stores::Postgres;

use crate::stores::Stores;
use crate::{root, server, step};

#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Passed on to `npc-gateway bench history`.
    #[arg(last = true)]
    rest: Vec<String>,
}

pub fn run(args: &HistoryArgs) -> anyhow::Result<()> {
    let stores = Stores::get()?;
    let gateway = server::gateway(None)?;
    let data = root().join("target/bench-history");
    let bench = |archive: Option<&str>| {
        let mut command = Command::new(&gateway);
        command.args(["bench", "history", "--data"]).arg(&data).args(&args.rest);
        // By its name alone: the command is shown.
        if let Some(url) = archive {
            command.env("NPC_GATEWAY__HISTORY__POSTGRES_URL", url);
        }
        step(command.env("NPC_GATEWAY__LOG__LEVEL", "warn"))
    };
    println!("the journal is the archive:");
    bench(None)?;
    let postgres = Postgres::at(&stores.postgres, true);
    println!("Postgres is the archive, on the same machine, with fsync:");
    bench(Some(&postgres.url("postgres")))
}
