//! The values that numeric settings may take, in one place; the comments of `config/default.toml` quote them.

use std::fmt;

/// A closed or half-open interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Range {
    /// Both ends included.
    Closed(f64, f64),
    /// The lower end excluded.
    Above(f64, f64),
    /// The upper end excluded.
    Below(f64, f64),
}

impl Range {
    pub(super) fn contains(self, value: f64) -> bool {
        match self {
            Self::Closed(low, high) => value >= low && value <= high,
            Self::Above(low, high) => value > low && value <= high,
            Self::Below(low, high) => value >= low && value < high,
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(low, high) => write!(f, "{low} to {high}"),
            Self::Above(low, high) => write!(f, "above {low}, at most {high}"),
            Self::Below(low, high) => write!(f, "at least {low}, below {high}"),
        }
    }
}

/// Every numeric setting by its full name.
pub(super) const RANGES: &[(&str, Range)] = &[
    ("server.reread_ms", Range::Closed(100.0, 3_600_000.0)),
    ("packs.rescan_ms", Range::Closed(100.0, 86_400_000.0)),
    ("auth.leeway_s", Range::Closed(0.0, 600.0)),
    ("provision.epochs", Range::Closed(0.0, 1000.0)),
    ("provision.threads", Range::Closed(1.0, 256.0)),
    ("provision.queue", Range::Closed(1.0, 64.0)),
    ("provision.max_mb", Range::Closed(1.0, 1_048_576.0)),
    ("provision.max_minutes", Range::Closed(1.0, 10_080.0)),
    ("provision.max_memory_mb", Range::Closed(256.0, 1_048_576.0)),
    ("models.local_cost", Range::Closed(0.0, 1_000_000.0)),
    ("models.local_quality", Range::Closed(0.0, 1.0)),
    ("models.first_word_ms", Range::Closed(10.0, 60_000.0)),
    ("models.stall_ms", Range::Closed(10.0, 60_000.0)),
    ("models.retries", Range::Closed(0.0, 10.0)),
    ("models.breaker_failures", Range::Closed(1.0, 1000.0)),
    ("models.breaker_open_ms", Range::Closed(100.0, 3_600_000.0)),
    ("models.remeasure_s", Range::Closed(1.0, 86_400.0)),
    ("engine.script_tokens_per_second", Range::Closed(0.0, 1_000_000.0)),
    ("engine.script_delta_tokens", Range::Closed(1.0, 256.0)),
    ("engine.script_max_turns", Range::Closed(1.0, 1_000_000.0)),
    ("engine.threads", Range::Closed(0.0, 256.0)),
    ("engine.rows", Range::Closed(1.0, 256.0)),
    ("engine.context", Range::Closed(64.0, 131_072.0)),
    ("engine.queue", Range::Closed(1.0, 65_536.0)),
    ("engine.overload_after_ms", Range::Closed(10.0, 600_000.0)),
    ("engine.overload_wait_ms", Range::Closed(0.0, 600_000.0)),
    ("engine.prefill_budget", Range::Closed(1.0, 8192.0)),
    ("engine.max_adapters", Range::Closed(1.0, 65_536.0)),
    ("engine.adapter_memory_mb", Range::Closed(1.0, 65_536.0)),
    ("engine.kept_conversations", Range::Closed(0.0, 65_536.0)),
    ("engine.kv_memory_mb", Range::Closed(16.0, 1_048_576.0)),
    ("turn.max_tokens", Range::Closed(1.0, 4096.0)),
    ("turn.temperature", Range::Above(0.0, 2.0)),
    ("turn.top_p", Range::Above(0.0, 1.0)),
    ("turn.min_p", Range::Below(0.0, 1.0)),
    ("turn.repetition_penalty", Range::Closed(1.0, 2.0)),
    ("turn.speech_rate", Range::Closed(1.0, 1000.0)),
    ("turn.queue_timeout_ms", Range::Closed(100.0, 600_000.0)),
    ("turn.tracks_timeout_ms", Range::Closed(0.0, 60_000.0)),
    ("turn.action_floor", Range::Closed(0.0, 1.0)),
    ("turn.window_min", Range::Closed(1.0, 10.0)),
    ("turn.window_max", Range::Closed(1.0, 10.0)),
    ("npc.max_npcs", Range::Closed(1.0, 1_000_000.0)),
    ("npc.mailbox", Range::Closed(1.0, 1024.0)),
    ("moderation.timeout_ms", Range::Closed(10.0, 60_000.0)),
    ("history.queue", Range::Closed(1.0, 1_000_000.0)),
    ("history.batch", Range::Closed(1.0, 10_000.0)),
    ("history.write_timeout_ms", Range::Closed(100.0, 600_000.0)),
    ("history.max_mb", Range::Closed(0.0, 16_777_216.0)),
    ("history.postgres_connections", Range::Closed(3.0, 64.0)),
    ("history.postgres_timeout_ms", Range::Closed(100.0, 600_000.0)),
    ("history.redis_timeout_ms", Range::Closed(1.0, 60_000.0)),
    ("history.warm_mb", Range::Closed(1.0, 1_048_576.0)),
    ("history.recall_tokens", Range::Closed(0.0, 1024.0)),
    ("history.recall_mb", Range::Closed(1.0, 1_048_576.0)),
    ("session.heartbeat_ms", Range::Closed(100.0, 600_000.0)),
    ("session.identify_timeout_ms", Range::Closed(100.0, 600_000.0)),
    ("session.idle_timeout_ms", Range::Closed(0.0, 86_400_000.0)),
    ("session.frames_per_second", Range::Closed(0.0, 1_000_000.0)),
    ("session.frames_burst", Range::Closed(1.0, 1_000_000.0)),
    ("session.turns_per_minute", Range::Closed(0.0, 1_000_000.0)),
    ("session.turns_burst", Range::Closed(1.0, 1_000_000.0)),
    ("session.max_frame_bytes", Range::Closed(1024.0, 16_777_216.0)),
    ("session.send_queue_bytes", Range::Closed(4096.0, 268_435_456.0)),
    ("session.resume_window_ms", Range::Closed(0.0, 3_600_000.0)),
    ("session.replay_bytes", Range::Closed(1024.0, 268_435_456.0)),
    ("session.replay_total_mb", Range::Closed(1.0, 1_048_576.0)),
    ("session.max_sessions", Range::Closed(1.0, 1_000_000.0)),
    ("session.max_sessions_per_player", Range::Closed(1.0, 1_000_000.0)),
    ("session.max_npcs", Range::Closed(1.0, 10_000.0)),
    ("session.max_turns", Range::Closed(1.0, 10_000.0)),
    ("session.max_text_chars", Range::Closed(1.0, 1_000_000.0)),
    ("session.max_context_chars", Range::Closed(1.0, 1_000_000.0)),
    ("session.max_actions", Range::Closed(1.0, 256.0)),
    ("shutdown.grace_ms", Range::Closed(0.0, 600_000.0)),
    ("shutdown.batch", Range::Closed(1.0, 1_000_000.0)),
    ("log.slow_turn_ms", Range::Closed(0.0, 3_600_000.0)),
    ("log.otlp_share", Range::Closed(0.0, 1.0)),
];

/// The range of a setting; `None` if it is no number.
pub(super) fn of(name: &str) -> Option<Range> {
    RANGES.iter().find(|(key, _)| *key == name).map(|(_, range)| *range)
}
