//! The closed loop for llama.cpp's server: as many threads as clients, each sends its requests one after another.

use std::net::SocketAddr;
use std::thread;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::figures::{Figures, percentiles};
use super::http;
use super::{ARCHETYPES, TASKS, Workload};

const WORDS: [&str; 24] = [
    "king", "river", "sword", "tavern", "winter", "market", "bread", "horse", "tower", "shadow", "garden",
    "merchant", "silver", "forest", "road", "bridge", "captain", "story", "song", "debt", "harvest", "storm",
    "lantern", "iron",
];

/// Adapters of one request's mix.
const MIX: u64 = 4;

/// What every client does.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub workload: Workload,
    pub clients: usize,
    pub requests: usize,
    pub prompt_tokens: usize,
    pub tokens: usize,
}

/// Random numbers for words and mixes (SplitMix64, Steele et al. 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

/// What one request saw, in milliseconds; one event is one token.
struct Seen {
    first_ms: f64,
    gaps_ms: Vec<f64>,
    tokens: u64,
}

/// Runs the loop; prompts are made before its clock starts. `seed`: other ones for every run.
pub fn closed_loop(address: SocketAddr, plan: Plan, seed: u64) -> anyhow::Result<Figures> {
    let mut bodies = Vec::new();
    for client in 0..plan.clients {
        let mut random = Random(seed << 32 | client as u64);
        let of_client: anyhow::Result<Vec<String>> =
            (0..plan.requests).map(|_| body(address, plan, client, &mut random)).collect();
        bodies.push(of_client?);
    }
    let start = Instant::now();
    let clients: Vec<_> = bodies
        .into_iter()
        .map(|bodies| {
            thread::spawn(move || {
                bodies.iter().map(|body| stream(address, body)).collect::<Result<Vec<_>, _>>()
            })
        })
        .collect();
    let mut seen = Vec::new();
    for client in clients {
        seen.extend(client.join().map_err(|_| anyhow::anyhow!("a client panicked"))??);
    }
    let seconds = start.elapsed().as_secs_f64();
    ensure!(
        seen.iter().all(|seen| seen.tokens == plan.tokens as u64),
        "an answer of llama.cpp had not {} tokens",
        plan.tokens
    );
    let tokens: u64 = seen.iter().map(|seen| seen.tokens).sum();
    let first: Vec<f64> = seen.iter().map(|seen| seen.first_ms).collect();
    let gaps: Vec<f64> = seen.iter().flat_map(|seen| seen.gaps_ms.iter().copied()).collect();
    Ok(Figures {
        tokens_per_second: tokens as f64 / seconds,
        first_token_ms: percentiles(&first),
        inter_token_ms: percentiles(&gaps),
    })
}

/// A request with a prompt of exactly so many tokens that begins like no other.
fn body(address: SocketAddr, plan: Plan, client: usize, random: &mut Random) -> anyhow::Result<String> {
    let mut text = format!("{:08x}", random.below(1 << 32));
    for _ in 0..plan.prompt_tokens {
        text.push_str(if random.below(10) < 3 { " the " } else { " " });
        text.push_str(WORDS[random.below(WORDS.len() as u64) as usize]);
    }
    let question = json!({"content": text, "add_special": false}).to_string();
    let answer: Value = serde_json::from_str(&http::request(address, "/tokenize", Some(&question))?.text()?)?;
    let tokens = answer["tokens"].as_array().context("/tokenize answered without tokens")?;
    let prompt = tokens.get(..plan.prompt_tokens).context("the text has too few tokens")?;
    let mut body = json!({
        "prompt": prompt,
        "n_predict": plan.tokens,
        "ignore_eos": true,
        "stream": true,
        "cache_prompt": false,
        "temperature": 0.0,
        "seed": 1,
    });
    if let Some(mix) = mix(plan.workload, client, random) {
        body["lora"] = mix;
    }
    Ok(body.to_string())
}

/// The adapters of one request, as the gateway's own measurement names them.
fn mix(workload: Workload, client: usize, random: &mut Random) -> Option<Value> {
    match workload {
        Workload::None => None,
        Workload::One => Some(json!([{"id": 0, "scale": 1.0}])),
        Workload::Different => {
            let mut tasks: Vec<usize> = (0..TASKS).collect();
            let four = (0..MIX).map(|_| {
                let task = tasks.swap_remove(random.below(tasks.len() as u64) as usize);
                let scale = 0.25 + random.below(750) as f64 / 1000.0;
                json!({"id": client % ARCHETYPES * TASKS + task, "scale": scale})
            });
            Some(Value::Array(four.collect()))
        }
    }
}

/// Sends one request and reads its stream of server-sent events.
fn stream(address: SocketAddr, body: &str) -> anyhow::Result<Seen> {
    let sent = Instant::now();
    let mut answer = http::request(address, "/completion", Some(body))?;
    if answer.status != 200 {
        let status = answer.status;
        bail!("llama.cpp answered {status}: {}", answer.text()?);
    }
    let (mut first_ms, mut gaps_ms, mut last) = (None, Vec::new(), sent);
    let mut buffer = Vec::new();
    while answer.more(&mut buffer)? {
        let now = Instant::now();
        while let Some(end) = buffer.windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = buffer.drain(..end + 2).collect();
            let Some(data) = event.strip_prefix(b"data: ") else { continue };
            let data: Value = serde_json::from_slice(data.trim_ascii())?;
            if data["stop"] == true {
                // The last event has no token of its own.
                let tokens = data["timings"]["predicted_n"].as_u64().context("an end without timings")?;
                let first_ms = first_ms.context("an answer without tokens")?;
                return Ok(Seen { first_ms, gaps_ms, tokens });
            }
            let gap = (now - last).as_secs_f64() * 1e3;
            if first_ms.is_none() {
                first_ms = Some(gap);
            } else {
                gaps_ms.push(gap);
            }
            last = now;
        }
    }
    bail!("a stream of llama.cpp ended without an end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixes_are_four_of_the_clients_archetype() {
        let mut random = Random(7);
        for client in 0..10 {
            let mix = mix(Workload::Different, client, &mut random).unwrap();
            let mut ids: Vec<u64> =
                mix.as_array().unwrap().iter().map(|a| a["id"].as_u64().unwrap()).collect();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), 4);
            assert!(ids.iter().all(|id| *id as usize / TASKS == client % ARCHETYPES), "{ids:?}");
        }
        assert_eq!(mix(Workload::None, 0, &mut random), None);
    }
}
