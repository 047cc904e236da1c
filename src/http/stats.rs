//! `/api/v1/stats`: how the server is at a moment.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::AppState;
use crate::engine::{Backend, RowState};
use crate::history::{ArchiveState, History, WarmState};
use crate::metrics::{Kind, TurnMetrics};
use crate::session::Gateway;
use crate::wire::{DoneReason, EngineKind};

/// How the server is. What was counted is so since its start.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Stats {
    server: ServerStats,
    sessions: SessionStats,
    turns: TurnStats,
    engine: EngineStats,
    history: HistoryStats,
}

/// The process.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ServerStats {
    version: &'static str,
    engine: EngineKind,
    /// In milliseconds since 1970, UTC.
    started_ms: u64,
    uptime_ms: u64,
    /// The server goes down.
    draining: bool,
}

/// Players' sessions and their sockets.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionStats {
    /// Those that wait for their client included.
    sessions: usize,
    lost: usize,
    sockets: usize,
    /// Sessions that there may be.
    limit: usize,
}

/// Players' lines.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TurnStats {
    /// Lines that wait or are being answered.
    running: u64,
    /// Lines that were taken up.
    started: u64,
    done: DoneStats,
    generated_tokens: u64,
}

/// Lines that ended, by the reason of `turn.done`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DoneStats {
    stop: u64,
    length: u64,
    cancelled: u64,
    blocked: u64,
    error: u64,
}

/// What computes answers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EngineStats {
    /// `native`, `portable` or `scripted`.
    decoder: &'static str,
    /// One for each row of the batch; `null`: it is free. A script has none.
    rows: Vec<Option<Row>>,
    /// Requests without a row.
    waiting: usize,
    queue_limit: usize,
    steps: u64,
    /// The mean of late steps; `null`: there was none for a while.
    step_ms: Option<f64>,
    /// Tokens of prompts and answers; `null` as above.
    tokens_per_s: Option<f64>,
    /// Lines are refused because the queue stands.
    overloaded: bool,
    /// `null`: there is no such memory.
    kv: Option<KvStats>,
    adapters: Option<AdapterStats>,
}

/// A request that is computed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Row {
    kind: RowKind,
    phase: RowPhase,
    /// No player waits for it.
    background: bool,
    /// Tokens that are held for it.
    tokens: usize,
}

/// What a request wants: an answer, a choice, or nothing but its prompt.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum RowKind {
    Generate,
    Choose,
    Warm,
}

/// What of it is computed: its prompt, or what comes behind.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum RowPhase {
    Prefill,
    Decode,
}

/// Keys and values.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KvStats {
    used_bytes: usize,
    limit_bytes: usize,
    /// Kept after their answers.
    conversations: usize,
}

/// Adapters and their memory.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AdapterStats {
    /// Those that mixes may name.
    registered: usize,
    /// Those in memory.
    resident: usize,
    used_bytes: usize,
    limit_bytes: usize,
}

/// Where what was said is kept.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HistoryStats {
    journal: JournalStats,
    warm: WarmStats,
    archive: ArchiveStats,
}

/// The journal on disk.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JournalStats {
    writable: bool,
    /// Records that wait to be written.
    waiting: usize,
}

/// The last day's memories.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WarmStats {
    state: WarmState,
}

/// The archive in Postgres.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum ArchiveStats {
    /// `off`: the journal is the archive.
    Off { state: &'static str },
    On {
        state: ArchiveState,
        /// Records that it does not have yet.
        waiting: u64,
        /// Age of the oldest of these.
        lag_ms: u64,
    },
}

/// How the server is now. Asking makes nobody wait.
#[utoipa::path(
    get,
    path = "/api/v1/stats",
    operation_id = "get_stats",
    tag = "server",
    responses((status = OK, description = "How it is.", body = Stats))
)]
pub(super) async fn stats(State(state): State<AppState>) -> Json<Stats> {
    let gateway = &state.gateway;
    Json(Stats {
        server: server(gateway),
        sessions: SessionStats {
            sessions: gateway.session_count(),
            lost: gateway.lost_count(),
            sockets: gateway.socket_count(),
            limit: gateway.config().session.max_sessions,
        },
        turns: turns(gateway.turns().metrics()),
        engine: engine(gateway.turns().engine()),
        history: history(gateway.history()),
    })
}

fn server(gateway: &Gateway) -> ServerStats {
    let process = gateway.process();
    ServerStats {
        version: env!("CARGO_PKG_VERSION"),
        engine: gateway.engine_kind(),
        started_ms: process.started_ms,
        uptime_ms: process.uptime_ms(),
        draining: gateway.is_draining(),
    }
}

fn turns(metrics: &TurnMetrics) -> TurnStats {
    let done = |reason| metrics.done.of(reason).get();
    TurnStats {
        running: u64::try_from(metrics.running.get()).unwrap_or(0),
        started: metrics.started.get(),
        done: DoneStats {
            stop: done(DoneReason::Stop),
            length: done(DoneReason::Length),
            cancelled: done(DoneReason::Cancelled),
            blocked: done(DoneReason::Blocked),
            error: done(DoneReason::Error),
        },
        generated_tokens: metrics.generated_tokens.get(),
    }
}

impl From<RowState> for Row {
    fn from(row: RowState) -> Self {
        Self {
            kind: match row.kind {
                Kind::Generate => RowKind::Generate,
                Kind::Choose => RowKind::Choose,
                Kind::Warm => RowKind::Warm,
            },
            phase: if row.decodes { RowPhase::Decode } else { RowPhase::Prefill },
            background: row.background,
            tokens: row.tokens,
        }
    }
}

fn engine(engine: &Backend) -> EngineStats {
    let (watched, counted, limits) = (engine.watched(), engine.stats(), engine.limits());
    let conversations = watched.conversations;
    EngineStats {
        decoder: engine.decoder(),
        rows: watched.rows.into_iter().map(|row| row.map(Row::from)).collect(),
        waiting: counted.waiting,
        queue_limit: limits.queue,
        steps: counted.steps,
        step_ms: watched.step_ms,
        tokens_per_s: watched.tokens_per_s,
        overloaded: watched.is_overloaded,
        kv: watched.kv.map(|kv| KvStats { used_bytes: kv.used, limit_bytes: kv.limit, conversations }),
        adapters: matches!(engine, Backend::Model(_)).then_some(AdapterStats {
            registered: counted.adapters,
            resident: counted.resident_adapters,
            used_bytes: counted.adapter_bytes,
            limit_bytes: limits.adapter_bytes,
        }),
    }
}

fn history(history: &History) -> HistoryStats {
    let journal = history.journal();
    HistoryStats {
        journal: JournalStats { writable: journal.is_writable(), waiting: journal.queued() },
        warm: WarmStats { state: history.warm().state() },
        archive: match history.archive() {
            None => ArchiveStats::Off { state: "off" },
            Some(archive) => ArchiveStats::On {
                state: archive.state(),
                waiting: journal.waiting(),
                lag_ms: journal.archive_lag_ms(),
            },
        },
    }
}
