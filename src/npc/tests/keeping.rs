//! What becomes of NPCs is in the store, and who was erased is not.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use uuid::Uuid;

use crate::archetype::{Packs, Trait};
use crate::chain::Chains;
use crate::config::Config;
use crate::history::{History, HotLimits};
use crate::npc::{Happening, Mind, Npcs};
use crate::wire::{ErrorCode, EventKind, NpcJoin, NpcJoined, Relationship};

/// What a server has of NPCs.
struct House {
    npcs: Npcs,
    history: Arc<History>,
}

impl House {
    fn open(data: &Path, sets: &[&str]) -> Self {
        let sets: Vec<_> = sets.iter().map(|set| (*set).to_owned()).collect();
        let config = Config::load(None, std::iter::empty(), &sets).unwrap();
        let limits = HotLimits { conversations: 10, window_min: 1, window_max: 3 };
        let history = History::open(data, &config.history, limits).unwrap();
        let packs = Packs::load(None).unwrap();
        Self { npcs: Npcs::new(Chains::generic(&packs).unwrap(), config.npc, Arc::clone(&history)), history }
    }

    async fn join(&self, npc: &str) -> NpcJoined {
        self.npcs.join(&NpcJoin { npc: npc.into(), ..bare() }, true).await.unwrap()
    }

    fn change<T>(&self, npc: &str, change: impl FnOnce(&mut Mind) -> T) -> T {
        self.npcs.change(&self.npcs.get(npc).unwrap(), change)
    }

    async fn close(self) {
        self.npcs.close().await;
        let history = self.history;
        tokio::task::spawn_blocking(move || history.close()).await.unwrap();
    }
}

fn bare() -> NpcJoin {
    let archetype = Some("vampire".to_owned());
    NpcJoin { npc: String::new(), archetype, name: None, seed: None, personality: None }
}

fn injury(player: &str) -> Happening {
    Happening {
        kind: EventKind::Injury,
        player: player.into(),
        event: "e".into(),
        text: "An arrow in the left thigh.".into(),
        importance: Some(1.0),
        at_ms: 1_700_000_000_000,
    }
}

const TRUST: Relationship =
    Relationship { trust: 0.5, respect: 0.0, familiarity: 0.0, fear: 0.0, affection: 0.0 };

#[tokio::test]
async fn who_joins_is_told_all_fifty_traits_a_body_and_goals() {
    let data = tempfile::tempdir().unwrap();
    let house = House::open(data.path(), &[]);
    let npc = house.join("lucy").await.npc;
    assert_eq!(npc.personality.as_ref().unwrap().len(), Trait::COUNT);
    assert!(npc.body.as_ref().unwrap().contains_key("height_m"));
    assert_eq!(npc.goals.as_ref().unwrap()[0].id, "feed");
    assert_eq!(house.npcs.find("lucy").await.unwrap().unwrap().told().npc, npc);
    assert_eq!(house.npcs.relationship("nobody", "anna"), None);
    for (personality, ok) in [(json!({"neo_anger": 0.5}), true), (json!({"neo_charm": 0.5}), false)] {
        let join = json!({"npc": "mina", "archetype": "lich", "personality": personality});
        let joined = house.npcs.join(&serde_json::from_value(join).unwrap(), true).await;
        match joined {
            Ok(joined) => assert!(ok && joined.npc.personality.unwrap()["neo_anger"] == 0.5),
            Err(error) => {
                assert_eq!((ok, error.code), (false, ErrorCode::BadPayload));
                assert_eq!(error.field.as_deref(), Some("personality.neo_charm"));
                assert!(error.message.contains("\"neo_charm\""), "{error}");
            }
        }
    }
    house.close().await;
}

#[tokio::test]
async fn a_mind_is_there_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let house = House::open(data.path(), &[]);
    house.join("lucy").await;
    house.npcs.happen("lucy", Uuid::now_v7(), &injury("anna")).await.unwrap();
    house.npcs.happen("nobody", Uuid::now_v7(), &injury("anna")).await.unwrap();
    for _ in 0..100 {
        house.change("lucy", |mind| mind.shift("ben", &TRUST, 1_700_000_000_000));
    }
    let before = house.npcs.get("lucy").unwrap().read(Mind::clone);
    // What is on its way is written.
    house.close().await;
    let house = House::open(data.path(), &[]);
    house.join("lucy").await;
    assert_eq!(house.npcs.get("lucy").unwrap().read(Mind::clone), before);
    assert!(before.body().scars.iter().any(|scar| scar.place == "thigh"));
    assert!(before.personality().drift()[Trait::Trust] < 0.0);
    house.close().await;
}

#[tokio::test]
async fn what_happens_to_an_npc_that_is_not_in_memory_is_stored() {
    let data = tempfile::tempdir().unwrap();
    let house = House::open(data.path(), &[]);
    house.join("lucy").await;
    house.close().await;
    let house = House::open(data.path(), &[]);
    let happenings = (0..20).map(|at| {
        let what = Happening { event: at.to_string(), ..injury(&format!("p{at}")) };
        let npcs = &house.npcs;
        async move { npcs.happen("lucy", Uuid::now_v7(), &what).await.unwrap() }
    });
    // Beside each other, and none is lost.
    futures_util::future::join_all(happenings).await;
    assert!(house.npcs.get("lucy").is_none());
    let state = house.history.journal().npc("lucy").await.unwrap().unwrap().state;
    assert_eq!((state.relationships.len(), state.counts["injury"]), (20, 20));
    house.close().await;
}

#[tokio::test]
async fn an_npc_leaves_memory_only_when_it_is_stored() {
    let data = tempfile::tempdir().unwrap();
    let house = House::open(data.path(), &["npc.max_npcs=1"]);
    house.join("lucy").await;
    house.change("lucy", |mind| mind.shift("anna", &TRUST, 0));
    let npc = house.npcs.get("lucy").unwrap();
    house.npcs.leave("lucy");
    // It is stored for that.
    house.join("mina").await;
    assert!(house.npcs.get("lucy").is_none() && npc.read(|mind| mind.relationship("anna", 0)).trust > 0.0);
    let stored = house.npcs.find("lucy").await.unwrap().unwrap();
    assert_eq!(stored.read(Mind::clone), npc.read(Mind::clone));
    house.close().await;
}

#[tokio::test]
async fn who_is_erased_is_nobody_to_any_npc() {
    let data = tempfile::tempdir().unwrap();
    let house = House::open(data.path(), &[]);
    for npc in ["lucy", "mina"] {
        house.join(npc).await;
        house.npcs.happen(npc, Uuid::now_v7(), &injury("anna")).await.unwrap();
    }
    let on_its_way = Uuid::now_v7();
    house.change("lucy", |mind| mind.shift("anna", &TRUST, 1_700_000_000_000));
    let before = Uuid::now_v7();
    house.history.erase("anna", before).await.unwrap();
    house.npcs.forget_player("anna", before).await;
    house.history.erase("anna", before).await.unwrap();
    // An event that had begun comes too late.
    house.npcs.happen("lucy", on_its_way, &injury("anna")).await.unwrap();
    let lucy = house.npcs.get("lucy").unwrap();
    assert_eq!(house.npcs.relationship("lucy", "anna"), house.npcs.relationship("lucy", "a stranger"));
    assert!(lucy.read(|mind| mind.growth()[0].player.is_none() && mind.growth()[0].times == 1));
    house.npcs.close().await;
    for npc in ["lucy", "mina"] {
        let state = house.history.journal().npc(npc).await.unwrap().unwrap().state;
        assert!(!serde_json::to_string(&state).unwrap().contains("anna"));
        assert_eq!(state.counts["injury"], 1, "what was done stays");
    }
    // The same name is somebody new.
    house
        .npcs
        .happen("lucy", Uuid::now_v7(), &Happening { at_ms: u64::MAX >> 20, ..injury("anna") })
        .await
        .unwrap();
    assert!(house.npcs.relationship("lucy", "anna") != house.npcs.relationship("lucy", "a stranger"));
    house.close().await;
}
