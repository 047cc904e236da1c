//! The form of `config/measured.toml`.

use serde::Deserialize;

use super::super::input::{self, InputError};
use super::super::steps::StepTimes;
use super::{Assumed, ColdStart, Machine, Measured, Origin};

/// Of the file's keys.
const VERSION: u64 = 1;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u64,
    date: String,
    command: String,
    source: String,
    derived: bool,
    model: String,
    decoder: String,
    machine: MachineRow,
    steps: StepTimes,
    gateway: Gateway,
    memory: Memory,
    assumed: AssumedRows,
    cold_start: ColdStart,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MachineRow {
    cpu: String,
    cores: u32,
    int8_gops: f64,
    int8_source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Gateway {
    turn_overhead_s: f64,
    source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Memory {
    runtime_bytes: u64,
    source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AssumedRows {
    cpu: Assumed,
    gpu: Assumed,
}

pub(super) fn parse(file: &str, text: &str) -> Result<Measured, InputError> {
    let read: File = input::parse(file, text)?;
    let key = |field: &str| format!("{file}: {field}");
    input::whole(&key("version"), read.version, VERSION, VERSION)?;
    input::date(&key("date"), &read.date)?;
    for (field, value) in [
        ("command", &read.command),
        ("source", &read.source),
        ("model", &read.model),
        ("decoder", &read.decoder),
        ("machine.cpu", &read.machine.cpu),
        ("machine.int8_source", &read.machine.int8_source),
        ("gateway.source", &read.gateway.source),
        ("memory.source", &read.memory.source),
        ("cold_start.source", &read.cold_start.source),
    ] {
        input::text(&key(field), value)?;
    }
    input::whole(&key("machine.cores"), u64::from(read.machine.cores), 1, 4096)?;
    input::number(&key("machine.int8_gops"), read.machine.int8_gops, 0.1, 1e7)?;
    read.steps.check(&key("steps"))?;
    input::number(&key("gateway.turn_overhead_s"), read.gateway.turn_overhead_s, 0.0, 60.0)?;
    input::whole(&key("memory.runtime_bytes"), read.memory.runtime_bytes, 0, 1 << 40)?;
    read.assumed.cpu.check(&key("assumed.cpu"))?;
    read.assumed.gpu.check(&key("assumed.gpu"))?;
    input::whole(&key("cold_start.disk_bytes_per_s"), read.cold_start.disk_bytes_per_s, 1_000_000, 1 << 40)?;
    input::number(&key("cold_start.start_s"), read.cold_start.start_s, 0.0, 3600.0)?;
    input::number(&key("cold_start.boot_s"), read.cold_start.boot_s, 0.0, 86_400.0)?;
    Ok(Measured {
        origin: Origin {
            file: file.to_owned(),
            date: read.date,
            command: read.command,
            source: read.source,
            derived: read.derived,
            built_in: Vec::new(),
        },
        machine: Machine {
            cpu: read.machine.cpu,
            cores: read.machine.cores,
            int8_ops_per_s: Some(read.machine.int8_gops * 1e9),
        },
        model: read.model,
        decoder: read.decoder,
        steps: read.steps,
        runtime_bytes: read.memory.runtime_bytes,
        turn_overhead_s: read.gateway.turn_overhead_s,
        cpu: read.assumed.cpu,
        gpu: read.assumed.gpu,
        cold_start: read.cold_start,
    })
}
