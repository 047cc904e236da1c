//! What a client sent, before anything is believed about it: one tree for both encodings.
//!
//! Both codecs read into [`Value`], so that every check is written once and the two cannot disagree.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Deepest nesting of maps and arrays that is read; the outermost map counts. The deepest frame of the
/// protocol has four levels. It keeps a hostile message from exhausting the stack.
pub const MAX_DEPTH: usize = 32;

/// A decoded value; strings borrow from the message where they can.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Uint(u64),
    /// A negative integer.
    Int(i64),
    /// Any float, NaN and the infinities too.
    Float(f64),
    Str(Cow<'a, str>),
    Array(Vec<Value<'a>>),
    Map(Map<'a>),
    /// What no payload uses: bin, ext, and a MessagePack str that is not UTF-8.
    Opaque,
}

/// The entries with string keys, in the order of the message; the others are dropped, since no key of the
/// protocol can be meant by them. Of several entries with the same key the last one counts.
pub type Map<'a> = Vec<(Cow<'a, str>, Value<'a>)>;

impl Value<'_> {
    /// What it is, for messages to people.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Uint(_) => "an integer",
            Self::Int(_) => "a negative integer",
            Self::Float(_) => "a float",
            Self::Str(_) => "a string",
            Self::Array(_) => "an array",
            Self::Map(_) => "a map",
            Self::Opaque => "binary data",
        }
    }
}

/// The value of a key; null counts as absent.
pub fn get<'v, 'a>(map: &'v [(Cow<'a, str>, Value<'a>)], key: &str) -> Option<&'v Value<'a>> {
    let (_, value) = map.iter().rev().find(|(name, _)| name == key)?;
    (*value != Value::Null).then_some(value)
}

/// Reads one value at the given depth.
#[derive(Clone, Copy)]
pub struct Tree {
    /// Levels that may still be opened.
    pub depth_left: usize,
}

impl Tree {
    fn inside<E: Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left }),
            None => Err(E::custom("nested too deeply")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Tree {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value<'de>, E> {
        Ok(Value::Uint(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value<'de>, E> {
        // Encoders may put a positive number into a signed form.
        Ok(u64::try_from(value).map_or(Value::Int(value), Value::Uint))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value<'de>, E> {
        Ok(Value::Float(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Str(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value<'de>, E> {
        Ok(Value::Str(Cow::Owned(value.to_owned())))
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Value<'de>, E> {
        Ok(Value::Opaque)
    }

    /// A MessagePack ext: its tag, then its bytes.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_any(Skip)?;
        Ok(Value::Opaque)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value<'de>, A::Error> {
        let inside = self.inside()?;
        // The announced length is the client's claim, so nothing is reserved for it.
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inside)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        let inside = self.inside()?;
        let mut entries = Map::new();
        while let Some(key) = map.next_key_seed(inside)? {
            let value = map.next_value_seed(inside)?;
            if let Value::Str(key) = key {
                entries.push((key, value));
            }
        }
        Ok(Value::Map(entries))
    }
}

/// Reads past the two parts of an ext.
struct Skip;

impl<'de> Visitor<'de> for Skip {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tag and bytes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}
