//! The form of `config/instances.toml`, and its checks.

use serde::Deserialize;

use super::super::input::{self, InputError};
use super::{Catalogue, Device, GIB, Instance, MIB, Source};

/// How far an assumed spot price may lie from the share that it is of the price on demand, in dollars an hour.
const CENTS: f64 = 0.0001;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    assumed_spot_share: f64,
    source: Vec<SourceRow>,
    gpu: Vec<GpuRow>,
    processor: Vec<ProcessorRow>,
    instance: Vec<InstanceRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceRow {
    name: String,
    date: String,
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GpuRow {
    name: String,
    memory_mib: u64,
    bandwidth_gb_per_s: f64,
    fp16_tflops: f64,
    int8_tops: f64,
    source: String,
}

/// A socket.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProcessorRow {
    name: String,
    vcpus: u32,
    cores: u32,
    clock_ghz: f64,
    bandwidth_gb_per_s: f64,
    /// Of a core.
    int8_ops_per_cycle: f64,
    /// Of a core.
    fp16_flops_per_cycle: f64,
    source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InstanceRow {
    name: String,
    vcpus: u32,
    memory_gib: u64,
    gpus: u32,
    /// Where there are cards.
    gpu: Option<String>,
    /// Where there are none.
    processor: Option<String>,
    on_demand_usd_per_hour: f64,
    price_source: String,
    spot_usd_per_hour: f64,
    spot_is_assumed: bool,
    spot_source: String,
}

impl File {
    pub(super) fn into_catalogue(self, file: &str) -> Result<Catalogue, InputError> {
        input::number(&format!("{file}: assumed_spot_share"), self.assumed_spot_share, 0.01, 1.0)?;
        let unique = |kind: &str, names: Vec<&str>| input::unique(&format!("{file}: {kind}.name"), names);
        unique("source", self.source.iter().map(|row| row.name.as_str()).collect())?;
        unique("gpu", self.gpu.iter().map(|row| row.name.as_str()).collect())?;
        unique("processor", self.processor.iter().map(|row| row.name.as_str()).collect())?;
        unique("instance", self.instance.iter().map(|row| row.name.as_str()).collect())?;
        for (index, row) in self.source.iter().enumerate() {
            row.check(&format!("{file}: source[{index}]"))?;
        }
        for (index, row) in self.gpu.iter().enumerate() {
            row.check(&format!("{file}: gpu[{index}]"))?;
        }
        for (index, row) in self.processor.iter().enumerate() {
            row.check(&format!("{file}: processor[{index}]"))?;
        }
        let rows = self.instance.iter().enumerate();
        let instances = rows
            .map(|(index, row)| self.instance(&format!("{file}: instance[{index}]"), row))
            .collect::<Result<_, _>>()?;
        Ok(Catalogue { instances, assumed_spot_share: self.assumed_spot_share })
    }

    fn instance(&self, key: &str, row: &InstanceRow) -> Result<Instance, InputError> {
        input::text(&format!("{key}.name"), &row.name)?;
        input::whole(&format!("{key}.vcpus"), u64::from(row.vcpus), 1, 4096)?;
        input::whole(&format!("{key}.memory_gib"), row.memory_gib, 1, 65_536)?;
        input::whole(&format!("{key}.gpus"), u64::from(row.gpus), 0, 64)?;
        let on_demand = row.on_demand_usd_per_hour;
        input::number(&format!("{key}.on_demand_usd_per_hour"), on_demand, 0.0001, 10_000.0)?;
        input::number(&format!("{key}.spot_usd_per_hour"), row.spot_usd_per_hour, 0.0001, on_demand)?;
        let assumed = on_demand * self.assumed_spot_share;
        if row.spot_is_assumed && (row.spot_usd_per_hour - assumed).abs() > CENTS {
            let wanted =
                format!("{assumed:.4}, assumed_spot_share of the price on demand, or not be spot_is_assumed");
            return Err(InputError::bad(format!("{key}.spot_usd_per_hour"), row.spot_usd_per_hour, wanted));
        }
        let source = |field: &str, name: &str| {
            let found = self.source.iter().find(|source| source.name == name);
            found.map(SourceRow::to_source).ok_or_else(|| {
                let known = self.source.iter().map(|source| source.name.as_str()).collect::<Vec<_>>();
                InputError::bad(format!("{key}.{field}"), format!("{name:?}"), known.join(" or "))
            })
        };
        Ok(Instance {
            name: row.name.clone(),
            vcpus: row.vcpus,
            memory_bytes: row.memory_gib * GIB,
            gpus: row.gpus,
            device: self.device(key, row)?,
            on_demand_usd_per_hour: on_demand,
            price_source: source("price_source", &row.price_source)?,
            spot_usd_per_hour: row.spot_usd_per_hour,
            spot_is_assumed: row.spot_is_assumed,
            spot_source: source("spot_source", &row.spot_source)?,
        })
    }

    /// What the model runs on.
    fn device(&self, key: &str, row: &InstanceRow) -> Result<Device, InputError> {
        let missing = |field: &str, known: Vec<&str>| {
            let wanted = format!("one of those in the file: {}", known.join(", "));
            Err(InputError::bad(format!("{key}.{field}"), "none or unknown", wanted))
        };
        let unwanted = |field: &str, wanted: &str| {
            Err(InputError::bad(format!("{key}.{field}"), "there", format!("left out {wanted}")))
        };
        if row.gpus > 0 {
            if row.processor.is_some() {
                return unwanted("processor", "where there are cards");
            }
            let found = self.gpu.iter().find(|gpu| Some(&gpu.name) == row.gpu.as_ref());
            let Some(gpu) = found else {
                return missing("gpu", self.gpu.iter().map(|gpu| gpu.name.as_str()).collect());
            };
            return Ok(gpu.to_device());
        }
        if row.gpu.is_some() {
            return unwanted("gpu", "where gpus is 0");
        }
        let found = self.processor.iter().find(|processor| Some(&processor.name) == row.processor.as_ref());
        let Some(processor) = found else {
            return missing("processor", self.processor.iter().map(|known| known.name.as_str()).collect());
        };
        Ok(processor.share(row.vcpus, row.memory_gib * GIB))
    }
}

impl SourceRow {
    fn check(&self, key: &str) -> Result<(), InputError> {
        input::text(&format!("{key}.name"), &self.name)?;
        input::date(&format!("{key}.date"), &self.date)?;
        input::text(&format!("{key}.text"), &self.text)
    }

    fn to_source(&self) -> Source {
        Source { name: self.name.clone(), date: self.date.clone(), text: self.text.clone() }
    }
}

impl GpuRow {
    fn check(&self, key: &str) -> Result<(), InputError> {
        input::text(&format!("{key}.name"), &self.name)?;
        input::text(&format!("{key}.source"), &self.source)?;
        input::whole(&format!("{key}.memory_mib"), self.memory_mib, 1024, 4_194_304)?;
        input::number(&format!("{key}.bandwidth_gb_per_s"), self.bandwidth_gb_per_s, 1.0, 100_000.0)?;
        input::number(&format!("{key}.fp16_tflops"), self.fp16_tflops, 0.1, 100_000.0)?;
        input::number(&format!("{key}.int8_tops"), self.int8_tops, 0.1, 100_000.0)
    }

    fn to_device(&self) -> Device {
        Device {
            name: self.name.clone(),
            is_gpu: true,
            memory_bytes: self.memory_mib * MIB,
            bandwidth_bytes_per_s: self.bandwidth_gb_per_s * 1e9,
            fp16_flops_per_s: self.fp16_tflops * 1e12,
            int8_ops_per_s: self.int8_tops * 1e12,
            source: self.source.clone(),
        }
    }
}

impl ProcessorRow {
    fn check(&self, key: &str) -> Result<(), InputError> {
        input::text(&format!("{key}.name"), &self.name)?;
        input::text(&format!("{key}.source"), &self.source)?;
        input::whole(&format!("{key}.cores"), u64::from(self.cores), 1, 4096)?;
        input::whole(&format!("{key}.vcpus"), u64::from(self.vcpus), u64::from(self.cores), 8192)?;
        input::number(&format!("{key}.clock_ghz"), self.clock_ghz, 0.5, 10.0)?;
        input::number(&format!("{key}.bandwidth_gb_per_s"), self.bandwidth_gb_per_s, 1.0, 100_000.0)?;
        input::number(&format!("{key}.int8_ops_per_cycle"), self.int8_ops_per_cycle, 1.0, 65_536.0)?;
        input::number(&format!("{key}.fp16_flops_per_cycle"), self.fp16_flops_per_cycle, 1.0, 65_536.0)
    }

    /// What an instance has of it: a fair share, also of the bandwidth, of which it may get more while its neighbours
    /// are idle; several sockets where it has more vCPUs than one.
    fn share(&self, vcpus: u32, memory_bytes: u64) -> Device {
        let share = f64::from(vcpus) / f64::from(self.vcpus);
        let cycles_per_s = share * f64::from(self.cores) * self.clock_ghz * 1e9;
        Device {
            name: self.name.clone(),
            is_gpu: false,
            memory_bytes,
            bandwidth_bytes_per_s: share * self.bandwidth_gb_per_s * 1e9,
            fp16_flops_per_s: cycles_per_s * self.fp16_flops_per_cycle,
            int8_ops_per_s: cycles_per_s * self.int8_ops_per_cycle,
            source: self.source.clone(),
        }
    }
}
