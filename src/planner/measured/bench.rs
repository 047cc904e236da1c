//! The JSON of `bench --json`, as far as the planner needs it. Keys that it does not know are other parts of the report.

use serde::Deserialize;

use super::super::input::{self, InputError};
use super::super::steps::{StepPoint, StepTimes};
use super::{MAX_BYTES, Machine, Measured, Origin};

/// Of the report's keys.
const VERSION: u64 = 1;

/// Results that a report may have.
const MAX_RESULTS: u64 = 4096;

#[derive(Deserialize)]
struct Report {
    version: u64,
    machine: MachinePart,
    model: String,
    decoder: String,
    int8_ceiling_gops: Option<f64>,
    #[serde(default)]
    results: Vec<Figures>,
    steps: Option<Steps>,
    memory: Option<Memory>,
}

#[derive(Deserialize)]
struct MachinePart {
    cpu: String,
    cores: u32,
}

#[derive(Deserialize)]
struct Figures {
    rows: u32,
    adapters: String,
    prompt_tokens: f64,
    cached_tokens: f64,
    decode_tokens_per_second: f64,
    first_token_ms: Percentiles,
}

#[derive(Deserialize)]
struct Percentiles {
    p50: f64,
}

#[derive(Deserialize)]
struct Steps {
    fit: Fit,
}

#[derive(Deserialize)]
struct Fit {
    times: StepTimes,
}

#[derive(Deserialize)]
struct Memory {
    runtime_bytes: u64,
}

pub(super) fn parse(file: &str, text: &str, base: Measured) -> Result<Measured, InputError> {
    let wrong = |key: String, reason: String| InputError::Syntax { file: file.to_owned(), key, reason };
    if text.len() > MAX_BYTES {
        return Err(wrong(
            String::new(),
            format!("has {} bytes, but at most {MAX_BYTES} are read", text.len()),
        ));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let report: Report = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let key = if path == "." { String::new() } else { format!("{path}: ") };
        wrong(key, error.inner().to_string())
    })?;
    let key = |field: &str| format!("{file}: {field}");
    input::whole(&key("version"), report.version, VERSION, VERSION)?;
    input::text(&key("machine.cpu"), &report.machine.cpu)?;
    input::whole(&key("machine.cores"), u64::from(report.machine.cores), 1, 4096)?;
    input::text(&key("model"), &report.model)?;
    input::text(&key("decoder"), &report.decoder)?;
    if let Some(gops) = report.int8_ceiling_gops {
        input::number(&key("int8_ceiling_gops"), gops, 0.1, 1e7)?;
    }
    input::whole(&key("results (how many)"), report.results.len() as u64, 0, MAX_RESULTS)?;
    for (index, figures) in report.results.iter().enumerate() {
        figures.check(&key(&format!("results[{index}]")))?;
    }
    // `bench` does not tell what the gateway adds to a turn.
    let mut built_in = vec!["what the gateway adds to a turn"];
    if report.memory.is_none() {
        built_in.push("memory of the runtime");
    }
    let runtime_bytes = report.memory.map_or(base.runtime_bytes, |memory| memory.runtime_bytes);
    input::whole(&key("memory.runtime_bytes"), runtime_bytes, 0, 1 << 40)?;
    let derived = report.steps.is_none();
    let steps = match report.steps {
        Some(steps) => steps.fit.times,
        None => derive(file, &report.results)?,
    };
    steps.check(&key(if derived { "results" } else { "steps.fit.times" }))?;
    Ok(Measured {
        origin: Origin {
            file: file.to_owned(),
            date: String::new(),
            command: "npc-gateway bench --json".into(),
            source: if derived { "rates by rows" } else { "steps, one by one" }.into(),
            derived,
            built_in,
        },
        machine: Machine {
            cpu: report.machine.cpu,
            cores: report.machine.cores,
            int8_ops_per_s: report.int8_ceiling_gops.map(|gops| gops * 1e9),
        },
        model: report.model,
        decoder: report.decoder,
        steps,
        runtime_bytes,
        ..base
    })
}

impl Figures {
    fn check(&self, key: &str) -> Result<(), InputError> {
        input::whole(&format!("{key}.rows"), u64::from(self.rows), 1, 65_536)?;
        input::text(&format!("{key}.adapters"), &self.adapters)?;
        for (field, value, low, high) in [
            ("prompt_tokens", self.prompt_tokens, 1.0, 1e6),
            ("cached_tokens", self.cached_tokens, 0.0, self.prompt_tokens),
            ("decode_tokens_per_second", self.decode_tokens_per_second, 0.0, 1e9),
            ("first_token_ms.p50", self.first_token_ms.p50, 0.0, 1e9),
        ] {
            input::number(&format!("{key}.{field}"), value, low, high)?;
        }
        Ok(())
    }

    fn computed(&self) -> f64 {
        (self.prompt_tokens - self.cached_tokens).max(1.0)
    }
}

/// Times of steps from rates without adapters: a step of so many rows decodes a token of each; a prompt of one row is one
/// step. What attention, logits and adapters take is in these times and not apart.
fn derive(file: &str, results: &[Figures]) -> Result<StepTimes, InputError> {
    let plain: Vec<&Figures> = results.iter().filter(|figures| figures.adapters == "none").collect();
    let mut points: Vec<StepPoint> = plain
        .iter()
        .filter(|figures| figures.decode_tokens_per_second > 0.0)
        .map(|figures| StepPoint {
            tokens: figures.rows as usize,
            seconds: f64::from(figures.rows) / figures.decode_tokens_per_second,
        })
        .collect();
    let prompts = plain.iter().filter(|figures| figures.rows == 1 && figures.first_token_ms.p50 > 0.0);
    points.extend(prompts.map(|figures| StepPoint {
        tokens: figures.computed() as usize,
        seconds: figures.first_token_ms.p50 / 1e3,
    }));
    if points.is_empty() {
        let wanted = "there, or results without adapters to derive them from";
        return Err(InputError::bad(format!("{file}: steps"), "missing", wanted));
    }
    points.sort_by(|a, b| a.tokens.cmp(&b.tokens).then(b.seconds.total_cmp(&a.seconds)));
    points.dedup_by_key(|point| point.tokens);
    // Noise may make a larger step the faster one; the curve does not fall.
    let mut longest: f64 = 0.0;
    for point in &mut points {
        longest = longest.max(point.seconds);
        point.seconds = longest;
    }
    points.truncate(64);
    Ok(StepTimes { points, logits_s: 0.0, attended_s: 0.0, read_s: 0.0, mixed_s: 0.0, step_overhead_s: 0.0 })
}
