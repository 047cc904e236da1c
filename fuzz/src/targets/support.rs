//! A server's inside, without a port.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use npc_gateway::archetype::Packs;
use npc_gateway::chain::Chains;
use npc_gateway::config::Config;
use npc_gateway::engine::Engine;
use npc_gateway::history::{History, HotLimits};
use npc_gateway::npc::Npcs;
use npc_gateway::session::{Authenticator, Gateway};
use npc_gateway::turn::Turns;
use npc_gateway::wire::EngineKind;
use tokio::runtime::{Handle, Runtime};

/// The process's gateway, and the runtime on which its turns run.
pub fn gateway() -> (Arc<Gateway>, Handle) {
    static ALL: OnceLock<(Arc<Gateway>, Runtime)> = OnceLock::new();
    let (gateway, runtime) = ALL.get_or_init(|| {
        let builder = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = builder.expect("a runtime starts");
        let inside = runtime.enter();
        let gateway = start();
        drop(inside);
        (gateway, runtime)
    });
    (Arc::clone(gateway), runtime.handle().clone())
}

fn start() -> Arc<Gateway> {
    let sets = ["npc.max_npcs=100", "history.max_mb=256"].map(str::to_owned);
    let config = Arc::new(Config::load(None, std::iter::empty(), &sets).expect("good settings"));
    let limits = HotLimits {
        conversations: 100,
        window_min: config.turn.window_min,
        window_max: config.turn.window_max,
    };
    // The gateway lives as long as the process: nobody could remove it earlier.
    let data = tempfile::tempdir().expect("a folder for the journal").keep();
    let history = History::open(&data, &config.history, limits).expect("the journal opens");
    let path = |variable: &str| -> PathBuf { std::env::var_os(variable).expect(variable).into() };
    let (model, library) = (path("NPC_GATEWAY_TEST_MODEL"), path("ORT_DYLIB_PATH"));
    let engine = Engine::start(&model, &library, &config.engine).expect("the engine starts");
    let packs = Packs::load(None).expect("the built-in packs are good");
    let chains = Chains::generic(&packs).expect("their faces can be made");
    let npcs = Arc::new(Npcs::new(chains, config.npc.clone(), Arc::clone(&history)));
    let turns = Turns::new(engine, Arc::clone(&npcs), history, &config).expect("good settings");
    let auth = Arc::new(Authenticator::new(&config.auth).expect("dev mode has no keys"));
    Gateway::new(config, auth, turns, npcs, EngineKind::Model)
}
