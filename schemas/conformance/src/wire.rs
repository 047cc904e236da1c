//! The two subprotocols.

use serde_json::{Map, Value};
use tokio_tungstenite::tungstenite::Message;

/// How frames are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Encoding {
    Msgpack,
    Json,
}

impl Encoding {
    pub const ALL: [Self; 2] = [Self::Msgpack, Self::Json];

    /// Its name in `Sec-WebSocket-Protocol`.
    pub fn subprotocol(self) -> &'static str {
        match self {
            Self::Msgpack => "npc.v1.msgpack",
            Self::Json => "npc.v1.json",
        }
    }

    pub fn from_subprotocol(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|encoding| encoding.subprotocol() == name)
    }

    /// As case files name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Msgpack => "msgpack",
            Self::Json => "json",
        }
    }

    pub fn other(self) -> Self {
        match self {
            Self::Msgpack => Self::Json,
            Self::Json => Self::Msgpack,
        }
    }

    /// A value as a message of this subprotocol.
    ///
    /// # Errors
    /// None that JSON can cause.
    pub fn write(self, value: &Value) -> Result<Message, String> {
        match self {
            Self::Json => Ok(Message::text(value.to_string())),
            Self::Msgpack => {
                let value = rmpv::ext::to_value(value).map_err(|error| error.to_string())?;
                let mut bytes = Vec::new();
                rmpv::encode::write_value(&mut bytes, &value).map_err(|error| error.to_string())?;
                Ok(Message::binary(bytes))
            }
        }
    }

    /// A message as a value. A `bin` becomes an array of integers, as JSON has it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(self, message: &Message) -> Result<Value, String> {
        match (self, message) {
            (Self::Json, Message::Text(text)) => {
                serde_json::from_str(text).map_err(|error| error.to_string())
            }
            (Self::Msgpack, Message::Binary(bytes)) => {
                let mut rest = &bytes[..];
                let value = rmpv::decode::read_value(&mut rest).map_err(|error| error.to_string())?;
                if !rest.is_empty() {
                    return Err(format!("{} bytes after the frame", rest.len()));
                }
                plain(value, "")
            }
            (_, other) => {
                let kind = if other.is_text() { "text" } else { "binary" };
                Err(format!("a {kind} message, which is not the subprotocol's type"))
            }
        }
    }
}

/// MessagePack as JSON. Only `w` is a blob, and it must be one.
fn plain(value: rmpv::Value, key: &str) -> Result<Value, String> {
    use rmpv::Value as Pack;
    Ok(match value {
        Pack::Array(_) if key == "w" => return Err("`w` is an array and not a bin".into()),
        Pack::Binary(_) if key != "w" => return Err(format!("`{key}` is a bin")),
        Pack::Nil => Value::Null,
        Pack::Boolean(truth) => truth.into(),
        Pack::Integer(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => number.into(),
            (None, Some(number)) => number.into(),
            (None, None) => return Err(format!("`{key}` is no integer")),
        },
        Pack::F32(number) => f64::from(number).into(),
        Pack::F64(number) => number.into(),
        Pack::String(text) => {
            text.into_str().ok_or_else(|| format!("`{key}` is a str that is not UTF-8"))?.into()
        }
        Pack::Binary(bytes) => bytes.into(),
        Pack::Array(items) => {
            items.into_iter().map(|item| plain(item, "")).collect::<Result<Vec<_>, _>>()?.into()
        }
        Pack::Map(entries) => {
            let mut map = Map::new();
            for (key, value) in entries {
                let Pack::String(key) = key else { return Err(format!("a key is {key} and not a string")) };
                let key = key.into_str().ok_or("a key is not UTF-8")?;
                let value = plain(value, &key)?;
                if map.insert(key.clone(), value).is_some() {
                    return Err(format!("the key `{key}` comes twice"));
                }
            }
            map.into()
        }
        Pack::Ext(..) => return Err(format!("`{key}` is an extension type")),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_encodings_carry_the_same_values() {
        let frame = json!({"op": "x", "d": {"n": u64::MAX, "m": -3, "f": 0.5, "t": "🦇", "l": [true, null]}});
        for encoding in Encoding::ALL {
            assert_eq!(encoding.read(&encoding.write(&frame).unwrap()), Ok(frame.clone()));
            assert!(encoding.other().read(&encoding.write(&frame).unwrap()).is_err());
        }
    }

    #[test]
    fn bytes_that_are_no_frame_of_the_protocol_are_named() {
        let read = |bytes: &[u8]| Encoding::Msgpack.read(&Message::binary(bytes.to_vec())).unwrap_err();
        assert!(read(b"\x80\x80").contains("after the frame"));
        assert!(read(b"\x81\x01\x02").contains("not a string"));
        assert!(read(b"\x82\xa1a\x01\xa1a\x01").contains("twice"));
        assert!(read(b"\x81\xa1w\x91\x01").contains("not a bin"));
        assert!(read(b"\x81\xa1a\xc4\x01\x01").contains("is a bin"));
        assert_eq!(
            Encoding::Msgpack.read(&Message::binary(b"\x81\xa1w\xc4\x01\x07".to_vec())),
            Ok(json!({"w": [7]}))
        );
    }
}
