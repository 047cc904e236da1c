//! The partitions of Postgres's table: one a month, made before there is anything in it.

use std::time::{SystemTime, UNIX_EPOCH};

use diesel::result::{DatabaseErrorKind, Error};
use diesel_async::AsyncPgConnection;

use super::write::{Month, make_partition};

/// The first moment for whose month a partition is made: 2020. Ids before that have another clock than ours.
const FIRST_MS: i64 = 1_577_836_800_000;
/// How far ahead of now there is a partition, and how far ahead rows may be and have one.
const AHEAD_MS: i64 = 40 * 24 * 3600 * 1000;

/// The months that are known to have their partition, or to go without one.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    months: Vec<Month>,
}

impl Partitions {
    /// Makes the partitions of this month and of what follows it, and those of rows at these moments, which have waited
    /// since then.
    pub async fn make(
        &mut self,
        connection: &mut AsyncPgConnection,
        moments: impl Iterator<Item = u64>,
    ) -> Result<(), Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
        let moments = moments.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
        let moments = moments.filter(|ms| (FIRST_MS..now + AHEAD_MS).contains(ms));
        for ms in moments.chain([now, now + AHEAD_MS]) {
            if self.months.iter().any(|month| (month.first_ms..month.end_ms).contains(&ms)) {
                continue;
            }
            let month = match make_partition(connection, ms).await {
                Ok(month) => month,
                Err(Error::DatabaseError(DatabaseErrorKind::CheckViolation, reason)) => {
                    tracing::warn!(
                        reason = reason.message(),
                        "interactions of a month stay in npc_interactions_default, where some of it are already"
                    );
                    Month { first_ms: ms, end_ms: ms + AHEAD_MS / 40 }
                }
                Err(error) => return Err(error),
            };
            self.months.push(month);
        }
        Ok(())
    }
}
