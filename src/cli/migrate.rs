//! `migrate`: brings the databases up to date, or back.

use clap::{Args, ValueEnum};

use super::Usage;
use super::serve::ServeArgs;
use crate::config::Config;
use crate::history::{MigrationsRun, migrate_journal, migrate_postgres};

#[derive(Debug, Args)]
pub(super) struct MigrateArgs {
    /// Takes the last so many migrations back, with all that the tables they made hold.
    #[arg(long, value_name = "N", requires = "on", value_parser = clap::value_parser!(u16).range(1..))]
    down: Option<u16>,
    /// The one database that is meant; otherwise both are.
    #[arg(long, value_name = "DATABASE")]
    on: Option<Database>,
    #[command(flatten)]
    settings: ServeArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Database {
    /// In the folder server.data.
    Journal,
    /// Of history.postgres_url.
    Postgres,
}

pub(super) fn run(args: &MigrateArgs) -> anyhow::Result<()> {
    let config = args.settings.config()?;
    super::logging::start(&config.log)?;
    let means = |database| args.on.is_none_or(|on| on == database);
    let down = args.down.map(usize::from);
    if means(Database::Journal) {
        let done = migrate_journal(&config.server.data, down)?;
        tell(&config.server.data.display().to_string(), &done);
    }
    if means(Database::Postgres) && has_archive(&config, args.on)? {
        let done = super::runtime()?.block_on(migrate_postgres(&config.history, down))?;
        tell("Postgres", &done);
    }
    Ok(())
}

fn has_archive(config: &Config, on: Option<Database>) -> anyhow::Result<bool> {
    let named = !config.history.postgres_url.is_empty();
    if !named && on.is_some() {
        return Err(Usage("setting history.postgres_url: it names no database".to_owned()).into());
    }
    Ok(named)
}

fn tell(database: &str, done: &MigrationsRun) {
    let (what, names, nothing) = match done {
        MigrationsRun::Up(names) => ("ran", names, "up to date"),
        MigrationsRun::Down(versions) => ("took back", versions, "there was nothing to take back"),
    };
    if names.is_empty() {
        println!("{database}: {nothing}");
    }
    for name in names {
        println!("{database}: {what} {name}");
    }
}
