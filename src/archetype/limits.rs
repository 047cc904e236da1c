//! How much a pack may hold. Everything in it ends in memory, and most of it in prompts.

/// Packs of one server.
pub(super) const PACKS: usize = 256;
/// Bytes of a `pack.toml`.
pub(super) const FILE_BYTES: u64 = 64 << 10;
/// Characters of `title` and of each of `names`.
pub(super) const NAME_CHARS: usize = 40;
/// Entries of `names`.
pub(super) const NAMES: usize = 256;
/// Characters of `persona`. It is read by the model for every line, so short is fast.
pub(super) const PERSONA_CHARS: usize = 1000;
/// Entries of `speech` and of `lore`, and characters of each.
pub(super) const RULES: usize = 16;
pub(super) const RULE_CHARS: usize = 300;
/// Entries of `overload_lines`, and characters of each.
pub(super) const LINES: usize = 64;
pub(super) const LINE_CHARS: usize = 300;
/// Characters a second.
pub(super) const SPEECH_RATE: std::ops::RangeInclusive<f32> = 1.0..=1000.0;
/// Phrases in each list of `[blocked]`, and characters of each.
pub(super) const PHRASES: usize = 256;
pub(super) const PHRASE_CHARS: usize = 64;
/// Size of a weight in `[mix]`.
pub(super) const WEIGHT: f32 = 2.0;
/// Versions of one adapter that are told and can be promoted, the newest.
pub(super) const VERSIONS: usize = 32;
/// Highest version number of an adapter.
pub(super) const VERSION: u32 = 999_999;
