//! The warm tier: the last memories of every place, for a day.
//!
//! One contract, kept by a store in this process and by Redis:
//! - a memory lies at all of its places, once, whatever is written again; who writes it again replaces it;
//! - a place holds the newest [`KEPT`] and is gone [`LIFE`] after the last one was written to it;
//! - reading what an NPC knows that may concern a player is one round trip;
//! - writing waits for nothing. What cannot be written is not here, and nowhere missed: what was said is in the journal.

mod link;
mod local;
mod redis;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use self::redis::client as redis_client;

use self::local::Local;
use self::redis::Redis;
use super::memory::Memory;
use crate::config;

/// Memories of a place; past it the oldest go.
pub const KEPT: usize = 100;
/// How long a place lives after it was written to.
const LIFE: Duration = Duration::from_hours(24);

/// Why the warm tier cannot be used as it is set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WarmError {
    #[error("setting history.redis_ca: {path}: {reason}")]
    Certificate { path: PathBuf, reason: String },
    #[error("setting history.redis_url: {0}")]
    Url(String),
    #[error("Redis cannot be reached")]
    Down,
    #[error("Redis: {0}")]
    Failed(String),
}

/// How the warm tier is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WarmState {
    /// In this process.
    Embedded,
    Up,
    Down,
}

impl WarmState {
    /// As it is told.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub enum Warm {
    Local(Local),
    Redis(Redis),
}

impl Warm {
    /// The tier that the settings name. `store`: whose memories these are; others of the same Redis are not seen. With
    /// Redis a task is started that connects and writes: a Redis that is not there is no error.
    ///
    /// # Errors
    /// [`WarmError::Certificate`], [`WarmError::Url`].
    pub fn open(config: &config::History, store: &str) -> Result<Self, WarmError> {
        if config.redis_url.is_empty() {
            return Ok(Self::Local(Local::new(config.warm_mb << 20, LIFE)));
        }
        Ok(Self::Redis(Redis::open(config, store, LIFE)?))
    }

    /// Writes a memory, or what has become of it, soon.
    pub fn put(&self, memory: &Arc<Memory>) {
        match self {
            Self::Local(local) => local.put(memory),
            Self::Redis(redis) => redis.put(memory),
        }
    }

    /// What an NPC knows that may concern a player, in no order; `None`: that could not be learnt in this time.
    pub async fn read(&self, npc: &str, player: &str, patience: Duration) -> Option<Vec<Arc<Memory>>> {
        match self {
            Self::Local(local) => Some(local.read(npc, player)),
            Self::Redis(redis) => redis.read(npc, player, patience).await,
        }
    }

    /// Forgets everything that a player took part in; when this returns it has.
    ///
    /// # Errors
    /// [`WarmError::Down`], [`WarmError::Failed`]: some of it may still be there.
    pub async fn forget_player(&self, player: &str) -> Result<(), WarmError> {
        match self {
            Self::Local(local) => {
                local.forget_player(player);
                Ok(())
            }
            Self::Redis(redis) => redis.forget_player(player).await,
        }
    }

    /// Waits until what was put is written, or is not going to be.
    pub async fn flush(&self) {
        if let Self::Redis(redis) = self {
            redis.flush().await;
        }
    }

    pub fn state(&self) -> WarmState {
        match self {
            Self::Local(_) => WarmState::Embedded,
            Self::Redis(redis) => redis.state(),
        }
    }

    /// Memories that wait to be written.
    pub fn waiting(&self) -> usize {
        match self {
            Self::Local(_) => 0,
            Self::Redis(redis) => redis.waiting(),
        }
    }

    /// Memories that were not written, because Redis was down or slow.
    pub fn dropped(&self) -> u64 {
        match self {
            Self::Local(_) => 0,
            Self::Redis(redis) => redis.dropped(),
        }
    }

    /// Ends the task, which writes what waits first if that is quick.
    pub fn close(&self) {
        if let Self::Redis(redis) = self {
            redis.close();
        }
    }
}
