//! One server drains into a database.

use super::{Archive, QUICK, close, drained, open, record, until, until_drained, until_state_is};
use crate::gateway::{Client, Gateway};

#[tokio::test]
async fn a_second_server_waits_until_the_first_has_gone() {
    let archive = Archive::start().await;
    let (data, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let setting = archive.setting();
    let sets = [QUICK.as_slice(), &[&setting]].concat();
    let first = Gateway::start(data.path(), &sets);
    until_state_is(&first, "up");
    let second = Gateway::start(other.path(), &sets);
    until_state_is(&second, "held");
    let mut client = Client::joined(&second.address, "anna", "lucy").await.unwrap();
    let (_, done) = client.say("lucy", "t1", "Hi").await.unwrap();
    assert!(done["interaction"].is_string(), "{done}");
    let (_, state) = second.get("/readyz");
    assert_eq!(state["postgres"]["waiting"], 1);
    until_state_is(&first, "up");
    assert_eq!(archive.rows().await, []);
    first.kill();
    until_drained(&second);
    assert_eq!(archive.rows().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_loses_its_session_takes_the_lease_again() {
    let archive = Archive::start().await;
    let data = tempfile::tempdir().unwrap();
    let history = open(data.path(), &[&archive.setting()]);
    for turn in 0..3 {
        history.journal().put(&record("n", "anna", &turn.to_string(), "So.")).await.unwrap();
        drained(&history).await;
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'npc-gateway %'";
        let ended = archive.client.query(end, &[]).await.unwrap();
        assert_eq!(ended.len(), 1, "one session holds the lease");
        until("that is noticed", || {
            history.archive().unwrap().state() != npc_gateway::history::ArchiveState::Up
        })
        .await;
    }
    drained(&history).await;
    assert_eq!(archive.rows().await.len(), 3);
    close(history).await;
}
