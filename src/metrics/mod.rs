//! What is measured while the server runs: plain structs of counters and histograms, each held by the part that counts.
//!
//! There is nothing global: whoever counts makes its own struct, so that many servers can run in one process, and
//! `http` writes them all on one page ([`Page`]) when somebody asks for it. Counting is an atomic addition, whoever
//! counts and whoever reads meanwhile. What can be looked up is not counted here but looked up when the page is written.
//! Every label has a closed list of values ([`Label`]), or a bounded one ([`ByName`]): docs/metrics.md lists all of it.

mod auth;
mod bounds;
mod by;
mod close;
mod engine;
mod history;
mod kinds;
mod labels;
mod names;
mod page;
mod process;
mod provision;
mod session;
mod turn;

pub use self::auth::{AuthMetrics, TokenFault};
pub use self::by::{By, By2};
pub use self::close::SocketClose;
pub use self::engine::{Class, EngineMetrics, Kind, Refused, TokenPhase};
pub use self::history::{
    ArchiveCause, ArchiveMetrics, Done, HistoryMetrics, HotMetrics, JournalMetrics, Lookup, Read, Search,
};
pub use self::kinds::{Counter, Gauge, Held, Histogram};
pub use self::labels::Label;
pub use self::names::ByName;
pub use self::page::Page;
pub use self::process::Process;
pub use self::provision::{Left, ProvisionMetrics, Reached};
pub use self::session::{Limited, SessionEnd, SessionMetrics, Upgrade};
pub use self::turn::{
    Answerer, Blocker, Missing, ModelMetrics, ModerationMetrics, Question, Side, TurnMetrics, Verdict,
};
