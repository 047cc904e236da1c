//! Adapters come and go while the engine runs.

use std::collections::HashMap;
use std::path::Path;

use npc_gateway::engine::{Engine, EngineError, Generate, Weighted};
use safetensors::tensor::{Dtype, TensorView};

use super::support::{collect, config, engine, library, model_dir, prompt};

/// A PEFT folder that changes q in every layer by a lot.
fn write_adapter(dir: &Path, inputs: usize) {
    std::fs::write(dir.join("adapter_config.json"), r#"{"peft_type":"LORA","r":2,"lora_alpha":64}"#).unwrap();
    let a: Vec<f32> = (0..2 * inputs).map(|i| ((i * 37 % 101) as f32 - 50.0) / 200.0).collect();
    let b: Vec<f32> = (0..576 * 2).map(|i| ((i * 53 % 103) as f32 - 51.0) / 200.0).collect();
    let mut tensors = HashMap::new();
    for layer in 0..30 {
        let name = |f| format!("base_model.model.model.layers.{layer}.self_attn.q_proj.lora_{f}.weight");
        tensors.insert(
            name("A"),
            TensorView::new(Dtype::F32, vec![2, inputs], bytemuck::cast_slice(&a)).unwrap(),
        );
        tensors
            .insert(name("B"), TensorView::new(Dtype::F32, vec![576, 2], bytemuck::cast_slice(&b)).unwrap());
    }
    safetensors::serialize_to_file(tensors, None, &dir.join("adapter_model.safetensors")).unwrap();
}

fn with(engine: &Engine, id: &str, weight: f32) -> Generate {
    let mix = vec![Weighted { adapter: id.into(), weight }];
    Generate { mix, ..prompt(engine, "The capital of France is") }
}

#[tokio::test(flavor = "multi_thread")]
async fn adapters_are_loaded_used_and_dropped_while_it_runs() {
    // An engine of its own: texts are compared, and the portable decoder's last digits depend on what else
    // is in the batch.
    let engine = &Engine::start(&model_dir(), &library(), &config()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    write_adapter(dir.path(), 576);
    let base = collect(engine.generate(prompt(engine, "The capital of France is")).unwrap()).await.0;

    let info = engine.load_adapter("loud", dir.path()).await.unwrap();
    assert_eq!((info.rank, info.targets.as_slice()), (2, &["q_proj".to_owned()][..]));
    assert!(engine.adapters().iter().any(|a| &*a.id == "loud"));
    let changed = collect(engine.generate(with(engine, "loud", 1.0)).unwrap()).await.0;
    let unchanged = collect(engine.generate(with(engine, "loud", 0.0)).unwrap()).await.0;
    let again = collect(engine.generate(prompt(engine, "The capital of France is")).unwrap()).await.0;
    assert_ne!(changed, base);
    assert_eq!((unchanged, again), (base.clone(), base));

    let twice = engine.load_adapter("loud", dir.path()).await.unwrap_err();
    assert!(twice.to_string().contains("already loaded"), "{twice}");

    // Dropped in the middle of an answer: the answer goes on, the next request cannot name it.
    let mut running = engine.generate(with(engine, "loud", 1.0)).unwrap();
    running.next().await;
    engine.drop_adapter("loud").unwrap();
    assert_eq!(
        engine.generate(with(engine, "loud", 1.0)).unwrap_err(),
        EngineError::UnknownAdapter("loud".into())
    );
    assert_eq!(collect(running).await.0, changed);
    assert_eq!(engine.drop_adapter("loud"), Err(EngineError::UnknownAdapter("loud".into())));
    // The id is free again.
    engine.load_adapter("loud", dir.path()).await.unwrap();
    engine.drop_adapter("loud").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_shape_and_a_damaged_file_are_refused_and_it_goes_on() {
    let engine = engine();
    let dir = tempfile::tempdir().unwrap();
    write_adapter(dir.path(), 64);
    let error = engine.load_adapter("wrong", dir.path()).await.unwrap_err().to_string();
    assert!(error.contains("has shape [2, 64], but [2, 576] is wanted"), "{error}");

    std::fs::write(dir.path().join("adapter_model.safetensors"), b"garbage").unwrap();
    let error = engine.load_adapter("wrong", dir.path()).await.unwrap_err().to_string();
    assert!(error.contains("damaged"), "{error}");
    // A refused adapter leaves its id free and the engine running.
    assert!(!engine.adapters().iter().any(|a| &*a.id == "wrong"));
    let text = collect(engine.generate(prompt(engine, "The capital of France is")).unwrap()).await.0;
    assert!(text.contains("Paris"));
}
