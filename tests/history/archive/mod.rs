//! Postgres as the archive: real servers, stopped, slow, held, refused.

mod drain;
mod erase;
mod lease;
mod migrations;
mod model;
mod outage;
mod start;
mod tiers;
mod tls;
mod watched;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use npc_gateway::config::Config;
use npc_gateway::history::{Body, Heard, History, HotLimits, Kind, Record};
use npc_gateway::wire::{TimingInfo, UsageInfo};
use npc_stores::Postgres;
use serde_json::Value;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::gateway::Gateway;

pub const QUICK: [&str; 2] = ["engine.script_tokens_per_second=0", "log.level=off"];

/// A server, a database in it, and a connection to that.
pub struct Archive {
    pub postgres: Postgres,
    pub database: String,
    pub client: Client,
}

impl Archive {
    pub async fn start() -> Self {
        let postgres = Postgres::start();
        let database = postgres.database().await;
        let client = postgres.client(&database).await;
        Self { postgres, database, client }
    }

    /// The setting that names it.
    pub fn setting(&self) -> String {
        setting(&self.postgres.url(&self.database))
    }

    /// The setting that names it behind a proxy.
    pub fn setting_at(&self, address: SocketAddr) -> String {
        setting(&Postgres::url_at(address, &self.database))
    }

    /// Everything in it by (npc, player, turn), with what was said and how much of it was heard.
    pub async fn rows(&self) -> Vec<Row> {
        rows(&self.client).await
    }
}

pub fn setting(url: &str) -> String {
    format!("history.postgres_url={url}")
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    pub npc: String,
    pub player: String,
    pub turn: String,
    pub id: Uuid,
    pub said: String,
    pub heard: Option<i64>,
}

pub async fn rows(client: &Client) -> Vec<Row> {
    let query =
        "SELECT npc, player, body->>'turn', id::text, said, heard FROM npc_interactions ORDER BY 1, 2, 3, 4";
    let rows = client.query(query, &[]).await.unwrap();
    let row = |row: &tokio_postgres::Row| Row {
        npc: row.get(0),
        player: row.get(1),
        turn: row.get(2),
        id: row.get::<_, String>(3).parse().unwrap(),
        said: row.get(4),
        heard: row.get(5),
    };
    rows.iter().map(row).collect()
}

/// Waits until `readyz` says that Postgres is in this state and that everything is there.
pub fn until_drained(gateway: &Gateway) {
    gateway.until(|gateway| {
        let (_, state) = gateway.get("/readyz");
        let drained = state["postgres"]["state"] == "up" && state["postgres"]["waiting"] == 0;
        if drained { Ok(()) } else { Err(state) }
    });
}

pub fn until_state_is(gateway: &Gateway, wanted: &str) {
    gateway.until(|gateway| {
        let (status, state) = gateway.get("/readyz");
        assert_eq!(status, 200, "Postgres does not make it unready: {state}");
        if state["postgres"]["state"] == wanted { Ok(()) } else { Err(state) }
    });
}

/// The tiers, without a gateway.
pub fn open(data: &Path, sets: &[&str]) -> Arc<History> {
    let sets: Vec<_> = sets.iter().map(|&set| set.to_owned()).collect();
    let config = Config::load(None, std::iter::empty(), &sets).unwrap();
    let limits = HotLimits { conversations: 100, window_min: 5, window_max: 10 };
    History::open(data, &config.history, limits).unwrap()
}

/// Closes them, which blocks.
pub async fn close(history: Arc<History>) {
    tokio::task::spawn_blocking(move || history.close()).await.unwrap();
}

/// Waits until the archive has everything.
pub async fn drained(history: &History) {
    until("everything is archived", || {
        history.journal().waiting() == 0
            && history.archive().unwrap().state() == npc_gateway::history::ArchiveState::Up
    })
    .await;
}

pub async fn until(what: &str, done: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !done() {
        assert!(start.elapsed().as_secs() < 120, "not in two minutes: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

pub fn record(npc: &str, player: &str, turn: &str, said: &str) -> Record {
    Record {
        id: Uuid::now_v7(),
        kind: Kind::Dialogue,
        npc: npc.into(),
        player: player.into(),
        heard: Heard { said: said.into(), chars: None },
        body: Body {
            session: Some("s".into()),
            usage: UsageInfo { prompt_tokens: 3, cached_tokens: 1, generated_tokens: 2 },
            timing: TimingInfo { queue_ms: 1, ttft_ms: 2, total_ms: 3 },
            importance: Some(0.1),
            ..Body::happened(turn, "vampire", "Hi".into(), 1_790_000_000_000)
        },
    }
}

pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{value}"))
}

/// Waits until what is in Postgres is as wanted.
pub async fn until_rows(client: &Client, wanted: impl Fn(&[Row]) -> bool) {
    let start = std::time::Instant::now();
    loop {
        let rows = rows(client).await;
        if wanted(&rows) {
            return;
        }
        assert!(start.elapsed().as_secs() < 120, "not in two minutes: {rows:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
