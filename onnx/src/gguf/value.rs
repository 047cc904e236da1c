//! Metadata values. Texts and arrays stay in the file's bytes: what a file claims about its lengths never
//! decides how much memory is used.

use super::cursor::{Cursor, Fault};

/// Longest text of the metadata, in bytes. Chat templates are the longest; they take some tens of KiB.
pub(crate) const MAX_TEXT: usize = 1 << 20;

/// A metadata value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(&'a str),
    Array(Array<'a>),
}

/// The elements of an array, checked when the file was opened and decoded when they are asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Array<'a> {
    kind: Kind,
    len: usize,
    bytes: &'a [u8],
}

/// The type of a value, as the file numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    Text,
    Array,
    U64,
    I64,
    F64,
}

/// Why a value could not be read.
#[derive(Debug)]
pub(super) enum ValueFault {
    Bytes(Fault),
    UnknownKind(u32),
    NestedArray,
    BadBool(u8),
}

impl From<Fault> for ValueFault {
    fn from(fault: Fault) -> Self {
        Self::Bytes(fault)
    }
}

impl std::fmt::Display for ValueFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(fault) => fault.fmt(f),
            Self::UnknownKind(id) => write!(f, "value type {id} does not exist"),
            Self::NestedArray => write!(f, "an array of arrays"),
            Self::BadBool(byte) => write!(f, "{byte} is no truth value"),
        }
    }
}

impl Kind {
    fn from_id(id: u32) -> Result<Self, ValueFault> {
        Ok(match id {
            0 => Self::U8,
            1 => Self::I8,
            2 => Self::U16,
            3 => Self::I16,
            4 => Self::U32,
            5 => Self::I32,
            6 => Self::F32,
            7 => Self::Bool,
            8 => Self::Text,
            9 => Self::Array,
            10 => Self::U64,
            11 => Self::I64,
            12 => Self::F64,
            _ => return Err(ValueFault::UnknownKind(id)),
        })
    }

    /// Bytes of an element; `None` where elements differ.
    fn fixed_len(self) -> Option<u64> {
        Some(match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
            Self::Text | Self::Array => return None,
        })
    }
}

impl<'a> Value<'a> {
    /// Reads the type and the value.
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self, ValueFault> {
        let kind = Kind::from_id(cursor.u32()?)?;
        Self::read_kind(cursor, kind)
    }

    fn read_kind(cursor: &mut Cursor<'a>, kind: Kind) -> Result<Self, ValueFault> {
        Ok(match kind {
            Kind::U8 => Self::Unsigned(u64::from(u8::from_le_bytes(cursor.array()?))),
            Kind::I8 => Self::Signed(i64::from(i8::from_le_bytes(cursor.array()?))),
            Kind::U16 => Self::Unsigned(u64::from(u16::from_le_bytes(cursor.array()?))),
            Kind::I16 => Self::Signed(i64::from(i16::from_le_bytes(cursor.array()?))),
            Kind::U32 => Self::Unsigned(u64::from(cursor.u32()?)),
            Kind::I32 => Self::Signed(i64::from(i32::from_le_bytes(cursor.array()?))),
            Kind::F32 => Self::Float(f64::from(f32::from_le_bytes(cursor.array()?))),
            Kind::Bool => match cursor.array::<1>()?[0] {
                0 => Self::Bool(false),
                1 => Self::Bool(true),
                byte => return Err(ValueFault::BadBool(byte)),
            },
            Kind::Text => Self::Text(cursor.text(MAX_TEXT)?),
            Kind::Array => Self::Array(Array::read(cursor)?),
            Kind::U64 => Self::Unsigned(cursor.u64()?),
            Kind::I64 => Self::Signed(i64::from_le_bytes(cursor.array()?)),
            Kind::F64 => Self::Float(f64::from_le_bytes(cursor.array()?)),
        })
    }

    /// A whole number that is not negative, however it is stored.
    pub(crate) fn as_unsigned(&self) -> Option<u64> {
        match *self {
            Self::Unsigned(n) => Some(n),
            Self::Signed(n) => u64::try_from(n).ok(),
            _ => None,
        }
    }

    pub(crate) fn as_float(&self) -> Option<f64> {
        if let Self::Float(x) = *self { Some(x) } else { None }
    }

    pub(crate) fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(b) = *self { Some(b) } else { None }
    }

    pub(crate) fn as_text(&self) -> Option<&'a str> {
        if let Self::Text(text) = *self { Some(text) } else { None }
    }

    pub(crate) fn as_array(&self) -> Option<&Array<'a>> {
        if let Self::Array(array) = self { Some(array) } else { None }
    }
}

impl<'a> Array<'a> {
    /// Reads element type, length and elements, walking over every element so that later reading cannot fail.
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, ValueFault> {
        let kind = Kind::from_id(cursor.u32()?)?;
        let len = cursor.u64()?;
        if kind == Kind::Array {
            return Err(ValueFault::NestedArray);
        }
        let short = ValueFault::Bytes(Fault::Short { wanted: len, left: cursor.left() });
        // An element takes a byte at least: a length beyond the file is refused before the walk.
        let Some(len) = usize::try_from(len).ok().filter(|&len| len <= cursor.left()) else {
            return Err(short);
        };
        let mut walk = cursor.clone();
        match kind.fixed_len() {
            Some(bytes) if kind != Kind::Bool => {
                walk.take(bytes.saturating_mul(len as u64))?;
            }
            _ => {
                for _ in 0..len {
                    Value::read_kind(&mut walk, kind)?;
                }
            }
        }
        let bytes = cursor.take((walk.position() - cursor.position()) as u64)?;
        Ok(Self { kind, len, bytes })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The elements, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let mut cursor = Cursor::new(self.bytes);
        let kind = self.kind;
        // `read` walked over the same bytes, so that no element fails here.
        (0..self.len).map_while(move |_| Value::read_kind(&mut cursor, kind).ok())
    }
}
