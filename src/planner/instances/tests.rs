use proptest::prelude::*;

use super::*;

fn built_in() -> Catalogue {
    Catalogue::built_in().unwrap()
}

/// What is said of the built-in file in which one text stands for another.
fn said(old: &str, new: &str) -> String {
    assert!(BUILT_IN.contains(old), "{old}");
    Catalogue::parse("i.toml", &BUILT_IN.replacen(old, new, 1)).unwrap_err().to_string()
}

#[test]
fn all_types_are_there_with_their_sources() {
    let catalogue = built_in();
    let names = catalogue.iter().map(|instance| instance.name.as_str()).collect::<Vec<_>>();
    assert_eq!(
        names,
        [
            "g5.xlarge",
            "g5.2xlarge",
            "g5.4xlarge",
            "g5.12xlarge",
            "g5.48xlarge",
            "g6.xlarge",
            "g6.2xlarge",
            "g6.12xlarge",
            "g6e.xlarge",
            "g6e.2xlarge",
            "p4d.24xlarge",
            "p5.48xlarge",
            "c7i.2xlarge",
            "c7i.8xlarge",
            "c7i.24xlarge",
            "c7a.8xlarge",
            "m7i.4xlarge",
        ]
    );
    for instance in catalogue.iter() {
        assert!(instance.spot_usd_per_hour <= instance.on_demand_usd_per_hour, "{}", instance.name);
        assert!(!instance.device.source.is_empty() && !instance.price_source.text.is_empty());
        assert_eq!(instance.spot_is_assumed, instance.spot_source.name == "reference-design");
    }
    assert!(catalogue.get("g4dn.xlarge").unwrap_err().to_string().starts_with("there is no instance type"));
}

#[test]
fn a_type_has_its_figures() {
    let catalogue = built_in();
    let g5 = catalogue.get("g5.2xlarge").unwrap();
    assert_eq!((g5.vcpus, g5.memory_bytes, g5.gpus, g5.devices()), (8, 32 << 30, 1, 1));
    assert_eq!(g5.device.memory_bytes, 22_888 << 20);
    // A card of 24 GB, in the sense of 10^9 bytes.
    assert!((g5.device.memory_bytes as f64 / 24e9 - 1.0).abs() < 0.001);
    assert_eq!(g5.device.bandwidth_bytes_per_s, 600e9);
    assert_eq!((g5.device.fp16_flops_per_s, g5.device.int8_ops_per_s), (70e12, 140e12));
    assert!((g5.on_demand_usd_per_month(175) - 154_833.0).abs() < 0.01);
    let p5 = catalogue.get("p5.48xlarge").unwrap();
    assert_eq!((p5.devices(), p5.gpu_memory_bytes()), (8, 8 * (81_920 << 20)));
}

/// A third of a socket has a third of its bandwidth and rates; memory is the instance's.
#[test]
fn a_processor_is_shared_by_its_vcpus() {
    let catalogue = built_in();
    let c7i = catalogue.get("c7i.8xlarge").unwrap();
    assert_eq!((c7i.devices(), c7i.gpu_memory_bytes(), c7i.device.memory_bytes), (1, 0, 64 << 30));
    assert!((c7i.device.bandwidth_bytes_per_s / 102.4e9 - 1.0).abs() < 1e-9);
    // 16 cores · 2.4 GHz · 2,048.
    assert!((c7i.device.int8_ops_per_s / 78.643_2e12 - 1.0).abs() < 1e-9);
    // 32 cores · 3.1 GHz · 128.
    let c7a = catalogue.get("c7a.8xlarge").unwrap();
    assert!((c7a.device.int8_ops_per_s / 12.697_6e12 - 1.0).abs() < 1e-9);
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_key() {
    for (old, new, wanted) in [
        (
            "assumed_spot_share = 0.3",
            "assumed_spot_share = 0.0",
            "i.toml: assumed_spot_share is 0, but must be",
        ),
        (
            "assumed_spot_share = 0.3",
            "assumed_spot_share = 0.4",
            "instance[12].spot_usd_per_hour is 0.1071, but",
        ),
        (
            "date = \"2026-01-19\"",
            "date = \"last week\"",
            "i.toml: source[0].date is \"last week\", but must be a day",
        ),
        ("memory_mib = 22888", "memory_mib = 24", "i.toml: gpu[0].memory_mib is 24, but must be 1024 to"),
        ("fp16_tflops = 70.0", "", "i.toml: gpu[0]: missing field `fp16_tflops`"),
        (
            "clock_ghz = 2.4",
            "clock_ghz = 2400",
            "i.toml: processor[0].clock_ghz is 2400, but must be 0.5 to 10",
        ),
        ("vcpus = 4\n", "vcpus = 0\n", "i.toml: instance[0].vcpus is 0"),
        ("vcpus = 4\n", "vcpus = \"four\"\n", "i.toml: instance[0].vcpus: invalid type"),
        ("vcpus = 4\n", "vcpus = 4\ncolour = 1\n", "instance[0].colour: unknown field `colour`"),
        (
            "gpu = \"A10G\"",
            "gpu = \"A10\"",
            "instance[0].gpu is none or unknown, but must be one of those in",
        ),
        (
            "gpu = \"A10G\"",
            "gpu = \"A10G\"\nprocessor = \"x\"",
            "instance[0].processor is there, but must be left out",
        ),
        ("gpus = 1\n", "gpus = 0\n", "instance[0].gpu is there, but must be left out where gpus is 0"),
        (
            "price_source = \"price-list\"",
            "price_source = \"x\"",
            "instance[0].price_source is \"x\", but must be",
        ),
        ("spot_usd_per_hour = 0.40", "spot_usd_per_hour = 2.40", "instance[0].spot_usd_per_hour is 2.40"),
        ("on_demand_usd_per_hour = 1.006", "on_demand_usd_per_hour = nan", "on_demand_usd_per_hour is NaN"),
        ("\"g5.2xlarge\"", "\"g5.xlarge\"", "i.toml: instance.name is \"g5.xlarge\", but must be unlike"),
    ] {
        let message = said(old, new);
        assert!(message.contains(wanted), "{message}\nwanted: {wanted}");
    }
}

proptest! {
    /// Whatever a figure is, the file is read or refused with a message that names a key.
    #[test]
    fn no_figure_makes_reading_panic(
        key in prop::sample::select(vec![
            "memory_mib", "bandwidth_gb_per_s", "int8_tops", "clock_ghz", "cores", "vcpus", "memory_gib", "gpus",
            "on_demand_usd_per_hour", "spot_usd_per_hour",
        ]),
        value in prop_oneof![
            any::<f64>().prop_map(|value| format!("{value:?}")), any::<i64>().prop_map(|value| value.to_string()),
        ],
    ) {
        let start = BUILT_IN.find(&format!("\n{key} = ")).unwrap();
        let end = start + 1 + BUILT_IN[start + 1..].find('\n').unwrap();
        let text = format!("{}\n{key} = {value}{}", &BUILT_IN[..start], &BUILT_IN[end..]);
        if let Err(error) = Catalogue::parse("i.toml", &text) {
            prop_assert!(error.to_string().contains(key) || error.to_string().contains("i.toml"), "{error}");
        }
    }
}
