//! The fuzz targets on their corpus: every input that is kept, and damaged copies of it.
//!
//! `cargo xtask fuzz` looks for new inputs, guided by coverage. What it finds is put into `fuzz/corpus/` and so runs
//! here from then on.

#[path = "../fuzz/src/targets/mod.rs"]
mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use npc_raw::Rng;
use npc_raw::attack::damage;

/// Damaged copies of each input.
const COPIES: usize = 200;
const SEED: u64 = 6455;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The inputs of a target: its corpus, and for the codecs the golden frames.
fn inputs(target: &str) -> Vec<(String, Vec<u8>)> {
    let golden: &[&str] = match target {
        "json" | "msgpack" => &["schemas/golden/client", "schemas/golden/server"],
        _ => &[],
    };
    let mut inputs = Vec::new();
    for folder in
        golden.iter().map(|golden| root().join(golden)).chain([root().join("fuzz/corpus").join(target)])
    {
        let Ok(files) = fs::read_dir(&folder) else { continue };
        let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        // So that the same seed makes the same copies.
        paths.sort();
        inputs.extend(paths.into_iter().map(|path| (path.display().to_string(), fs::read(&path).unwrap())));
    }
    inputs
}

fn check(target: &str) {
    let (_, run) = targets::ALL.into_iter().find(|(name, _)| *name == target).unwrap();
    let inputs = inputs(target);
    assert!(inputs.len() >= 3, "{} inputs", inputs.len());
    let mut rng = Rng::new(SEED);
    let (mut accepted, mut refused) = (0, 0);
    for (name, input) in &inputs {
        accepted += usize::from(run(input));
        for copy in 0..COPIES {
            let mut damaged = input.clone();
            damage(&mut damaged, &mut rng);
            match catch_unwind(AssertUnwindSafe(|| run(&damaged))) {
                Ok(good) => refused += usize::from(!good),
                Err(panic) => {
                    eprintln!("copy {copy} of {name}: {damaged:02x?}");
                    resume_unwind(panic);
                }
            }
        }
    }
    println!("{accepted} of {} inputs accepted, {refused} damaged ones refused", inputs.len());
    // Neither is possible if the target does not do its work.
    assert!(accepted > 0 && refused > 0);
}

#[test]
fn msgpack() {
    check("msgpack");
}

#[test]
fn json() {
    check("json");
}

#[test]
fn handshake() {
    check("handshake");
}

#[test]
fn pack() {
    check("pack");
}

#[test]
fn model() {
    check("model");
}

#[test]
fn adapter() {
    check("adapter");
}

#[test]
fn checkpoint() {
    check("checkpoint");
}
