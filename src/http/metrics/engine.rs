//! The engine, and models elsewhere.

use std::fmt;

use crate::engine::{Backend, RowState};
use crate::metrics::{Kind, Label, Page};
use crate::turn::Turns;

/// States of a model.
const AVAILABLE: &str = "available";
const STATES: [&str; 3] = [AVAILABLE, "circuit_open", "busy"];

pub(super) fn write(engine: &Backend, page: &mut Page<'_>) -> fmt::Result {
    let stats = engine.stats();
    let watched = engine.watched();
    let limits = engine.limits();
    page.flag("engine_running", "Whether the engine takes requests", engine.is_running())?;
    page.gauge("engine_rows", "Rows of the batch", limits.rows)?;
    let mut rows = Vec::new();
    for kind in Kind::ALL {
        for (phase, decodes) in [("prefill", false), ("decode", true)] {
            for (background, is_background) in [("no", false), ("yes", true)] {
                let is = |row: &&RowState| {
                    (row.kind, row.decodes, row.background) == (*kind, decodes, is_background)
                };
                let count = watched.rows.iter().flatten().filter(is).count();
                let labels = vec![("kind", kind.value()), ("phase", phase), ("background", background)];
                rows.push((labels, count as f64));
            }
        }
    }
    page.gauges("engine_rows_busy", "Rows that are taken", rows)?;
    page.gauge("engine_queue_length", "Requests that wait for a row", stats.waiting)?;
    page.gauge("engine_queue_limit", "How many may", limits.queue)?;
    let (player, background) = watched.queue_tokens;
    let tokens = [("player", player), ("background", background)]
        .map(|(class, tokens)| (vec![("class", class)], tokens as f64));
    page.gauges("engine_queue_tokens", "Tokens that those who wait may take", tokens)?;
    let wait = watched.expected_wait_ms as f64 / 1e3;
    page.float("engine_expected_wait_seconds", "What a line that came now would wait for a row", wait)?;
    let overloaded = watched.is_overloaded;
    page.flag("engine_overloaded", "Whether lines are refused because the queue stands", overloaded)?;
    page.count("engine_late", "Requests that had no row at their deadline", stats.late)?;
    page.count("engine_abandoned", "Requests whose caller went away", stats.abandoned)?;
    page.count("engine_steps", "Steps", stats.steps)?;
    let kv = watched.kv;
    page.gauge(
        "engine_kv_used_bytes",
        "Memory of keys and values that is taken",
        kv.map_or(0, |kv| kv.used),
    )?;
    page.gauge("engine_kv_limit_bytes", "How much may be", kv.map_or(0, |kv| kv.limit))?;
    let kept = watched.conversations;
    page.gauge("engine_kept_conversations", "Conversations kept after an answer", kept)?;
    page.gauge("engine_kept_conversations_limit", "How many may be", limits.kept_conversations)?;
    page.gauge("engine_adapters_registered", "Adapters that mixes may name", stats.adapters)?;
    page.gauge("engine_adapters_registered_limit", "How many may be", limits.adapters)?;
    page.gauge("engine_adapters_resident", "Adapters in memory", stats.resident_adapters)?;
    page.gauge("engine_adapter_used_bytes", "Their memory", stats.adapter_bytes)?;
    page.gauge("engine_adapter_limit_bytes", "How much it may be", limits.adapter_bytes)?;
    page.count("engine_adapter_loads", "Adapters read because a request named them", stats.adapter_reads)?;
    engine.metrics().write(page)
}

/// Models that may answer lines without adapters.
pub(super) fn models(turns: &Turns, page: &mut Page<'_>) -> fmt::Result {
    let told = turns.models().unwrap_or_default();
    let metrics: Vec<_> = turns.model_metrics().collect();
    let models = || told.iter().zip(&metrics);
    let requests = models().flat_map(|(model, metrics)| {
        let labels = |outcome| vec![("model", model.name.as_str()), ("outcome", outcome)];
        [(labels("answered"), metrics.answers.get()), (labels("failed"), metrics.failures.get())]
    });
    page.counts("model_requests", "Lines that a model was asked to answer", requests)?;
    let states = told.iter().flat_map(|model| {
        let now = match model.closed {
            None => AVAILABLE,
            Some("busy") => "busy",
            Some(_) => "circuit_open",
        };
        STATES.map(|state| {
            (vec![("model", model.name.as_str()), ("state", state)], f64::from(u8::from(state == now)))
        })
    });
    page.gauges("model_state", "The state that it is in", states)?;
    let words = models().map(|(model, metrics)| (vec![("model", model.name.as_str())], &metrics.first_word));
    page.histograms("model_first_word_seconds", "Time from asking a model to its first word", words)?;
    let pace =
        told.iter().map(|model| (vec![("model", model.name.as_str())], model.tokens_per_s.unwrap_or(0.0)));
    page.gauges("model_tokens_per_second", "Its pace, as measured lately", pace)
}
