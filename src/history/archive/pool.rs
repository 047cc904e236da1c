//! Connections that are lent, and given back if they are good.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use deadpool::managed::Object;
use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use diesel_async::pooled_connection::deadpool::Pool;

use super::ArchiveError;
use super::connect::Target;
use super::error::root;

/// The connections to Postgres.
#[derive(Clone)]
pub(super) struct Connections {
    pool: Pool<AsyncPgConnection>,
    timeout: Duration,
}

/// One of them.
pub(super) struct Borrowed(Object<AsyncDieselConnectionManager<AsyncPgConnection>>);

impl Connections {
    pub fn new(target: &Target, size: usize) -> Result<Self, ArchiveError> {
        Ok(Self { pool: target.pool(size)?, timeout: target.timeout() })
    }

    pub async fn get(&self) -> Result<Borrowed, ArchiveError> {
        self.pool.get().await.map(Borrowed).map_err(|error| ArchiveError::Connect(root(&error)))
    }

    /// What is asked of Postgres, for as long as it may take.
    pub async fn within<T>(&self, query: impl Future<Output = QueryResult<T>>) -> Result<T, ArchiveError> {
        match tokio::time::timeout(self.timeout, query).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(ArchiveError::Late(self.timeout.as_millis() as u64)),
        }
    }
}

impl Borrowed {
    /// Gives it back, unless it did not answer in time: whoever had it next would wait as well.
    pub fn settle<T>(self, result: Result<T, ArchiveError>) -> Result<T, ArchiveError> {
        if matches!(result, Err(ArchiveError::Late(_))) {
            drop(Object::take(self.0));
        }
        result
    }
}

impl Deref for Borrowed {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        &self.0
    }
}

impl DerefMut for Borrowed {
    fn deref_mut(&mut self) -> &mut AsyncPgConnection {
        &mut self.0
    }
}
