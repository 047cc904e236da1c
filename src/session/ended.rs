//! Sessions that waited in vain, so that a client that comes too late is told so.

use std::collections::HashMap;

use parking_lot::Mutex;
use uuid::Uuid;

use super::keys::Keys;
use crate::wire::ResumeFailReason;

/// Sessions that are remembered at least, if there were as many; twice as many at most, in about 2 MiB.
const REMEMBERED: usize = 16_384;

/// The sessions that ended last because their client did not come back. Whoever asks without the token learns no
/// more than of a session that is there.
#[derive(Debug, Default)]
pub struct Ended {
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Uuid, Keys>,
    old: HashMap<Uuid, Keys>,
}

impl Ended {
    pub fn remember(&self, session: Uuid, keys: Keys) {
        let mut generations = self.generations.lock();
        if generations.young.len() >= REMEMBERED {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(session, keys);
    }

    /// Why a session that is not there cannot be resumed.
    pub fn reason(&self, session: Uuid, token: &str) -> ResumeFailReason {
        let generations = self.generations.lock();
        match generations.young.get(&session).or_else(|| generations.old.get(&session)) {
            None => ResumeFailReason::UnknownSession,
            Some(keys) if keys.fit(token) => ResumeFailReason::Expired,
            Some(_) => ResumeFailReason::BadToken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_remembered_and_the_oldest_forgotten() {
        let ended = Ended::default();
        let sessions: Vec<_> =
            (0..3 * REMEMBERED).map(|i| (Uuid::from_u128(i as u128), Keys::new())).collect();
        for (session, keys) in &sessions {
            ended.remember(*session, *keys);
        }
        let of = |(session, keys): &(Uuid, Keys)| ended.reason(*session, &keys.token());
        assert_eq!(of(&sessions[0]), ResumeFailReason::UnknownSession);
        for newest in &sessions[2 * REMEMBERED..] {
            assert_eq!(of(newest), ResumeFailReason::Expired);
        }
        let newest = &sessions[3 * REMEMBERED - 1];
        assert_eq!(ended.reason(newest.0, &Keys::new().token()), ResumeFailReason::BadToken);
        let generations = ended.generations.lock();
        assert!(generations.young.len() + generations.old.len() <= 2 * REMEMBERED);
    }
}
