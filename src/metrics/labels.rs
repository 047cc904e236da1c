//! Values of labels: closed lists, so that every series is there from the start and none comes by surprise.

use crate::wire::{DoneReason, ErrorCode, ResumeFailReason, RouteReason};

/// What a metric is counted by.
pub trait Label: Copy + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// Every value, each at its [`Self::index`].
    const ALL: &'static [Self];

    /// As it stands on the page.
    fn value(self) -> &'static str;

    fn index(self) -> usize;
}

/// Makes a [`Label`] of an enum that is there: its variants in their order, each with its value.
macro_rules! label {
    ($name:ty, $label:literal { $($variant:ident = $value:literal),+ $(,)? }) => {
        impl $crate::metrics::Label for $name {
            const NAME: &'static str = $label;
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn value(self) -> &'static str {
                match self {
                    $(Self::$variant => $value),+
                }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

pub(super) use label;

label!(DoneReason, "reason" {
    Stop = "stop",
    Length = "length",
    Cancelled = "cancelled",
    Blocked = "blocked",
    Error = "error",
});

label!(RouteReason, "reason" {
    Promoted = "promoted",
    Canary = "canary",
    NoChain = "no_chain",
    NoAdapter = "no_adapter",
    Weights = "weights",
    Fallback = "fallback",
    Blocked = "blocked",
});

label!(ResumeFailReason, "reason" {
    UnknownSession = "unknown_session",
    BadToken = "bad_token",
    EpochChanged = "epoch_changed",
    Expired = "expired",
    Gap = "gap",
    BadSubprotocol = "bad_subprotocol",
});

label!(ErrorCode, "code" {
    UnknownOp = "unknown_op",
    BadPayload = "bad_payload",
    UnknownNpc = "unknown_npc",
    UnknownArchetype = "unknown_archetype",
    UnknownTurn = "unknown_turn",
    DuplicateTurn = "duplicate_turn",
    TextTooLong = "text_too_long",
    TooManyNpcs = "too_many_npcs",
    RateLimited = "rate_limited",
    Overloaded = "overloaded",
    EngineFailed = "engine_failed",
    StorageFailed = "storage_failed",
    Forbidden = "forbidden",
    NotAvailable = "not_available",
});

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Debug;

    use super::*;
    use crate::metrics::{
        Answerer, ArchiveCause, Blocker, Class, Done, Kind, Left, Limited, Lookup, Missing, Question,
        Reached, Read, Refused, Search, SessionEnd, Side, SocketClose, TokenFault, TokenPhase, Upgrade,
        Verdict,
    };

    fn check<L: Label + PartialEq + Debug>() {
        for (at, value) in L::ALL.iter().enumerate() {
            assert_eq!(value.index(), at, "{value:?}");
        }
        let values: BTreeSet<_> = L::ALL.iter().map(|value| value.value()).collect();
        let apart = values.len() == L::ALL.len();
        assert!(apart, "two values of {} are called the same", L::NAME);
    }

    #[test]
    fn every_value_stands_at_its_index_under_a_name_of_its_own() {
        check::<DoneReason>();
        check::<RouteReason>();
        check::<ResumeFailReason>();
        check::<ErrorCode>();
        check::<Answerer>();
        check::<ArchiveCause>();
        check::<Blocker>();
        check::<Class>();
        check::<Done>();
        check::<Kind>();
        check::<Left>();
        check::<Limited>();
        check::<Lookup>();
        check::<Missing>();
        check::<Question>();
        check::<Reached>();
        check::<Read>();
        check::<Refused>();
        check::<Search>();
        check::<SessionEnd>();
        check::<Side>();
        check::<SocketClose>();
        check::<TokenFault>();
        check::<TokenPhase>();
        check::<Upgrade>();
        check::<Verdict>();
    }

    #[test]
    fn values_are_called_as_on_the_wire() {
        let on_the_wire = |value: serde_json::Value| value.as_str().map(str::to_owned);
        for code in ErrorCode::ALL {
            assert_eq!(on_the_wire(serde_json::to_value(code).unwrap()).as_deref(), Some(code.value()));
        }
        for reason in DoneReason::ALL {
            assert_eq!(on_the_wire(serde_json::to_value(reason).unwrap()).as_deref(), Some(reason.value()));
        }
        for reason in <RouteReason as Label>::ALL {
            assert_eq!(on_the_wire(serde_json::to_value(reason).unwrap()).as_deref(), Some(reason.value()));
        }
        for reason in ResumeFailReason::ALL {
            assert_eq!(on_the_wire(serde_json::to_value(reason).unwrap()).as_deref(), Some(reason.value()));
        }
    }
}
