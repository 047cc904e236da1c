use std::collections::HashMap;
use std::path::Path;

use npc_onnx::{AdapterGroup, GraphInfo, Projection};
use safetensors::tensor::{Dtype, TensorView};

use super::*;

/// A model with two layers: q and v side by side (4 → 4 + 2), and down (6 → 4).
fn graph() -> GraphInfo {
    let projection = |name: &str, offset, size| Projection { name: name.into(), offset, size };
    GraphInfo {
        groups: vec![
            AdapterGroup {
                name: "qkv".into(),
                inputs: 4,
                outputs: 6,
                projections: vec![projection("q_proj", 0, 4), projection("v_proj", 4, 2)],
            },
            AdapterGroup {
                name: "down".into(),
                inputs: 6,
                outputs: 4,
                projections: vec![projection("down_proj", 0, 4)],
            },
        ],
    }
}

const CONFIG: &str = r#"{"peft_type":"LORA","r":2,"lora_alpha":4,"target_modules":["q_proj","v_proj"]}"#;

/// Tensors of rank 2 on q (layer 0) and v (layer 1).
fn tensors() -> Vec<(String, Vec<usize>)> {
    let name = |layer: usize, module: &str, factor: &str| {
        format!("base_model.model.model.layers.{layer}.self_attn.{module}.lora_{factor}.weight")
    };
    vec![
        (name(0, "q_proj", "A"), vec![2, 4]),
        (name(0, "q_proj", "B"), vec![4, 2]),
        (name(1, "v_proj", "A"), vec![2, 4]),
        (name(1, "v_proj", "B"), vec![2, 2]),
    ]
}

fn write(dir: &Path, config: &str, tensors: &[(String, Vec<usize>)]) {
    std::fs::write(dir.join("adapter_config.json"), config).unwrap();
    let data: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, shape)| (0..shape.iter().product()).flat_map(|i: usize| (i as f32).to_le_bytes()).collect())
        .collect();
    let views: HashMap<_, _> = tensors
        .iter()
        .zip(&data)
        .map(|((name, shape), data)| {
            (name.clone(), TensorView::new(Dtype::F32, shape.clone(), data).unwrap())
        })
        .collect();
    safetensors::serialize_to_file(views, None, &dir.join("adapter_model.safetensors")).unwrap();
}

fn load(config: &str, tensors: &[(String, Vec<usize>)]) -> Result<Adapter, String> {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), config, tensors);
    Adapter::load("a", dir.path(), &graph(), 2).map_err(|error| match error {
        EngineError::BadAdapter { reason, .. } => reason,
        other => panic!("{other:?}"),
    })
}

#[test]
fn factors_land_in_their_columns_with_the_scale_in_b() {
    let adapter = load(CONFIG, &tensors()).unwrap();
    let q = &adapter.layers[0][0][0];
    assert_eq!((q.offset, q.outputs, q.rank), (0, 4, 2));
    assert_eq!(q.a, (0..8).map(|i| i as f32).collect::<Vec<_>>());
    // s = alpha / r = 2.
    assert_eq!(q.b, (0..8).map(|i| 2.0 * i as f32).collect::<Vec<_>>());
    assert_eq!(adapter.layers[1][0][0].offset, 4);
    assert!(adapter.layers[1][1].is_empty());
    assert_eq!(adapter.group_ranks, [2, 0]);
    assert_eq!(adapter.info.targets, ["q_proj", "v_proj"]);
    assert_eq!((adapter.info.rank, adapter.info.bytes), (2, (8 + 8 + 8 + 4) * 4));
}

#[test]
fn rslora_scales_by_the_root_of_the_rank() {
    let config = r#"{"peft_type":"LORA","r":2,"lora_alpha":4,"use_rslora":true}"#;
    let adapter = load(config, &tensors()).unwrap();
    let scale = 4.0 / 2.0_f32.sqrt();
    assert!((adapter.layers[0][0][0].b[3] - 3.0 * scale).abs() < 1e-5);
}

#[test]
fn patterns_give_modules_their_own_rank_and_alpha() {
    let config = r#"{"peft_type":"LORA","r":2,"lora_alpha":4,
        "rank_pattern":{"layers.1.self_attn.v_proj":1},"alpha_pattern":{"v_proj":3}}"#;
    let mut tensors = tensors();
    tensors[2].1 = vec![1, 4];
    tensors[3].1 = vec![2, 1];
    let adapter = load(config, &tensors).unwrap();
    let v = &adapter.layers[1][0][0];
    assert_eq!((v.rank, v.b[1]), (1, 3.0));
}

#[test]
fn half_precision_tensors_are_read() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("adapter_config.json"), CONFIG).unwrap();
    let data: Vec<Vec<u8>> = tensors()
        .iter()
        .map(|(_, shape)| {
            let n: usize = shape.iter().product();
            (0..n).flat_map(|i| half::bf16::from_f32(i as f32).to_le_bytes()).collect()
        })
        .collect();
    let names = tensors();
    let views: HashMap<_, _> = names
        .iter()
        .zip(&data)
        .map(|((name, shape), data)| {
            (name.clone(), TensorView::new(Dtype::BF16, shape.clone(), data).unwrap())
        })
        .collect();
    safetensors::serialize_to_file(views, None, &dir.path().join("adapter_model.safetensors")).unwrap();
    let adapter = Adapter::load("a", dir.path(), &graph(), 2).unwrap();
    assert_eq!(adapter.layers[0][0][0].a[7], 7.0);
}

#[test]
fn each_fault_is_named() {
    let renamed = |from: &str, to: &str| {
        tensors().into_iter().map(|(n, s)| (n.replace(from, to), s)).collect::<Vec<_>>()
    };
    let reshaped = |index: usize, shape: Vec<usize>| {
        let mut tensors = tensors();
        tensors[index].1 = shape;
        tensors
    };
    let cases = [
        (r#"{"peft_type":"IA3","r":2,"lora_alpha":4}"#, tensors(), "peft_type"),
        (r#"{"peft_type":"LORA","r":0,"lora_alpha":4}"#, tensors(), "r is 0"),
        (r#"{"peft_type":"LORA","r":9999,"lora_alpha":4}"#, tensors(), "r is 9999"),
        (r#"{"peft_type":"LORA","r":2,"lora_alpha":4,"use_dora":true}"#, tensors(), "use_dora"),
        (r#"{"peft_type":"LORA","r":2,"lora_alpha":4,"bias":"all"}"#, tensors(), "bias"),
        (
            r#"{"peft_type":"LORA","r":2,"lora_alpha":4,"modules_to_save":["lm_head"]}"#,
            tensors(),
            "modules_to_save",
        ),
        (r#"{"peft_type":"LORA","lora_alpha":4}"#, tensors(), "missing field `r`"),
        ("{", tensors(), "adapter_config.json"),
        (CONFIG, Vec::new(), "no LoRA tensors"),
        (CONFIG, tensors()[..3].to_vec(), "one of lora_A and lora_B is missing"),
        (CONFIG, tensors()[..2].to_vec(), "target_modules names \"v_proj\""),
        (CONFIG, reshaped(0, vec![2, 5]), "has shape [2, 5], but [2, 4] is wanted"),
        (CONFIG, reshaped(0, vec![3, 4]), "has shape [3, 4], but [2, 4] is wanted"),
        (CONFIG, reshaped(3, vec![4, 2]), "has shape [4, 2], but [2, 2] is wanted"),
        (CONFIG, renamed("layers.1", "layers.2"), "the model has 2 layers"),
        (CONFIG, renamed("v_proj", "z_proj"), "no projection \"z_proj\""),
        (CONFIG, renamed("lora_A", "lora_magnitude_vector"), "is not LoRA"),
        (CONFIG, renamed("self_attn.v_proj", "../../v_proj"), "no projection \"/v_proj\""),
        (CONFIG, renamed("layers.1", "../layers.1"), "is not LoRA"),
    ];
    for (config, tensors, wanted) in cases {
        let reason = load(config, &tensors).map(|a| a.info).unwrap_err();
        assert!(reason.contains(wanted), "{reason:?} does not name {wanted:?}");
    }
}

#[test]
fn a_scale_that_makes_numbers_infinite_is_refused() {
    // The last two are numbers in 64 bits and none in 32; with the others B overflows.
    for (key, value) in [("lora_alpha", "1e38"), ("lora_alpha", "-1e38"), ("lora_alpha", "1e39")] {
        let config = format!(r#"{{"peft_type":"LORA","r":2,"{key}":{value}}}"#);
        let reason = load(&config, &tensors()).map(|a| a.info).unwrap_err();
        assert!(reason.contains("lora_alpha's scale of"), "{reason}");
    }
    let config = r#"{"peft_type":"LORA","r":2,"lora_alpha":4,"alpha_pattern":{"v_proj":1e300}}"#;
    let reason = load(config, &tensors()).map(|a| a.info).unwrap_err();
    assert!(reason.contains("v_proj.lora_B times lora_alpha's scale"), "{reason}");
}

#[test]
fn a_projection_that_is_there_twice_is_refused() {
    let mut tensors = tensors();
    for factor in ["A", "B"] {
        let at = |(name, _): &&(String, Vec<usize>)| {
            name.ends_with(&format!("0.self_attn.q_proj.lora_{factor}.weight"))
        };
        let (name, shape) = tensors.iter().find(at).unwrap().clone();
        tensors.push((name.replace("self_attn", "cross_attn"), shape));
    }
    let reason = load(CONFIG, &tensors).map(|a| a.info).unwrap_err();
    assert!(reason.contains("q_proj of layer 0 is there twice"), "{reason}");
}

#[test]
fn what_is_no_file_or_too_large_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let load = || Adapter::load("a", dir.path(), &graph(), 2).map(|a| a.info).unwrap_err().to_string();
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        write(dir.path(), CONFIG, &tensors());
        let path = dir.path().join(name);
        let large = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        large.set_len(100 << 20).unwrap();
        assert!(load().contains(&format!("{name} has 104857600 bytes; at most ")), "{}", load());
        std::fs::remove_file(&path).unwrap();
        // It has 0 bytes, and never ends.
        #[cfg(unix)]
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        #[cfg(not(unix))]
        std::fs::create_dir(&path).unwrap();
        assert!(load().contains(&format!("{name} is no file")), "{}", load());
        #[cfg(unix)]
        std::fs::remove_file(&path).unwrap();
        #[cfg(not(unix))]
        std::fs::remove_dir(&path).unwrap();
    }
}

#[test]
fn a_pickle_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("adapter_config.json"), CONFIG).unwrap();
    std::fs::write(dir.path().join("adapter_model.bin"), b"\x80\x02c__builtin__\nexit\n").unwrap();
    let error = Adapter::load("a", dir.path(), &graph(), 2).map(|a| a.info).unwrap_err().to_string();
    assert!(
        error.contains("adapter_model.bin is a pickle, which may run anything, and is not read"),
        "{error}"
    );
}

#[test]
fn a_header_that_promises_more_than_there_is_is_refused() {
    const TEN_GB: u64 = 10 << 30;
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), CONFIG, &tensors());
    let weights = dir.path().join("adapter_model.safetensors");
    let with = |bytes: &[u8]| {
        std::fs::write(&weights, bytes).unwrap();
        Adapter::load("a", dir.path(), &graph(), 2).map(|a| a.info).unwrap_err().to_string()
    };
    // A header of ten gigabytes, and a tensor of as many.
    let error = with(&[&TEN_GB.to_le_bytes()[..], b"{}"].concat());
    assert!(error.contains("damaged"), "{error}");
    let name = &tensors()[0].0;
    let header =
        format!(r#"{{"{name}":{{"dtype":"F32","shape":[{},4],"data_offsets":[0,{TEN_GB}]}}}}"#, TEN_GB / 16);
    let error = with(&[&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 64]].concat());
    assert!(error.contains("damaged"), "{error}");
    // More numbers than can be counted.
    let header =
        format!(r#"{{"{name}":{{"dtype":"F32","shape":[{0},{0},4],"data_offsets":[0,16]}}}}"#, u64::MAX / 2);
    let error = with(&[&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 16]].concat());
    assert!(error.contains("damaged"), "{error}");
    // A file that has as many, of which none is written.
    std::fs::File::create(&weights).unwrap().set_len(TEN_GB).unwrap();
    let error = Adapter::load("a", dir.path(), &graph(), 2).map(|a| a.info).unwrap_err().to_string();
    assert!(error.contains(&format!("has {TEN_GB} bytes; at most ")), "{error}");
}

#[test]
fn a_number_that_is_none_is_refused_wherever_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), CONFIG, &tensors());
    let weights = dir.path().join("adapter_model.safetensors");
    let whole = std::fs::read(&weights).unwrap();
    let data =
        whole.len() - tensors().iter().map(|(_, shape)| shape.iter().product::<usize>() * 4).sum::<usize>();
    for at in (data..whole.len()).step_by(4) {
        let mut wrong = whole.clone();
        wrong[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
        std::fs::write(&weights, wrong).unwrap();
        let error = Adapter::load("a", dir.path(), &graph(), 2).map(|a| a.info).unwrap_err().to_string();
        assert!(error.contains("holds a number that is not finite"), "{error}");
    }
}

#[test]
fn damaged_files_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let load = || Adapter::load("a", dir.path(), &graph(), 2).map(|a| a.info).unwrap_err().to_string();
    assert!(load().contains("adapter_config.json"));
    write(dir.path(), CONFIG, &tensors());
    let weights = dir.path().join("adapter_model.safetensors");
    let whole = std::fs::read(&weights).unwrap();
    for cut in [0, 4, 40, whole.len() - 1] {
        std::fs::write(&weights, &whole[..cut]).unwrap();
        assert!(load().contains("damaged"), "{}", load());
    }
    let mut infinite = whole.clone();
    let end = infinite.len();
    infinite[end - 4..].copy_from_slice(&f32::INFINITY.to_le_bytes());
    std::fs::write(&weights, infinite).unwrap();
    assert!(load().contains("not finite"), "{}", load());
    std::fs::remove_file(&weights).unwrap();
    assert!(load().contains("adapter_model.safetensors"));
}
