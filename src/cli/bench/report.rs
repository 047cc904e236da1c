//! What was measured, as a table and as JSON.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use super::conversation::Conversation;
use super::figures::Figures;

/// Of the JSON's keys; a reader refuses others.
pub const VERSION: u32 = 1;

/// One run of `bench`. Figures are medians over the repeats; units are in the names.
#[derive(Debug, Serialize)]
pub struct Report {
    pub version: u32,
    pub via: Via,
    pub machine: Machine,
    /// Of a gateway that runs elsewhere: its address.
    pub model: String,
    /// `native` or `portable`; `unknown` of a gateway that runs elsewhere.
    pub decoder: String,
    /// As asked for; every result says what it was.
    pub prompt_tokens: u32,
    pub answer_tokens: u32,
    /// Requests that each conversation sent, one after another.
    pub requests_each: u32,
    pub repeats: u32,
    /// Every answer went on until it had its tokens. A gateway that runs elsewhere may have ended them earlier.
    pub fixed_length: bool,
    /// Unknown of a gateway that runs elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefill_budget: Option<usize>,
    /// What this machine could do at best, in 10⁹ multiplications and additions of 8-bit integers a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub int8_ceiling_gops: Option<f64>,
    /// 10⁹ multiplications and additions of the linear layers for one token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gop_per_token: Option<f64>,
    pub results: Vec<Figures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation: Option<Conversation>,
}

/// What the requests went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// Calls in the same process.
    Engine,
    /// The WebSocket, sessions and turns.
    Socket,
}

/// What it ran on.
#[derive(Debug, Serialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
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
            "{} on the {} decoder via the {}, {} × {}; {} prompt tokens, {} answered, medians of {}\n",
            self.model,
            self.decoder,
            format!("{:?}", self.via).to_lowercase(),
            self.machine.cores,
            self.machine.cpu,
            self.prompt_tokens,
            self.answer_tokens,
            self.repeats
        );
        // Writing to a string cannot fail.
        if let Some(gops) = self.int8_ceiling_gops {
            let _ = writeln!(out, "int8 ceiling of this machine: {gops:.0} GOP/s");
            for f in &self.results {
                let share = f.decode_tokens_per_second * self.gop_per_token.unwrap_or(0.0) / gops * 100.0;
                let adapters = format!("{:?}", f.adapters).to_lowercase();
                let _ =
                    writeln!(out, "- {} rows, adapters {adapters}: decoding at {share:.0} % of it", f.rows);
            }
        }
        if !self.fixed_length {
            out += "answers end where the model ends them: turn.ignore_end cannot be set on a gateway that runs elsewhere\n";
        }
        out += "\n| rows | adapters | each | prompt / cached / answered | tokens/s | decode tokens/s | first token p50 / p95 / p99 ms | between tokens p50 / p95 / p99 ms | warm first token p50 ms | cached |\n";
        out += "|---|---|---|---|---|---|---|---|---|---|\n";
        for f in &self.results {
            let adapters = format!("{:?}", f.adapters).to_lowercase();
            let _ = writeln!(
                out,
                "| {} | {adapters} | {:.0} | {:.0} / {:.0} / {:.0} | {:.0} | {:.0} | {:.0} / {:.0} / {:.0} | {:.1} / {:.1} / {:.1} | {:.0} | {:.0} % |",
                f.rows,
                f.adapters_each,
                f.prompt_tokens,
                f.cached_tokens,
                f.answer_tokens,
                f.tokens_per_second,
                f.decode_tokens_per_second,
                f.first_token_ms.p50,
                f.first_token_ms.p95,
                f.first_token_ms.p99,
                f.inter_token_ms.p50,
                f.inter_token_ms.p95,
                f.inter_token_ms.p99,
                f.warm_first_token_ms.p50,
                f.warm_cached_share * 100.0
            );
        }
        if let Some(conversation) = &self.conversation {
            out += "\n";
            out += &conversation.table();
        }
        out
    }

    /// Prints the table, and writes the JSON if it is wanted.
    pub fn publish(&self, json: Option<&Path>) -> anyhow::Result<()> {
        print!("{}", self.table());
        if let Some(file) = json {
            let text = serde_json::to_string_pretty(self)?;
            std::fs::write(file, text).with_context(|| file.display().to_string())?;
        }
        Ok(())
    }
}
