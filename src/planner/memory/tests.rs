use proptest::prelude::*;

use super::*;
use crate::planner::models::{Architecture, Models};

fn model(name: &str) -> Architecture {
    Models::built_in().unwrap().get(name).unwrap().architecture
}

fn share(is: u64, wanted: f64) -> f64 {
    (is as f64 / wanted - 1.0).abs()
}

#[test]
fn weights_take_what_their_precision_says() {
    let eight = model("llama-3.1-8b");
    // 8,030,261,248 weights of 2 bytes.
    assert_eq!(Precision::Fp16.scheme().bytes(&eight), 16_060_522_496);
    // 6,979,321,856 in 9 bits; 2 · 525,336,576 and 266,240 in 16.
    assert_eq!(Precision::Int8.scheme().linear_bytes(&eight), 7_851_737_088);
    assert_eq!(Precision::Int8.scheme().bytes(&eight), 7_851_737_088 + 2 * 1_050_673_152 + 532_480);
    assert_eq!(Precision::Int4.scheme().linear_bytes(&eight), 3_925_868_544);
}

#[test]
fn a_70b_model_in_4_bits_is_too_large_for_a_card_of_24_gb() {
    let seventy = model("llama-3.1-70b");
    let scheme = Precision::Int4.scheme();
    // The linear layers alone; with embedding and head in 16 bits 42.7 GB.
    assert!(share(scheme.linear_bytes(&seventy), 38.5e9) < 0.01);
    assert!(share(scheme.bytes(&seventy), 42.7e9) < 0.01);
    let demand = Demand {
        architecture: seventy,
        weights: scheme,
        kv: KvScheme::NATIVE,
        rows: 1,
        context_tokens: 2048,
        adapters: Vec::new(),
        overhead_bytes: 0,
    };
    let error = demand.memory().fit(24_000_000_000).unwrap_err();
    assert!(share(error.missing_bytes(), 19.06e9) < 0.01);
    assert_eq!(
        error.to_string(),
        "it needs 43.1 GB and there are 24.0 GB: 19.1 GB too little (weights 42.7 GB, keys and values 0.346 GB, \
         adapters 0.000 GB, runtime 0.000 GB)"
    );
    assert_eq!(demand.most_rows(24_000_000_000).unwrap_err().capacity_bytes, 24_000_000_000);
}

/// What `import` wrote for the default model, in bytes.
#[test]
fn the_gateways_own_files_are_as_large_as_computed() {
    let small = model("smollm2-135m");
    assert!(share(WeightScheme::gateway_portable(8192).bytes(&small), 153_509_888.0) < 0.001);
    assert!(share(WeightScheme::gateway_native_of_4_bit(8192).bytes(&small), 97_818_880.0) < 0.005);
    assert!(
        WeightScheme::gateway_native(8192).bytes(&small)
            > WeightScheme::gateway_native_of_4_bit(8192).bytes(&small)
    );
}

#[test]
fn keys_and_values_take_whole_pages() {
    let eight = model("llama-3.1-8b");
    assert_eq!(KvScheme::NATIVE.token_bytes(&eight), 67_584);
    assert_eq!(KvScheme::NATIVE.token_bytes(&model("smollm2-135m")), 12_240);
    assert_eq!(KvScheme::NATIVE_BF16.token_bytes(&eight), 133_120);
    assert_eq!(KvScheme::NATIVE.row_bytes(&eight, 1), 16 * 67_584);
    assert_eq!(KvScheme::NATIVE.row_bytes(&eight, 2048), 2048 * 67_584);
    assert_eq!(KvScheme { page_tokens: 1, ..KvScheme::NATIVE }.row_bytes(&eight, 2049), 2049 * 67_584);
}

/// An adapter of the packs: rank 8 on all projections of the last ten layers, 1,646,168 bytes with the file's header.
#[test]
fn a_trained_adapter_is_as_large_as_computed() {
    let small = model("smollm2-135m");
    let shape = AdapterShape { rank: 8, layers: 10, targets: Target::ALL.to_vec(), element_bytes: 2 };
    assert_eq!(shape.parameters(&small), 814_080);
    assert!(share(shape.bytes(&small), 1_646_168.0) < 0.02);
    let attention =
        AdapterShape { rank: 16, layers: 32, targets: Target::ATTENTION.to_vec(), element_bytes: 2 };
    assert_eq!(attention.bytes(&model("llama-3.1-8b")), 27_262_976);
}

#[test]
fn what_an_adapter_may_not_be_is_said() {
    let small = model("smollm2-135m");
    let good = AdapterShape { rank: 8, layers: 30, targets: vec![Target::Q, Target::V], element_bytes: 2 };
    assert!(good.check(&small).is_ok());
    let said = |shape: AdapterShape| shape.check(&small).unwrap_err().to_string();
    assert_eq!(said(AdapterShape { rank: 0, ..good.clone() }), "adapter.rank is 0, but must be 1 to 1024");
    assert_eq!(
        said(AdapterShape { layers: 31, ..good.clone() }),
        "adapter.layers is 31, but must be 1 to 30"
    );
    assert_eq!(
        said(AdapterShape { targets: vec![], ..good.clone() }),
        "adapter.targets is 0, but must be 1 to 7"
    );
    let twice = AdapterShape { targets: vec![Target::Q, Target::Q], ..good };
    assert!(said(twice).starts_with("adapter.targets is \"q_proj\""));
    assert!(Target::named("lm_head").unwrap_err().to_string().contains("there are q_proj, k_proj"));
    assert_eq!(Precision::named("INT4").unwrap(), Precision::Int4);
    assert!(Precision::named("int3").is_err());
}

#[test]
fn gigabytes_are_written_with_the_digits_that_matter() {
    let written = [7_000_000_000, 38_500_000_000, 23_040, 0].map(gigabytes);
    assert_eq!(written, ["7.00 GB", "38.5 GB", "0.000 GB", "0.000 GB"]);
}

prop_compose! {
    fn any_demand()(
        name in prop::sample::select(vec!["llama-3.1-8b", "llama-3.1-70b", "qwen2.5-14b", "smollm2-135m"]),
        precision in prop::sample::select(Precision::ALL.to_vec()),
        rows in 0_u64..=1000, context_tokens in 1_u64..=131_072, rank in 1_u32..=64, adapters in 0_u64..=1000,
        overhead_bytes in 0_u64..=10_000_000_000,
    ) -> Demand {
        let architecture = model(name);
        let shape = AdapterShape {
            rank, layers: architecture.layers, targets: Target::ATTENTION.to_vec(), element_bytes: 2,
        };
        Demand {
            architecture, weights: precision.scheme(), kv: KvScheme::NATIVE, rows, context_tokens,
            adapters: vec![(shape, adapters)], overhead_bytes,
        }
    }
}

proptest! {
    #[test]
    fn a_demand_within_the_limits_adds_up(demand in any_demand()) {
        prop_assert!(demand.check().is_ok());
        let memory = demand.memory();
        let parts = memory.weights_bytes + memory.kv_bytes + memory.adapters_bytes + memory.overhead_bytes;
        prop_assert_eq!(memory.total_bytes(), parts);
        prop_assert_eq!(memory.fit(parts), Ok(0));
        prop_assert_eq!(memory.fit(parts - 1).unwrap_err().missing_bytes(), 1);
    }

    /// As many rows as are said to fit do fit, and one more does not.
    #[test]
    fn the_most_rows_fit_and_one_more_does_not(demand in any_demand(), capacity in 0_u64..=200_000_000_000) {
        let with = |rows| Demand { rows, ..demand.clone() }.memory().fit(capacity).is_ok();
        match demand.most_rows(capacity) {
            Ok(rows) => prop_assert!(rows >= 1 && with(rows) && !with(rows + 1)),
            Err(_) => prop_assert!(!with(1)),
        }
    }

    #[test]
    fn nothing_overflows(rows: u64, context_tokens: u64, overhead_bytes: u64, adapters: u64, page_tokens: u32) {
        let architecture = model("llama-3.1-70b");
        let shape = AdapterShape {
            rank: u32::MAX, layers: u32::MAX, targets: Target::ALL.to_vec(), element_bytes: u32::MAX,
        };
        let demand = Demand {
            architecture, weights: WeightScheme::gateway_native(u64::MAX),
            kv: KvScheme { element_bytes: 4, scale_bytes: 4, page_tokens }, rows, context_tokens, adapters: vec![(shape, adapters)],
            overhead_bytes,
        };
        prop_assert!(demand.memory().total_bytes() > 0);
        let _ = demand.most_rows(u64::MAX);
    }
}
