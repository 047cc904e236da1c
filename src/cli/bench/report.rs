//! What was measured, as a table and as JSON.

use std::fmt::Write;

use serde::Serialize;

use super::Workload;
use super::stats::Percentiles;

/// Of the JSON's keys; a reader refuses others.
pub const VERSION: u32 = 1;

/// One run of `bench engine`. Figures are medians over the repeats; units are in the names.
#[derive(Debug, Serialize)]
pub struct Report {
    pub version: u32,
    pub machine: Machine,
    pub model: String,
    /// `native` or `portable`.
    pub decoder: String,
    pub prompt_tokens: u32,
    pub answer_tokens: u32,
    /// Requests that each conversation sent, one after another.
    pub requests_each: u32,
    pub repeats: u32,
    pub prefill_budget: usize,
    pub results: Vec<Figures>,
}

/// What it ran on.
#[derive(Debug, Serialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
}

/// One number of rows with one kind of adapters.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// Conversations at the same time.
    pub rows: usize,
    pub adapters: Workload,
    /// Generated tokens over the whole time, prompts included.
    pub tokens_per_second: f64,
    /// Rows over the median time between two tokens of one row.
    pub decode_tokens_per_second: f64,
    pub first_token_ms: Percentiles,
    pub inter_token_ms: Percentiles,
    /// Of the next line of the same conversation.
    pub warm_first_token_ms: Percentiles,
    /// Share of that line's prompt that was not computed again.
    pub warm_cached_share: f64,
}

impl Machine {
    pub fn read() -> Self {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let cpu = name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned());
        Self { cpu, cores: std::thread::available_parallelism().map_or(1, usize::from) }
    }
}

impl Report {
    pub fn table(&self) -> String {
        let mut out = format!(
            "{} on the {} decoder, {} × {}; {} prompt tokens, {} answered, medians of {}\n\n",
            self.model,
            self.decoder,
            self.machine.cores,
            self.machine.cpu,
            self.prompt_tokens,
            self.answer_tokens,
            self.repeats
        );
        out += "| rows | adapters | tokens/s | decode tokens/s | first token p50 / p95 ms | between tokens p50 / p99 ms | warm first token p50 ms | cached |\n";
        out += "|---|---|---|---|---|---|---|---|\n";
        for f in &self.results {
            let adapters = format!("{:?}", f.adapters).to_lowercase();
            // Writing to a string cannot fail.
            let _ = writeln!(
                out,
                "| {} | {adapters} | {:.0} | {:.0} | {:.0} / {:.0} | {:.1} / {:.1} | {:.0} | {:.0} % |",
                f.rows,
                f.tokens_per_second,
                f.decode_tokens_per_second,
                f.first_token_ms.p50,
                f.first_token_ms.p95,
                f.inter_token_ms.p50,
                f.inter_token_ms.p99,
                f.warm_first_token_ms.p50,
                f.warm_cached_share * 100.0
            );
        }
        out
    }
}
