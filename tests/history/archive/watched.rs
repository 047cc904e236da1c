//! How far the archive is behind can be seen, whatever Postgres does.

use npc_gateway::history::ArchiveState;
use npc_gateway::metrics::ArchiveCause;

use super::{Archive, close, drained, open, record, until};

#[tokio::test]
async fn what_waits_and_what_has_moved_is_counted() {
    let mut archive = Archive::start().await;
    let data = tempfile::tempdir().unwrap();
    let setting = archive.setting();
    let history = open(data.path(), &[&setting]);
    for turn in 0..5 {
        history.journal().put(&record("lucy", "anna", &format!("a{turn}"), "Good evening.")).await.unwrap();
    }
    drained(&history).await;
    // The drain counts rows when Postgres has them, and the journal forgets them behind that.
    let counted = || {
        let metrics = history.archive().unwrap().metrics();
        (metrics.records.get(), metrics.lag.count())
    };
    assert_eq!(counted(), (5, 5));
    assert!(history.archive().unwrap().metrics().write.count() >= 1);
    assert_eq!(history.journal().archive_lag_ms(), 0);
    assert_eq!(history.journal().metrics().put.count(), 5);
    assert!(history.journal().size().database > 0);

    archive.postgres.stop();
    for turn in 0..3 {
        history.journal().put(&record("lucy", "anna", &format!("b{turn}"), "Good night.")).await.unwrap();
    }
    let state = || history.archive().unwrap().state();
    until("Postgres is missed", || state() == ArchiveState::Away).await;
    assert_eq!(history.journal().waiting(), 3);
    assert!(history.archive().unwrap().metrics().failures.of(ArchiveCause::Away).get() >= 1);
    until("time has passed", || history.journal().archive_lag_ms() >= 50).await;
    close(history).await;

    // What waits since the last start of the server is as old as it is.
    let history = open(data.path(), &[&setting]);
    assert_eq!(history.journal().waiting(), 3);
    assert!(history.journal().archive_lag_ms() >= 50, "{}", history.journal().archive_lag_ms());
    archive.postgres.restart();
    drained(&history).await;
    assert_eq!(history.journal().archive_lag_ms(), 0);
    let metrics = history.archive().unwrap().metrics();
    assert_eq!((metrics.records.get(), metrics.lag.count()), (3, 3));
    let (waited, _) = metrics.lag.get();
    assert!(waited >= 0.15, "three rows have waited for {waited} s");
    close(history).await;
}
