//! The journal on a real disk, and beside a plain model.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::history::record::tests::record;
use crate::history::record::turn_key;

fn config(max_mb: u64) -> config::History {
    let config = config::Config::load(None, std::iter::empty(), &[]).expect("the defaults").history;
    config::History { queue: 64, batch: 16, write_timeout_ms: 60_000, max_mb, ..config }
}

fn journal(data: &Path) -> Journal {
    Journal::open(data, &config(0)).unwrap()
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// What is stored under the key of this one.
async fn here(journal: &Journal, record: &Record) -> Record {
    match journal.find(record.key()).await.unwrap() {
        Some(Found::Here(found)) => *found,
        found => panic!("{found:?}"),
    }
}

/// Waits for what comes by itself.
async fn until(what: impl Fn() -> bool) {
    for _ in 0..6000 {
        if what() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come in a minute");
}

#[tokio::test]
async fn what_is_written_together_is_synced_together() {
    let data = folder();
    let journal = Arc::new(journal(data.path()));
    let writes = (0..200).map(|turn| {
        let journal = Arc::clone(&journal);
        tokio::spawn(async move { journal.put(&record("n", "anna", &turn.to_string())).await })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap().unwrap();
    }
    let stats = journal.stats();
    assert_eq!(stats.records, 200);
    assert!(stats.commits < 200, "{stats:?}");
    assert_eq!(journal.page("n", None, 500).await.unwrap().len(), 200);
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_process_that_is_killed() {
    let (data, copy) = (folder(), folder());
    let journal = journal(data.path());
    let records: Vec<_> = (0..20).map(|turn| record("n", "anna", &turn.to_string())).collect();
    for record in &records {
        journal.put(record).await.unwrap();
    }
    // Nothing was closed: these are the files as a kill leaves them.
    for file in std::fs::read_dir(data.path()).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    let reopened = self::journal(copy.path());
    let mut found = reopened.page("n", None, 100).await.unwrap();
    found.sort_by_key(|record| record.id);
    assert_eq!(found, records);
}

#[tokio::test]
async fn a_turn_is_stored_once() {
    let data = folder();
    let journal = journal(data.path());
    let first = record("n", "anna", "t");
    journal.put(&first).await.unwrap();
    let again = journal.put(&record("n", "anna", "t")).await;
    assert_eq!(again, Err(JournalError::Stored));
    assert_eq!(journal.find(first.key()).await.unwrap(), Some(Found::Here(Box::new(first))));
}

#[tokio::test]
async fn a_second_server_is_refused() {
    let data = folder();
    let journal = journal(data.path());
    let second = Journal::open(data.path(), &config(0));
    assert_eq!(second.err(), Some(JournalError::InUse(data.path().to_owned())));
    drop(journal);
    self::journal(data.path());
}

#[tokio::test]
async fn a_full_journal_refuses_and_has_room_again_elsewhere() {
    let data = folder();
    let journal = Journal::open(data.path(), &config(1)).unwrap();
    let large = |turn: usize| {
        let mut record = record("n", "anna", &turn.to_string());
        record.heard.said = "x".repeat(10_000);
        record
    };
    let mut stored = 0;
    let error = loop {
        match journal.put(&large(stored)).await {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 200, "as much as this does not fit into a MiB");
    };
    assert!(matches!(&error, JournalError::Write(reason) if reason.contains("full")), "{error}");
    assert!(stored > 20 && !journal.is_writable());
    // It goes on being tried, and goes on failing.
    assert!(journal.put(&record("n", "anna", "small")).await.is_err());
    assert!(!journal.is_writable());
    drop(journal);
    let larger = Journal::open(data.path(), &config(0)).unwrap();
    assert!(larger.is_writable());
    assert_eq!(
        larger.page("n", None, 500).await.unwrap().len(),
        stored,
        "all that was acknowledged, and no more"
    );
    larger.put(&large(stored)).await.unwrap();
}

#[tokio::test]
async fn a_journal_that_failed_is_tried_again_by_itself() {
    let data = folder();
    let journal = journal(data.path());
    let kept = record("n", "anna", "kept");
    journal.put(&kept).await.unwrap();
    let mut other = SqliteConnection::establish(data.path().join(FILE).to_str().unwrap()).unwrap();
    other.batch_execute("BEGIN IMMEDIATE").unwrap();
    assert!(matches!(journal.put(&record("n", "anna", "refused")).await, Err(JournalError::Write(_))));
    assert!(!journal.is_writable());
    let cut = Heard { said: "Good".into(), chars: None };
    journal.amend(kept.id, || cut.clone());
    other.batch_execute("ROLLBACK").unwrap();
    until(|| journal.is_writable() && journal.shared.amendments.is_empty()).await;
    journal.put(&record("n", "anna", "again")).await.unwrap();
    let turns = journal.page("n", None, 10).await.unwrap();
    let turns: Vec<_> = turns.iter().map(|record| record.body.turn.as_str()).collect();
    assert_eq!(turns, ["again", "kept"]);
    assert_eq!(here(&journal, &kept).await.heard, cut, "an amendment waits for its chance");
}

#[tokio::test]
async fn a_journal_whose_file_is_gone_is_not_begun_anew() {
    let data = folder();
    let journal = journal(data.path());
    journal.put(&record("n", "anna", "t1")).await.unwrap();
    std::fs::remove_file(data.path().join(FILE)).unwrap();
    for turn in ["t2", "t3"] {
        let error = journal.put(&record("n", "anna", turn)).await.unwrap_err();
        assert!(error.to_string().contains("it is gone"), "{error}");
    }
    assert!(!journal.is_writable() && !data.path().join(FILE).exists());
}

#[tokio::test]
async fn what_waits_when_it_is_closed_is_written() {
    let data = folder();
    let journal = journal(data.path());
    let kept = record("n", "anna", "t");
    journal.put(&kept).await.unwrap();
    let heard = Heard { said: "Good évening.".into(), chars: Some(4) };
    journal.amend(kept.id, || heard.clone());
    journal.close();
    assert_eq!(journal.put(&record("n", "anna", "late")).await, Err(JournalError::Closed));
    assert_eq!(journal.find(kept.key()).await, Err(JournalError::Closed));
    drop(journal);
    let journal = self::journal(data.path());
    assert_eq!(here(&journal, &kept).await.heard, heard);
    assert_eq!(journal.page("n", None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_fresh_turn_is_known_to_be_fresh_after_a_restart() {
    let data = folder();
    let stored = journal(data.path());
    for turn in 0..50 {
        stored.put(&record("n", "anna", &turn.to_string())).await.unwrap();
    }
    drop(stored);
    let journal = journal(data.path());
    until(|| journal.known().is_complete()).await;
    assert!((0..50).all(|turn| journal.known().may_have_turn(&turn_key("anna", "n", &turn.to_string()))));
    let fresh =
        (50..550).filter(|turn| !journal.known().may_have_turn(&turn_key("anna", "n", &turn.to_string())));
    assert!(fresh.count() > 490);
    assert!(journal.known().may_have_conversation("n", "anna"));
    assert!(!journal.known().may_have_conversation("n", "ben"));
}

/// What may happen to a journal.
#[derive(Debug, Clone)]
enum Step {
    Put { npc: u8, player: u8, turn: u8, said: String },
    Amend { which: prop::sample::Index, chars: u8, cut: bool },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3_u8, 0..2_u8, 0..8_u8, "[a-zé ]{1,12}")
            .prop_map(|(npc, player, turn, said)| Step::Put { npc, player, turn, said }),
        3 => (any::<prop::sample::Index>(), 0..14_u8, any::<bool>())
            .prop_map(|(which, chars, cut)| Step::Amend { which, chars, cut }),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn it_holds_what_a_plain_model_holds(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let data = folder();
            let mut journal = journal(data.path());
            let mut model: BTreeMap<Uuid, Record> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Put { npc, player, turn, said } => {
                        let mut record =
                            record(&format!("n{npc}"), &format!("p{player}"), &turn.to_string());
                        record.heard.said = said;
                        let known = model.values().any(|other| other.key() == record.key());
                        prop_assert!(!known || journal.known().may_have_turn(&record.key()));
                        let expected = if known { Err(JournalError::Stored) } else { Ok(()) };
                        prop_assert_eq!(journal.put(&record).await, expected);
                        if !known {
                            model.insert(record.id, record);
                        }
                    }
                    Step::Amend { which, chars, cut } if !model.is_empty() => {
                        let at = which.index(model.len());
                        let record = model.values_mut().nth(at).unwrap();
                        record.heard.chars = Some(chars.into());
                        if cut {
                            record.heard = Heard { said: record.heard.text().to_owned(), chars: None };
                        }
                        journal.amend(record.id, || record.heard.clone());
                    }
                    Step::Amend { .. } => {}
                    Step::Restart => {
                        drop(journal);
                        journal = self::journal(data.path());
                    }
                }
            }
            // Amendments come soon; after this they have come.
            drop(journal);
            let journal = self::journal(data.path());
            for npc in ["n0", "n1", "n2"] {
                let expected: Vec<_> = model.values().rev().filter(|record| record.npc == npc).cloned().collect();
                prop_assert_eq!(&journal.page(npc, None, 100).await.unwrap(), &expected);
                if let [first, .., last] = expected.as_slice() {
                    let older = journal.page(npc, Some(first.id), 100).await.unwrap();
                    prop_assert_eq!(&older, &expected[1..]);
                    prop_assert!(journal.page(npc, Some(last.id), 100).await.unwrap().is_empty());
                }
                for player in ["p0", "p1"] {
                    let expected: Vec<_> =
                        expected.iter().filter(|record| record.player == player).take(4).cloned().collect();
                    prop_assert_eq!(journal.conversation(npc, player, 4).await.unwrap(), expected);
                }
            }
            for record in model.values() {
                prop_assert_eq!(&here(&journal, record).await, record);
            }
            prop_assert_eq!(journal.find(turn_key("p9", "n0", "1")).await.unwrap(), None);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn an_npc_is_stored_as_it_was_last() {
    let data = folder();
    let journal = journal(data.path());
    assert_eq!(journal.npc("n").await.unwrap(), None);
    let mut npc = crate::history::npc::tests::npc("n");
    journal.put_npc(&npc).await.unwrap();
    npc.state.goals.clear();
    journal.put_npc(&npc).await.unwrap();
    drop(journal);
    let journal = self::journal(data.path());
    assert_eq!(journal.npc("n").await.unwrap(), Some(npc));
}

#[tokio::test]
async fn what_was_erased_does_not_come_back() {
    let data = folder();
    let journal = journal(data.path());
    let named = |mut record: Record| {
        record.body.audience = vec!["anna".into(), "ben".into()];
        record
    };
    let early = record("n", "anna", "early");
    let others: Vec<_> = (0..700).map(|turn| named(record("n", "mina", &turn.to_string()))).collect();
    for record in &others {
        journal.put(record).await.unwrap();
    }
    // More than one piece.
    for turn in 0..700 {
        journal.put(&named(record("n", "anna", &turn.to_string()))).await.unwrap();
    }
    let npc = crate::history::npc::tests::npc("n");
    journal.put_npc(&npc).await.unwrap();
    let before = Uuid::now_v7();
    let erased = journal.erase("anna", before).await.unwrap();
    assert_eq!(erased, Erased { interactions: 700, mentions: 700, npcs: 1 });
    assert_eq!(journal.erase("anna", before).await.unwrap(), Erased::default());
    assert!(journal.npc("n").await.unwrap().unwrap().state.relationships.is_empty());
    // What had begun before comes too late; an older word does not bring it back.
    assert_eq!(journal.put(&early).await, Err(JournalError::Erased));
    journal.erase("anna", early.id).await.unwrap();
    let late = record("n", "anna", "late");
    journal.put(&late).await.unwrap();
    drop(journal);
    let journal = self::journal(data.path());
    assert_eq!(journal.put(&early).await, Err(JournalError::Erased));
    let page = journal.page("n", None, 2000).await.unwrap();
    assert_eq!(page.len(), 701);
    assert_eq!(page[0], late);
    assert!(page[1..].iter().all(|record| record.body.audience == ["ben"] && record.player == "mina"));
    assert_eq!(here(&journal, &late).await, late);
}

#[tokio::test]
async fn turns_are_written_while_a_player_is_erased() {
    let data = folder();
    let journal = Arc::new(journal(data.path()));
    for turn in 0..1200 {
        journal.put(&record("n", "anna", &turn.to_string())).await.unwrap();
    }
    let erasing = Arc::clone(&journal);
    let erasing = tokio::spawn(async move { erasing.erase("anna", Uuid::now_v7()).await });
    let mut written = 0;
    while !erasing.is_finished() {
        journal.put(&record("n", "ben", &written.to_string())).await.unwrap();
        written += 1;
    }
    assert_eq!(erasing.await.unwrap().unwrap().interactions, 1200);
    assert_eq!(journal.page("n", None, 5000).await.unwrap().len(), written);
}
