//! Random failures over the tiers, beside a plain model.

use std::collections::BTreeMap;
use std::time::Duration;

use npc_gateway::history::{Heard, JournalError, Record};
use npc_stores::Proxy;
use proptest::prelude::*;
use uuid::Uuid;

use super::{Archive, close, drained, open, record, setting};

#[derive(Debug, Clone)]
enum Step {
    Put { npc: u8, player: u8, turn: u8, said: String },
    Amend { which: prop::sample::Index, chars: u8 },
    Read { npc: u8 },
    Cut,
    Hold,
    Restore,
    LoseConnections,
    Wait { ms: u8 },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..2_u8, 0..2_u8, 0..9_u8, "[a-zé ]{1,12}")
            .prop_map(|(npc, player, turn, said)| Step::Put { npc, player, turn, said }),
        4 => (any::<prop::sample::Index>(), 0..14_u8).prop_map(|(which, chars)| Step::Amend { which, chars }),
        2 => (0..2_u8).prop_map(|npc| Step::Read { npc }),
        1 => Just(Step::Cut),
        1 => Just(Step::Hold),
        2 => Just(Step::Restore),
        1 => Just(Step::LoseConnections),
        3 => (0..200_u8).prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::Restart),
    ]
}

/// One server for all cases, and a database for each.
async fn run(archive: &Archive, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let database = archive.postgres.database().await;
    let proxy = Proxy::start(archive.postgres.address());
    let data = tempfile::tempdir().unwrap();
    let url = setting(&npc_stores::Postgres::url_at(proxy.address(), &database));
    let sets = [url.as_str(), "history.postgres_timeout_ms=1000", "history.write_timeout_ms=60000"];
    let mut history = open(data.path(), &sets);
    let mut model: BTreeMap<Uuid, Record> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Put { npc, player, turn, said } => {
                let record = record(&format!("n{npc}"), &format!("p{player}"), &turn.to_string(), &said);
                let same = |other: &&Record| {
                    (&other.npc, &other.player, &other.body.turn)
                        == (&record.npc, &record.player, &record.body.turn)
                };
                let known = model.values().any(|other| same(&other));
                let expected = if known { Err(JournalError::Stored) } else { Ok(()) };
                prop_assert_eq!(history.journal().put(&record).await, expected, "wherever the first one is");
                if !known {
                    model.insert(record.id, record);
                }
            }
            Step::Amend { which, chars } if !model.is_empty() => {
                let at = which.index(model.len());
                let record = model.values_mut().nth(at).unwrap();
                record.heard = Heard { chars: Some(chars.into()), ..record.heard.clone() };
                history.amend(record.id, || record.heard.clone());
            }
            Step::Amend { .. } => {}
            Step::Read { npc } => {
                // It may fail, and is never wrong: nothing is missing and nothing is there twice.
                let npc = format!("n{npc}");
                if let Ok(page) = history.page(&npc, None, 100).await {
                    let ids: Vec<_> = page.iter().map(|record| record.id).collect();
                    let expected: Vec<_> = model
                        .values()
                        .rev()
                        .filter(|record| record.npc == npc)
                        .map(|record| record.id)
                        .collect();
                    prop_assert_eq!(ids, expected);
                }
            }
            Step::Cut => proxy.cut(),
            Step::Hold => proxy.hold(),
            Step::Restore => proxy.restore(),
            Step::LoseConnections => proxy.cut_once(),
            Step::Wait { ms } => tokio::time::sleep(Duration::from_millis(ms.into())).await,
            Step::Restart => {
                close(history).await;
                history = open(data.path(), &sets);
            }
        }
    }
    proxy.restore();
    drained(&history).await;
    close(history).await;
    // What changed last has been written by now, or waits for the next start.
    let history = open(data.path(), &sets);
    drained(&history).await;
    close(history).await;
    let client = archive.postgres.client(&database).await;
    let rows: BTreeMap<_, _> =
        super::rows(&client).await.into_iter().map(|row| (row.id, (row.turn, row.said, row.heard))).collect();
    let expected: BTreeMap<_, _> = model
        .into_values()
        .map(|record| {
            (record.id, (record.body.turn, record.heard.said, record.heard.chars.map(|c| c as i64)))
        })
        .collect();
    prop_assert_eq!(rows, expected);
    Ok(())
}

#[test]
fn whatever_fails_the_archive_has_everything_once() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let archive = runtime.block_on(Archive::start());
    let cases =
        std::env::var("NPC_GATEWAY_TEST_CASES").map_or(8, |cases| cases.parse().expect("a number of cases"));
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) };
    proptest!(config, |(steps in prop::collection::vec(step(), 1..60))| {
        runtime.block_on(run(&archive, steps))?;
    });
}
