//! What an NPC looks like: measures, marks and the weights of shapes, from its seed, and the scars that it gets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::draw::{Source, rounded};
use crate::archetype::{BodyTable, Span};

/// Scars that a body shows; then the faintest is gone.
pub const MAX_SCARS: usize = 24;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Body {
    pub height_m: f32,
    pub mass_kg: f32,
    /// Body mass index, kg/m².
    pub build: f32,
    /// Years that one would give it.
    pub age: f32,
    /// Breadths in heights.
    pub shoulder_ratio: f32,
    pub hip_ratio: f32,
    /// 0 to 1.
    pub asymmetry: f32,
    pub scars: Vec<Scar>,
    pub warts: Vec<Wart>,
    /// Ids of the pack's.
    pub marks: Vec<String>,
    /// Shape → weight, −1 to 1.
    pub morphs: BTreeMap<String, f32>,
}

/// What an injury has left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scar {
    /// One of [`PLACES`].
    pub place: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<Side>,
    /// 0 to 1.
    pub severity: f32,
    /// Milliseconds since 1970, UTC; absent: it always had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_ms: Option<u64>,
}

/// A wart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wart {
    pub place: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<Side>,
    /// Across.
    pub size_mm: f32,
}

/// The NPC's own left and right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Left,
    Right,
}

/// A place on a body: its name, whether there are two of it, and what else a text may call it.
type Place = (&'static str, bool, &'static [&'static str]);

/// Where scars and warts are. Each goes by its own name too.
const PLACES: [Place; 19] = [
    ("scalp", false, &["head", "skull", "crown"]),
    ("forehead", false, &[]),
    ("brow", true, &["eyebrow", "eye", "eyes", "temple"]),
    ("ear", true, &["ears"]),
    ("nose", false, &["snout"]),
    ("cheek", true, &["cheeks", "face", "cheekbone"]),
    ("lip", false, &["lips", "mouth"]),
    ("chin", false, &["jaw"]),
    ("neck", false, &["throat"]),
    ("shoulder", true, &["shoulders", "collarbone"]),
    ("chest", false, &["breast", "heart", "ribs"]),
    ("belly", false, &["stomach", "gut", "guts", "waist"]),
    ("back", false, &["spine"]),
    ("hip", true, &["hips"]),
    ("arm", true, &["arms", "elbow", "forearm", "wrist"]),
    ("hand", true, &["hands", "finger", "fingers", "thumb", "palm", "claw", "paw"]),
    ("thigh", true, &["thighs", "knee", "knees"]),
    ("leg", true, &["legs", "calf", "shin"]),
    ("foot", true, &["feet", "toe", "toes", "ankle", "heel"]),
];

/// A body without its scars, as it may be stored.
#[derive(Deserialize)]
struct Scars {
    #[serde(default)]
    scars: Vec<Scar>,
}

impl Body {
    /// What a seed makes of an archetype.
    pub fn born(seed: u64, table: &BodyTable) -> Self {
        let mut source = Source::new(seed, "body");
        let mut measure = |span: Span| rounded(source.within(span.0, span.1));
        let (height_m, build) = (measure(table.height_m), measure(table.build));
        let (age, asymmetry) = (measure(table.age), measure(table.asymmetry));
        let (shoulder_ratio, hip_ratio) = (measure(table.shoulder_ratio), measure(table.hip_ratio));
        let mut skin = Source::new(seed, "body.skin");
        let scars = (0..skin.count(table.scars.0, table.scars.1)).map(|_| {
            let (place, side) = anywhere(&mut skin);
            Scar { place, side, severity: rounded(skin.within(0.05, 0.8)), at_ms: None }
        });
        let scars = scars.collect();
        let warts = (0..skin.count(table.warts.0, table.warts.1)).map(|_| {
            let (place, side) = anywhere(&mut skin);
            Wart { place, side, size_mm: rounded(skin.within(1.0, 9.0)) }
        });
        let warts = warts.collect();
        // Each has a source of its own, so that a pack may add others.
        let has = |id: &str, chance: f64| Source::new(seed, &format!("body.mark.{id}")).unit() < chance;
        let marks = table.marks.iter().filter(|mark| has(&mark.id, mark.chance)).map(|mark| mark.id.clone());
        let weight = |name: &str, span: &Span| {
            rounded(Source::new(seed, &format!("body.morph.{name}")).within(span.0, span.1))
        };
        let height = f64::from(height_m);
        Self {
            height_m,
            mass_kg: rounded(f64::from(build) * height * height),
            build,
            age,
            shoulder_ratio,
            hip_ratio,
            asymmetry,
            scars,
            warts,
            marks: marks.collect(),
            morphs: table.morphs.iter().map(|(name, span)| (name.clone(), weight(name, span))).collect(),
        }
    }

    /// As it was stored, or as it was born with the scars that were stored.
    pub fn stored(map: &BTreeMap<String, Value>, born: impl FnOnce() -> Self) -> Self {
        let value: Value = map.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        if let Ok(body) = serde_json::from_value(value.clone()) {
            return body;
        }
        let mut body = born();
        if let Ok(Scars { mut scars }) = serde_json::from_value(value)
            && !scars.is_empty()
        {
            scars.truncate(MAX_SCARS);
            body.scars = scars;
        }
        body
    }

    /// As stores and the wire have it.
    pub fn to_map(&self) -> BTreeMap<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(map)) => map.into_iter().map(|(key, value)| (key, shortest(value))).collect(),
            // Nothing in it cannot be written.
            _ => BTreeMap::new(),
        }
    }

    /// An injury: a scar where the text says, or somewhere that the seed and the event's id decide. One that is there
    /// grows.
    pub fn scar(&mut self, seed: u64, event: &str, text: &str, importance: f32, at_ms: u64) {
        let mut source = Source::new(seed, &format!("body.scar.{event}"));
        let (place, side) = named(text, &mut source).unwrap_or_else(|| anywhere(&mut source));
        let severity = 0.1 + 0.9 * f64::from(importance.clamp(0.0, 1.0));
        let at_ms = Some(at_ms);
        if let Some(scar) = self.scars.iter_mut().find(|scar| scar.place == place && scar.side == side) {
            let whole = 1.0 - (1.0 - f64::from(scar.severity)) * (1.0 - severity);
            *scar = Scar { severity: rounded(whole.clamp(0.0, 1.0)), at_ms, ..scar.clone() };
            return;
        }
        self.scars.push(Scar { place, side, severity: rounded(severity), at_ms });
        if self.scars.len() > MAX_SCARS {
            let faintest = (0..self.scars.len() - 1)
                .min_by(|a, b| self.scars[*a].severity.total_cmp(&self.scars[*b].severity));
            self.scars.remove(faintest.unwrap_or(0));
        }
    }
}

fn sided(pair: bool, source: &mut Source) -> Option<Side> {
    pair.then(|| *source.pick(&[Side::Left, Side::Right]))
}

fn anywhere(source: &mut Source) -> (String, Option<Side>) {
    let (place, pair, _) = source.pick(&PLACES);
    ((*place).to_owned(), sided(*pair, source))
}

/// The first place that a text names.
fn named(text: &str, source: &mut Source) -> Option<(String, Option<Side>)> {
    let words =
        || text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).map(str::to_lowercase);
    let of = |word: &String| {
        PLACES.iter().find(|(name, _, others)| *name == word.as_str() || others.contains(&word.as_str()))
    };
    let (place, pair, _) = words().find_map(|word| of(&word))?;
    let side = words().find_map(|word| match word.as_str() {
        "left" => Some(Side::Left),
        "right" => Some(Side::Right),
        _ => None,
    });
    let side = if *pair { side.or_else(|| sided(true, source)) } else { None };
    Some(((*place).to_owned(), side))
}
/// Its numbers with the fewest digits that mean them: 0.085, and not what is nearest to it in 32 bits.
fn shortest(value: Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => {
            let short = number.as_f64().and_then(|number| (number as f32).to_string().parse::<f64>().ok());
            short.map_or(Value::Number(number), Value::from)
        }
        Value::Array(items) => items.into_iter().map(shortest).collect(),
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, shortest(value))).collect(),
        other => other,
    }
}
