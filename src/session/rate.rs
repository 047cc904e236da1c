//! How many frames and lines a player may send in a time.
//!
//! Counted by player, not by session, so that neither more sessions nor new ones give more. A frame past the rate is
//! answered `rate_limited` and not done. Each socket is also patient with only so many of those ([`Patience`]).

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::DashMapStateStore;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::config;
use crate::wire::{ErrorCode, ErrorPayload};

/// How often players who have been quiet are forgotten.
const SWEEP: Duration = Duration::from_secs(30);
/// Players that are remembered at least before there is no room.
const MIN_PLAYERS: usize = 65_536;

/// The counts of all players.
#[derive(Debug)]
pub struct Rates {
    frames: Option<Limiter>,
    turns: Option<Limiter>,
    /// Players that may be remembered at the same time.
    most: usize,
    started: Instant,
    /// Seconds after `started` at which the next sweep is due.
    sweep_at: AtomicU64,
}

/// One limit.
#[derive(Debug)]
struct Limiter {
    by_player: RateLimiter<String, DashMapStateStore<String>, DefaultClock>,
    /// As the setting has it.
    limit: u32,
    /// "frames a second (session.frames_per_second)".
    words: &'static str,
}

impl Limiter {
    /// `None`: no limit. `period`: what `limit` counts in.
    fn new(limit: u32, burst: u32, quota: fn(NonZeroU32) -> Quota, words: &'static str) -> Option<Self> {
        let quota = quota(NonZeroU32::new(limit)?).allow_burst(NonZeroU32::new(burst)?);
        Some(Self { by_player: RateLimiter::dashmap(quota), limit, words })
    }

    fn take(&self, player: &String) -> Result<(), Box<ErrorPayload>> {
        let Err(until) = self.by_player.check_key(player) else { return Ok(()) };
        let wait = until.wait_time_from(DefaultClock::default().now());
        let (limit, words) = (self.limit, self.words);
        Err(Box::new(ErrorPayload {
            temporary: true,
            // Rounded up: a frame that comes so much later is in time.
            retry_after_ms: Some(wait.as_millis() as u64 + 1),
            limit: Some(u64::from(limit).into()),
            ..ErrorPayload::new(ErrorCode::RateLimited, format!("a player may send {limit} {words}"))
        }))
    }

    fn sweep(&self) {
        self.by_player.retain_recent();
        self.by_player.shrink_to_fit();
    }
}

impl Rates {
    pub fn new(config: &config::Session) -> Self {
        Self {
            frames: Limiter::new(
                config.frames_per_second,
                config.frames_burst,
                Quota::per_second,
                "frames a second (session.frames_per_second)",
            ),
            turns: Limiter::new(
                config.turns_per_minute,
                config.turns_burst,
                Quota::per_minute,
                "lines a minute (session.turns_per_minute)",
            ),
            most: config.max_sessions.saturating_mul(2).max(MIN_PLAYERS),
            started: Instant::now(),
            sweep_at: AtomicU64::new(SWEEP.as_secs()),
        }
    }

    /// Counts a frame of a player. The error is the answer to it.
    pub fn frame(&self, player: &String) -> Result<(), Box<ErrorPayload>> {
        self.frames.as_ref().map_or(Ok(()), |limiter| limiter.take(player))
    }

    /// Counts a line of a player. The error is the answer to it, without turn and NPC.
    pub fn turn(&self, player: &String) -> Result<(), Box<ErrorPayload>> {
        self.turns.as_ref().map_or(Ok(()), |limiter| limiter.take(player))
    }

    /// Whether one more player can be counted. Forgets, now and then or if there is no room, those whose counts are
    /// as if they had never come. Called once for each new session: nobody else adds players.
    pub fn has_room(&self) -> bool {
        let now = self.started.elapsed().as_secs();
        let due = self.sweep_at.load(Ordering::Relaxed);
        let is_full = || self.limiters().any(|limiter| limiter.by_player.len() >= self.most);
        let sweeps = now >= due
            && self
                .sweep_at
                .compare_exchange(due, now + SWEEP.as_secs(), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if sweeps || is_full() {
            self.limiters().for_each(Limiter::sweep);
        }
        !is_full()
    }

    fn limiters(&self) -> impl Iterator<Item = &Limiter> {
        self.frames.iter().chain(&self.turns)
    }
}

/// What one socket may do past the limits before it is closed: as many refused frames as it may send frames, and as
/// many frames before it has identified.
#[derive(Debug)]
pub struct Patience {
    quota: Option<Quota>,
    /// Made when it is needed: most sockets never do.
    spent: Option<Box<DefaultDirectRateLimiter>>,
}

impl Patience {
    pub fn new(config: &config::Session) -> Self {
        let rate = NonZeroU32::new(config.frames_per_second);
        let quota = rate
            .zip(NonZeroU32::new(config.frames_burst))
            .map(|(rate, burst)| Quota::per_second(rate).allow_burst(burst));
        Self { quota, spent: None }
    }

    /// Counts a frame; false if it was one too many.
    pub fn bears(&mut self) -> bool {
        let Some(quota) = self.quota else { return true };
        let spent = self.spent.get_or_insert_with(|| Box::new(RateLimiter::direct(quota)));
        spent.check().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn settings(sets: &[&str]) -> config::Session {
        let sets: Vec<String> = sets.iter().map(|set| format!("session.{set}")).collect();
        Config::load(None, std::iter::empty(), &sets).unwrap().session
    }

    #[test]
    fn a_player_has_a_burst_and_then_the_rate() {
        let rates = Rates::new(&settings(&["frames_per_second=1", "frames_burst=5", "turns_burst=3"]));
        let (anna, bert) = ("anna".to_owned(), "bert".to_owned());
        for _ in 0..5 {
            assert_eq!(rates.frame(&anna), Ok(()));
        }
        let error = rates.frame(&anna).unwrap_err();
        assert_eq!((error.code, error.temporary), (ErrorCode::RateLimited, true));
        assert_eq!(error.limit, Some(1_u64.into()));
        assert!(error.message.contains("session.frames_per_second"), "{}", error.message);
        assert!(error.retry_after_ms.is_some_and(|ms| (1..=1001).contains(&ms)), "{error:?}");
        assert_eq!(rates.frame(&bert), Ok(()), "another player is not concerned");
        for _ in 0..3 {
            assert_eq!(rates.turn(&anna), Ok(()));
        }
        let error = rates.turn(&anna).unwrap_err();
        assert!(error.message.contains("session.turns_per_minute"), "{}", error.message);
    }

    #[test]
    fn nothing_is_counted_without_a_limit() {
        let config =
            settings(&["frames_per_second=0", "turns_per_minute=0", "frames_burst=1", "turns_burst=1"]);
        let (rates, mut patience) = (Rates::new(&config), Patience::new(&config));
        for _ in 0..100 {
            assert_eq!((rates.frame(&"a".into()), rates.turn(&"a".into())), (Ok(()), Ok(())));
            assert!(patience.bears());
        }
    }

    #[test]
    fn quiet_players_are_forgotten_and_busy_ones_are_bounded() {
        // Whoever sent one frame is as new a thousandth of a second later.
        let mut rates = Rates::new(&settings(&["frames_per_second=1000", "turns_per_minute=0"]));
        rates.most = 10;
        for player in 0..10 {
            rates.frame(&player.to_string()).unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
        assert!(rates.has_room());
        assert!(rates.frames.as_ref().unwrap().by_player.is_empty());
        let mut rates = Rates::new(&settings(&["turns_per_minute=1"]));
        rates.most = 10;
        for player in 0..10 {
            rates.turn(&player.to_string()).unwrap();
        }
        assert!(!rates.has_room());
    }

    #[test]
    fn patience_has_an_end() {
        let mut patience = Patience::new(&settings(&["frames_per_second=1", "frames_burst=5"]));
        assert_eq!((0..100).take_while(|_| patience.bears()).count(), 5);
    }
}
