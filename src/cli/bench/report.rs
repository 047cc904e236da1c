//! What was measured, as a table and as JSON.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use super::conversation::Conversation;
use super::figures::Figures;
use super::loading::Loading;
use super::memory::Memory;
use super::registered::Registered;
use super::steps::Steps;
use super::swap::Swap;
use super::switching::Switching;
use super::traces::Traces;
use super::training::Training;
use super::turn::Turn;

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
    /// What this machine could do at best in vectors, in 10⁹ multiplications and additions of 8-bit integers a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub int8_ceiling_gops: Option<f64>,
    /// The same in tiles (AMX), where the CPU has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub int8_tile_ceiling_gops: Option<f64>,
    /// 10⁹ multiplications and additions of the linear layers for one token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gop_per_token: Option<f64>,
    pub results: Vec<Figures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation: Option<Conversation>,
    #[serde(flatten)]
    pub parts: Parts,
}

/// What else of the engine was measured.
#[derive(Debug, Default, Serialize)]
pub struct Parts {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn: Option<Turn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switching: Option<Switching>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loading: Option<Loading>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<Swap>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training: Option<Training>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registered: Option<Registered>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<Steps>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Traces>,
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

impl Parts {
    fn tables(&self) -> impl Iterator<Item = String> {
        let tables = [
            self.turn.as_ref().map(Turn::table),
            self.switching.as_ref().map(Switching::table),
            self.loading.as_ref().map(Loading::table),
            self.swap.as_ref().map(Swap::table),
            self.training.as_ref().map(Training::table),
            self.registered.as_ref().map(Registered::table),
            self.steps.as_ref().map(Steps::table),
            self.memory.as_ref().map(Memory::table),
            self.tracing.as_ref().map(Traces::table),
        ];
        tables.into_iter().flatten()
    }
}

impl Report {
    pub fn table(&self) -> String {
        let mut out = format!(
            "{} on the {} decoder via the {}, {} × {}\n",
            self.model,
            self.decoder,
            format!("{:?}", self.via).to_lowercase(),
            self.machine.cores,
            self.machine.cpu,
        );
        if !self.results.is_empty() {
            self.rows(&mut out);
        }
        let conversation = self.conversation.as_ref().map(Conversation::table);
        for table in conversation.into_iter().chain(self.parts.tables()) {
            out += "\n";
            out += &table;
        }
        out
    }

    /// The table of [`Self::results`].
    fn rows(&self, out: &mut String) {
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "{} prompt tokens, {} answered, medians of {}",
            self.prompt_tokens, self.answer_tokens, self.repeats
        );
        if let Some(gops) = self.int8_ceiling_gops {
            let _ = writeln!(out, "int8 ceiling of this machine: {gops:.0} GOP/s");
            if let Some(gops) = self.int8_tile_ceiling_gops {
                let _ = writeln!(
                    out,
                    "(in vectors; in tiles, which the products use from nine rows on: {gops:.0} GOP/s)"
                );
            }
            for f in &self.results {
                let share = f.decode_tokens_per_second * self.gop_per_token.unwrap_or(0.0) / gops * 100.0;
                let adapters = format!("{:?}", f.adapters).to_lowercase();
                let _ =
                    writeln!(out, "- {} rows, adapters {adapters}: decoding at {share:.0} % of it", f.rows);
            }
        }
        if !self.fixed_length {
            *out += "answers end where the model ends them: turn.ignore_end cannot be set on a gateway that runs elsewhere\n";
        }
        *out += "\n| rows | adapters | each | prompt / cached / answered | tokens/s | decode tokens/s | first token p50 / p95 / p99 ms | between tokens p50 / p95 / p99 ms | warm first token p50 ms | cached |\n";
        *out += "|---|---|---|---|---|---|---|---|---|---|\n";
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_neither_in_the_table_nor_in_the_json() {
        let turn = Turn {
            turns: 60,
            prompt_tokens: 120,
            alone_first_token_ms: 50.0,
            together_first_token_ms: 60.0,
            first_token_ratio: 1.2,
            last_choice_token: 6.0,
            last_choice_token_most: 7.0,
            alone_line_ms: 200.0,
            together_line_ms: 300.0,
        };
        let report = Report {
            version: VERSION,
            via: Via::Engine,
            machine: Machine { cpu: "some CPU".to_owned(), cores: 2 },
            model: "some model".to_owned(),
            decoder: "native".to_owned(),
            prompt_tokens: 120,
            answer_tokens: 48,
            requests_each: 4,
            repeats: 3,
            fixed_length: true,
            prefill_budget: Some(128),
            int8_ceiling_gops: None,
            int8_tile_ceiling_gops: None,
            gop_per_token: None,
            results: Vec::new(),
            conversation: None,
            parts: Parts { turn: Some(turn), ..Parts::default() },
        };
        let table = report.table();
        assert!(table.contains("| with four choices | 60.0, 1.20 times as long | 300 | 6 / 7 |"), "{table}");
        assert!(!table.contains("decode tokens/s") && !table.contains("mixes of"), "{table}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["turn"]["first_token_ratio"], 1.2);
        assert!(
            ["switching", "loading", "swap", "registered", "steps", "memory"]
                .iter()
                .all(|part| json.get(part).is_none())
        );
    }
}
