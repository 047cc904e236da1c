//! Single steps of the decoder, counted and timed.

use std::time::Duration;

use npc_gateway::engine::{EngineError, StepPart, StepTimer};

use crate::support::{config, greedy, library, model_dir};

#[test]
fn a_step_computes_what_it_is_asked_for() {
    let mut timer =
        StepTimer::open(&model_dir(), &library(), &config(), greedy(), "A cold evening in the old town.")
            .unwrap();
    let part = |sequence, past, tokens, wants_logits| {
        let adapters = Vec::new();
        StepPart { sequence, past, tokens, wants_logits, adapters }
    };
    let parts = [part(0, 0, 40, true), part(1, 100, 1, true), part(2, 3, 2, false)];
    let (work, took) = timer.time(&parts).unwrap();
    assert_eq!((work.tokens, work.logits, work.mixed), (43, 2, 0));
    assert_eq!((work.attended, work.read), (40 * 41 / 2 + 101 + 4 + 5, 40 + 101 + 5));
    assert!(took > Duration::ZERO);
    // Behind less than it holds.
    let (work, _) = timer.time(&[part(1, 64, 1, true)]).unwrap();
    assert_eq!((work.tokens, work.attended), (1, 65));
    let unknown = StepPart { adapters: vec![0], ..part(0, 0, 1, true) };
    for wrong in [part(0, 0, 0, true), part(0, 250, 7, true), part(1000, 0, 1, true), unknown] {
        let error = timer.time(std::slice::from_ref(&wrong)).unwrap_err();
        assert!(matches!(error, EngineError::BadRequest { .. }), "{wrong:?}: {error}");
    }
}
