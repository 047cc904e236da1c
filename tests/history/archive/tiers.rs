//! The tiers by themselves: what is read comes from where it is, as it was.

use npc_gateway::history::{ArchiveState, Exchange, Heard, Memory, Record};
use npc_stores::Proxy;
use uuid::Uuid;

use super::{Archive, close, drained, open, record, rows, until};

fn exchange(memory: &Memory) -> Exchange {
    Exchange {
        id: memory.id,
        turn: memory.turn.clone(),
        recalled: None,
        message: memory.text.clone(),
        reply: memory.reply.clone(),
        audience: memory.audience.clone(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_comes_back_from_both_tiers() {
    let archive = Archive::start().await;
    let data = tempfile::tempdir().unwrap();
    let setting = archive.setting();
    let history = open(data.path(), &[&setting]);
    let mut records: Vec<_> =
        (0..6).map(|turn| record("n", "anna", &format!("t{turn}"), "So.\0 It\u{F0000} is \"é\".")).collect();
    records[2].body.audience = vec!["ben".into(), "carl".into()];
    records[2].body.text = "\0".into();
    for record in &records {
        history.journal().put(record).await.unwrap();
    }
    drained(&history).await;
    assert!(history.journal().page("n", None, 10).await.unwrap().is_empty());
    let expected: Vec<_> = records.iter().rev().cloned().collect();
    assert_eq!(history.page("n", None, 10).await.unwrap(), expected, "every character of it");
    assert_eq!(history.page("n", Some(records[3].id), 2).await.unwrap(), expected[3..5]);
    assert_eq!(history.find("anna", "n", "t2").await.unwrap().as_ref(), Some(&records[2]));
    assert_eq!(history.find("anna", "n", "t9").await.unwrap(), None);
    close(history).await;

    // Without the archive, what is in the journal is there, and the rest comes when it can.
    let mut archive = archive;
    archive.postgres.stop();
    let history = open(data.path(), &[&setting]);
    until("that is noticed", || {
        history.archive().unwrap().state() == npc_gateway::history::ArchiveState::Away
    })
    .await;
    let newest = record("n", "anna", "t6", "So it is.");
    history.journal().put(&newest).await.unwrap();
    assert!(history.find("anna", "n", "t2").await.is_err());
    assert!(history.page("n", None, 10).await.is_err());
    assert!(history.hydrate("n", "anna", |memory| Some(exchange(memory))).await.is_err());
    let shown = || {
        history.hot().window("n", "anna", &[]).into_iter().map(|exchange| exchange.turn).collect::<Vec<_>>()
    };
    assert_eq!(shown(), ["t6"]);
    assert!(history.is_cold("n", "anna"), "there is more");
    archive.postgres.restart();
    drained(&history).await;
    history.hydrate("n", "anna", |memory| Some(exchange(memory))).await.unwrap();
    assert_eq!(shown(), ["t1", "t2", "t3", "t4", "t5", "t6"]);
    assert!(!history.is_cold("n", "anna"));
    close(history).await;

    // A journal whose archive was taken away says so.
    let history = open(data.path(), &[]);
    let error = history.find("anna", "n", "t2").await.unwrap_err();
    assert!(error.to_string().contains("is in Postgres, and history.postgres_url names none"), "{error}");
    assert_eq!(history.find("anna", "n", "t9").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_from_other_months_has_its_partition() {
    let archive = Archive::start().await;
    let data = tempfile::tempdir().unwrap();
    let embedded = open(data.path(), &[]);
    let at = |ms: u64, tail: u128| Uuid::from_u128(u128::from(ms) << 80 | 7 << 76 | 2 << 62 | tail);
    // The first and the last of February 2024, the next moment, and two that have no month of ours.
    let moments = [1_706_745_600_000, 1_709_251_199_999, 1_709_251_200_000, 1_000, 9_000_000_000_000];
    for (n, ms) in moments.into_iter().enumerate() {
        let record = Record { id: at(ms, n as u128), ..record("n", "anna", &n.to_string(), "So.") };
        embedded.journal().put(&record).await.unwrap();
    }
    close(embedded).await;
    // What an embedded journal has kept moves when there is an archive.
    let history = open(data.path(), &[&archive.setting()]);
    drained(&history).await;
    let query = "SELECT tableoid::regclass::text, body->>'turn' FROM npc_interactions ORDER BY id";
    let rows = archive.client.query(query, &[]).await.unwrap();
    let rows: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let rows: Vec<_> = rows.iter().map(|(table, turn)| (table.as_str(), turn.as_str())).collect();
    assert_eq!(
        rows,
        [
            ("npc_interactions_default", "3"),
            ("npc_interactions_2024_02", "0"),
            ("npc_interactions_2024_02", "1"),
            ("npc_interactions_2024_03", "2"),
            ("npc_interactions_default", "4"),
        ]
    );
    close(history).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_postgres_refuses_holds_up_no_other() {
    let archive = Archive::start().await;
    let data = tempfile::tempdir().unwrap();
    let setting = archive.setting();
    close(open(data.path(), &[&setting])).await;
    let history = open(data.path(), &[&setting]);
    drained(&history).await;
    archive.client.batch_execute("ALTER TABLE npc_interactions ADD CHECK (said <> 'never')").await.unwrap();
    for turn in 0..250 {
        let said = if turn == 77 { "never" } else { "So." };
        history.journal().put(&record("n", "anna", &turn.to_string(), said)).await.unwrap();
    }
    until("all others are archived", || history.journal().waiting() == 1).await;
    assert_eq!(archive.rows().await.len(), 249);
    let kept = history.page("n", None, 500).await.unwrap();
    assert_eq!(kept.len(), 250, "it stays in the journal");
    close(history).await;
    archive
        .client
        .batch_execute("ALTER TABLE npc_interactions DROP CONSTRAINT npc_interactions_said_check")
        .await
        .unwrap();
    let history = open(data.path(), &[&setting]);
    drained(&history).await;
    assert_eq!(archive.rows().await.len(), 250);
    close(history).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_player_is_erased() {
    let archive = Archive::start().await;
    let data = tempfile::tempdir().unwrap();
    let history = open(data.path(), &[&archive.setting()]);
    let mut of_ben = record("n", "ben", "t", "So.");
    of_ben.body.audience = vec!["anna".into(), "carl".into()];
    let of_anna = [record("n", "anna", "1", "So."), record("m", "anna", "2", "So.")];
    for record in of_anna.iter().chain([&of_ben]) {
        history.journal().put(record).await.unwrap();
    }
    drained(&history).await;
    history.journal().amend(of_anna[0].id, || Heard { said: "So.".into(), chars: Some(1) });
    let erased = history.erase("anna", Uuid::now_v7()).await.unwrap();
    assert_eq!((erased.interactions, erased.mentions), (2, 1));
    for turn in ["1", "2"] {
        assert_eq!(history.find("anna", "n", turn).await.unwrap(), None);
    }
    assert!(history.journal().put(&of_anna[0]).await.is_err(), "nothing brings it back");
    of_ben.body.audience = vec!["carl".into()];
    assert_eq!(history.page("n", None, 10).await.unwrap(), [of_ben]);
    assert!(history.page("m", None, 10).await.unwrap().is_empty());
    close(history).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_while_it_moves_is_not_lost() {
    let archive = Archive::start().await;
    let data = tempfile::tempdir().unwrap();
    let history = open(data.path(), &[&archive.setting()]);
    let records: Vec<_> = (0..300).map(|turn| record("n", "anna", &turn.to_string(), "So it is.")).collect();
    let mut chars = 0;
    for record in &records {
        history.journal().put(record).await.unwrap();
        // At every moment of its way.
        chars = (chars + 1) % 9;
        history.journal().amend(record.id, || Heard { said: "So it is.".into(), chars: Some(chars) });
        if chars % 3 == 0 {
            tokio::task::yield_now().await;
        }
    }
    drained(&history).await;
    let expected = |at: usize| Some((at as i64 + 1) % 9);
    super::until_rows(&archive.client, |rows| {
        rows.len() == 300 && rows.iter().all(|row| row.heard == expected(row.turn.parse().unwrap()))
    })
    .await;
    close(history).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_at_once_has_written_what_was_heard() {
    let archive = Archive::start().await;
    let proxy = Proxy::start(archive.postgres.address());
    let data = tempfile::tempdir().unwrap();
    let setting = archive.setting_at(proxy.address());
    let record = record("n", "anna", "t", "So it is.");
    let history = open(data.path(), &[&setting]);
    history.journal().put(&record).await.unwrap();
    drained(&history).await;
    close(history).await;
    for chars in 1..=8 {
        proxy.cut();
        let history = open(data.path(), &[&setting]);
        history.amend(record.id, || Heard { chars: Some(chars), ..record.heard.clone() });
        close(history).await;
        proxy.restore();
        let history = open(data.path(), &[&setting]);
        let start = std::time::Instant::now();
        while history.archive().unwrap().state() != ArchiveState::Up {
            assert!(start.elapsed().as_secs() < 60, "not in a minute");
            std::thread::yield_now();
        }
        history.close();
        assert_eq!(rows(&archive.client).await[0].heard, Some(chars as i64), "try {chars}");
    }
}
