use serde_json::{Value, json};

use super::*;
use crate::planner::steps::StepShape;

fn report() -> Value {
    let three = |p50: f64| json!({ "p50": p50, "p95": p50, "p99": p50 });
    let result = |rows: u32, adapters: &str, rate: f64| {
        json!({
            "rows": rows, "adapters": adapters, "adapters_each": 0.0, "prompt_tokens": 120.0, "cached_tokens": 20.0,
            "answer_tokens": 48.0, "tokens_per_second": 1.0, "decode_tokens_per_second": rate,
            "first_token_ms": three(50.0 * f64::from(rows)), "inter_token_ms": three(1.0),
            "warm_first_token_ms": three(1.0), "warm_cached_share": 0.9
        })
    };
    json!({
        "version": 1, "via": "engine", "machine": { "cpu": "Some CPU", "cores": 2 }, "model": "some-model",
        "decoder": "native", "prompt_tokens": 120, "answer_tokens": 48, "requests_each": 1, "repeats": 3,
        "fixed_length": true, "int8_ceiling_gops": 640.0,
        "results": [result(1, "none", 200.0), result(8, "none", 800.0), result(8, "different", 400.0)]
    })
}

fn read(report: &Value) -> Result<Measured, InputError> {
    Measured::from_bench("bench.json", &report.to_string())
}

#[test]
fn the_built_in_figures_are_in_range() {
    let built_in = Measured::built_in().unwrap();
    assert_eq!(built_in.model, "smollm2-135m");
    assert!(built_in.assumed(true).runtime_bytes > built_in.assumed(false).runtime_bytes);
    let sixteen = StepShape { tokens: 16, logits: 16, attended: 16 * 150, ..StepShape::default() };
    let rate = 16.0 / built_in.steps.seconds(sixteen);
    assert!((2000.0..3200.0).contains(&rate), "README.md says 2,810 tokens/s of 16 rows, this {rate}");
}

#[test]
fn rates_by_rows_without_adapters_become_steps() {
    let read = read(&report()).unwrap();
    assert_eq!((read.machine.cores, read.machine.int8_ops_per_s), (2, Some(640e9)));
    assert!(read.origin.derived);
    assert_eq!(read.origin.built_in, ["what the gateway adds to a turn", "memory of the runtime"]);
    let at = |tokens| read.steps.seconds(StepShape { tokens, ..StepShape::default() });
    assert_eq!((at(1), at(8), at(100)), (0.005, 0.01, 0.05));
}

#[test]
fn measured_steps_and_memory_are_taken_as_they_are() {
    let mut report = report();
    let times = json!({
        "points": [{ "tokens": 1, "seconds": 0.004 }], "logits_s": 1e-5, "attended_s": 1e-7, "mixed_s": 1e-6,
        "step_overhead_s": 0.001
    });
    report["steps"] = json!({ "rows": 16, "samples": [], "fit": { "times": times, "median_error": 0.1, "largest_error": 0.2 } });
    report["memory"] = json!({ "runtime_bytes": 55 });
    let measured = read(&report).unwrap();
    assert!(!measured.origin.derived);
    assert_eq!(measured.origin.built_in, ["what the gateway adds to a turn"]);
    assert_eq!((measured.steps.logits_s, measured.runtime_bytes), (1e-5, 55));
}

#[test]
fn what_is_wrong_is_said_with_its_field() {
    let said = |change: &dyn Fn(&mut Value)| {
        let mut report = report();
        change(&mut report);
        read(&report).unwrap_err().to_string()
    };
    assert_eq!(said(&|r| r["version"] = json!(2)), "bench.json: version is 2, but must be 1 to 1");
    assert!(said(&|r| r["machine"]["cores"] = json!("two")).contains("machine.cores: "));
    assert!(said(&|r| r["results"][1]["rows"] = json!(0)).contains("results[1].rows is 0"));
    assert!(said(&|r| r["results"] = json!([])).contains("steps is missing"));
    assert!(said(&|r| r["int8_ceiling_gops"] = json!(-1.0)).contains("int8_ceiling_gops is -1"));
    let huge = " ".repeat(MAX_BYTES + 1);
    assert!(Measured::from_bench("huge.json", &huge).unwrap_err().to_string().contains("at most"));
}
