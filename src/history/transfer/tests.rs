use std::path::{Path, PathBuf};

use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::config::{self, Config};
use crate::history::journal::{Intake, Journal, Snapshot};
use crate::history::npc::tests::npc;
use crate::history::record::tests::record;
use crate::history::record::{Heard, Kind, Outcome, Record};

fn settings() -> config::History {
    Config::load(None, std::iter::empty(), &[]).unwrap().history
}

fn intake(data: &Path) -> Intake {
    Intake::open(data, &settings()).unwrap()
}

/// A data folder with an NPC that has records of every kind, and another one.
fn stored() -> (TempDir, Vec<Record>) {
    let data = tempfile::tempdir().unwrap();
    let mut records: Vec<_> = (0..1203).map(|turn| record("n", "anna", &format!("t{turn}"))).collect();
    records[1].heard = Heard { said: "Tönt \"so\"\n".into(), chars: Some(3) };
    records[2].kind = Kind::Gift;
    records[3].kind = Kind::Action;
    records[3].body.outcome = Some(Outcome { action: "a".into(), ok: false, reason: None });
    records[4].body.witnesses = vec!["mina".into()];
    let mut intake = intake(data.path());
    intake.put_npc(npc("n")).unwrap();
    intake.put_npc(npc("other")).unwrap();
    intake.put(&records).unwrap();
    intake.put(&[record("other", "anna", "t")]).unwrap();
    (data, records)
}

fn exported(data: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    export(data, &settings(), "n", &mut bytes).unwrap();
    bytes
}

fn all(data: &Path, npc: &str) -> Vec<Record> {
    let (mut snapshot, mut records) = (Snapshot::open(data).unwrap(), Vec::<Record>::new());
    loop {
        let page = snapshot.page(npc, records.last().map(|last| last.id)).unwrap();
        if page.is_empty() {
            return records;
        }
        records.extend(page);
    }
}

fn file(folder: &Path, bytes: &[u8]) -> PathBuf {
    let path = folder.join("n.jsonl");
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn what_was_exported_is_restored_once() {
    let (data, records) = stored();
    let path = file(data.path(), &exported(data.path()));
    let fresh = tempfile::tempdir().unwrap();
    let restored = restore(fresh.path(), &settings(), &path).unwrap();
    assert_eq!(restored, Restored { interactions: 1203, known: 0, erased: 0 });
    assert_eq!(all(fresh.path(), "n"), records);
    assert_eq!(Snapshot::open(fresh.path()).unwrap().npc("n").unwrap(), Some(npc("n")));
    let again = restore(fresh.path(), &settings(), &path).unwrap();
    assert_eq!(again, Restored { interactions: 0, known: 1203, erased: 0 });
    assert_eq!(all(fresh.path(), "n").len(), 1203);
    assert_eq!(exported(fresh.path()), exported(data.path()));
}

#[tokio::test]
async fn who_was_erased_does_not_come_back_with_an_npc() {
    let (data, _) = stored();
    let path = file(data.path(), &exported(data.path()));
    let fresh = tempfile::tempdir().unwrap();
    let journal = Journal::open(fresh.path(), &settings()).unwrap();
    journal.erase("anna", Uuid::now_v7()).await.unwrap();
    drop(journal);
    assert_eq!(restore(fresh.path(), &settings(), &path).unwrap().erased, 1203);
    let mut known = npc("n");
    assert!(known.state.forget("anna"));
    assert_eq!(Snapshot::open(fresh.path()).unwrap().npc("n").unwrap(), Some(known));
}

#[test]
fn an_npc_that_is_there_stays_as_it_is() {
    let (data, _) = stored();
    let path = file(data.path(), &exported(data.path()));
    let fresh = tempfile::tempdir().unwrap();
    let mut later = npc("n");
    later.state.counts = [("gift".to_owned(), 9)].into();
    intake(fresh.path()).put_npc(later.clone()).unwrap();
    restore(fresh.path(), &settings(), &path).unwrap();
    assert_eq!(Snapshot::open(fresh.path()).unwrap().npc("n").unwrap(), Some(later));
}

#[test]
fn nothing_of_a_damaged_file_is_restored() {
    let (data, _) = stored();
    let whole = exported(data.path());
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    let swapped = [&lines[..2], &[lines[3], lines[2]], &lines[4..]].concat().concat();
    let flipped = {
        let mut bytes = whole.clone();
        let at = bytes.iter().rposition(|byte| *byte == b'H').unwrap();
        bytes[at] = b'T';
        bytes
    };
    let renamed =
        String::from_utf8(whole.clone()).unwrap().replacen("npc-gateway.npc", "other.npc", 1).into();
    let cases = [
        (Vec::new(), "it is empty"),
        (lines[..7].concat(), "its end is missing"),
        (whole[..whole.len() - 200].to_vec(), "line"),
        (swapped, "checksum"),
        (flipped, "checksum"),
        ([&whole[..], b"{}\n"].concat(), "behind its end"),
        ([&lines[..5], &[&b"\xff\n"[..]], &lines[5..]].concat().concat(), "UTF-8"),
        (renamed, "format"),
        (vec![b' '; MAX_LINE + 2], "longer than"),
    ];
    let fresh = tempfile::tempdir().unwrap();
    for (bytes, expected) in cases {
        let path = file(data.path(), &bytes);
        let error = restore(fresh.path(), &settings(), &path).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("n.jsonl"), "{expected}: {error}");
    }
    assert!(Snapshot::open(fresh.path()).is_err(), "nothing was made");
}

#[test]
fn who_cannot_be_exported_or_restored_is_named() {
    let (data, _) = stored();
    assert!(matches!(export(data.path(), &settings(), "nobody", Vec::new()), Err(TransferError::NoNpc(_))));
    let path = file(data.path(), &exported(data.path()));
    let fresh = tempfile::tempdir().unwrap();
    assert!(
        export(fresh.path(), &settings(), "n", Vec::new()).unwrap_err().to_string().contains("no journal")
    );
    let mut other = npc("n");
    other.seed = 1;
    intake(fresh.path()).put_npc(other).unwrap();
    let error = restore(fresh.path(), &settings(), &path).unwrap_err();
    assert_eq!(error.to_string(), "npc \"n\" exists with another seed");
    let running = intake(data.path());
    assert!(matches!(
        restore(data.path(), &settings(), &path),
        Err(TransferError::Journal(super::super::JournalError::InUse(_)))
    ));
    drop(running);
}
