//! Numbers of the input within bounds, and in the whole numbers that a `Problem` has.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use super::problem::{Kind, MICRO, Need, Needs};
use super::{BinType, Market, Memory, PackError};

/// Bounds that keep every sum within a u64: 1 PiB, 1e12 work/s, a million dollars an hour.
const MAX_BYTES: u64 = 1 << 50;
const MAX_WORK: f64 = 1e12;
const MAX_USD: f64 = 1e6;

/// The types that are to be had in a market, in whole numbers.
pub(super) fn kinds(types: &[BinType], market: Market) -> Result<Vec<Kind>, PackError> {
    let mut names = HashSet::new();
    let mut kinds = Vec::with_capacity(types.len());
    for (given, t) in types.iter().enumerate() {
        if !names.insert(&t.name) {
            return Err(PackError::Twice { kind: "instance type", name: t.name.clone() });
        }
        let capacity = work(&t.name, t.work_per_s)?;
        let prices = "above 0 and at most 1e6";
        let range = 1.0 / MICRO..=MAX_USD;
        let demand = t.on_demand_usd_per_hour;
        let demand = number(&t.name, "on_demand_usd_per_hour", demand, prices, range.clone())?;
        let spot = t.spot_usd_per_hour.map(|usd| number(&t.name, "spot_usd_per_hour", usd, prices, range));
        let price = match (market, spot.transpose()?) {
            (Market::OnDemand, _) => demand,
            (Market::Spot, Some(spot)) => spot,
            (Market::Spot, None) => continue,
        };
        kinds.push(Kind {
            host: usize::from(t.gpus == 0),
            places: number(&t.name, "gpus", t.places().into(), "at most 64", 0.0..=64.0)? as usize,
            gpu: if t.gpus == 0 { 0 } else { bytes(&t.name, "gpu_bytes", t.gpu_bytes)? },
            ram: bytes(&t.name, "ram_bytes", t.ram_bytes)?,
            work: (capacity * MICRO + 1e-3).floor() as u64,
            price: (price * MICRO).round() as u64,
            given,
        });
    }
    match (kinds.is_empty(), types.is_empty()) {
        (true, true) => Err(PackError::NoTypes("")),
        (true, false) => Err(PackError::NoTypes(": none has a spot price")),
        (false, _) => Ok(kinds),
    }
}

/// What memory means on servers with GPUs and without.
pub(super) fn needs(owner: &str, memory: Memory) -> Result<Needs, PackError> {
    let gpu = bytes(owner, "gpu_bytes", memory.gpu_bytes)?;
    let ram = bytes(owner, "ram_bytes", memory.ram_bytes)?;
    let cpu = memory.cpu_ram_bytes.map(|ram| bytes(owner, "cpu_ram_bytes", ram)).transpose()?;
    Ok([Some(Need { gpu, ram }), cpu.map(|ram| Need { gpu: 0, ram })])
}

/// Work per second that is a number within bounds.
pub(super) fn work(owner: &str, work_per_s: f64) -> Result<f64, PackError> {
    number(owner, "work_per_s", work_per_s, "from 0 to 1e12", 0.0..=MAX_WORK)
}

fn bytes(owner: &str, field: &'static str, value: u64) -> Result<u64, PackError> {
    if value <= MAX_BYTES {
        return Ok(value);
    }
    Err(PackError::Number { owner: owner.to_owned(), field, value: value as f64, limit: "at most 2^50" })
}

fn number(
    owner: &str,
    field: &'static str,
    value: f64,
    limit: &'static str,
    range: RangeInclusive<f64>,
) -> Result<f64, PackError> {
    // A NaN is in no range.
    if range.contains(&value) {
        return Ok(value);
    }
    Err(PackError::Number { owner: owner.to_owned(), field, value, limit })
}
