//! As much of protobuf, and of OTLP's `ExportTraceServiceRequest`, as spans need.

use std::collections::BTreeMap;

/// A span as it was sent. Times are in nanoseconds since 1970.
#[derive(Debug, Clone, Default)]
pub struct Span {
    pub trace: Vec<u8>,
    pub id: Vec<u8>,
    /// Empty: it has none.
    pub parent: Vec<u8>,
    pub name: String,
    pub start: u64,
    pub end: u64,
    pub attributes: BTreeMap<String, Value>,
    /// Ids of the spans that it is linked to.
    pub links: Vec<Vec<u8>>,
}

#[derive(Debug, Clone)]
pub enum Value {
    Text(String),
    Number(i64),
    Other,
}

impl Span {
    pub fn text(&self, key: &str) -> Option<&str> {
        if let Some(Value::Text(text)) = self.attributes.get(key) { Some(text) } else { None }
    }

    pub fn number(&self, key: &str) -> Option<i64> {
        if let Some(Value::Number(number)) = self.attributes.get(key) { Some(*number) } else { None }
    }
}

/// One field of a message.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    fn bytes(self) -> &'a [u8] {
        if let Self::Bytes(bytes) = self { bytes } else { panic!("a number instead of bytes") }
    }

    fn number(self) -> u64 {
        if let Self::Number(number) = self { number } else { panic!("bytes instead of a number") }
    }

    fn text(self) -> String {
        String::from_utf8(self.bytes().to_vec()).unwrap()
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().expect("a number that ends");
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            break;
        }
    }
    number
}

fn fields<'a>(mut bytes: &'a [u8]) -> Vec<(u64, Field<'a>)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let mut take = |count: usize| -> &'a [u8] {
            let (taken, rest) = bytes.split_at(count);
            bytes = rest;
            taken
        };
        let field = match key & 7 {
            0 => Field::Number(varint(&mut bytes)),
            1 => Field::Number(u64::from_le_bytes(take(8).try_into().unwrap())),
            5 => Field::Number(u64::from(u32::from_le_bytes(take(4).try_into().unwrap()))),
            2 => {
                let count = varint(&mut bytes) as usize;
                let (taken, rest) = bytes.split_at(count);
                bytes = rest;
                Field::Bytes(taken)
            }
            kind => panic!("wire type {kind}"),
        };
        fields.push((key >> 3, field));
    }
    fields
}

/// A `KeyValue`.
fn attribute(bytes: &[u8]) -> (String, Value) {
    let (mut key, mut value) = (String::new(), Value::Other);
    for (number, field) in fields(bytes) {
        match number {
            1 => key = field.text(),
            2 => {
                for (number, field) in fields(field.bytes()) {
                    value = match number {
                        1 => Value::Text(field.text()),
                        3 => Value::Number(field.number() as i64),
                        _ => Value::Other,
                    };
                }
            }
            _ => {}
        }
    }
    (key, value)
}

fn span(bytes: &[u8]) -> Span {
    let mut span = Span::default();
    for (number, field) in fields(bytes) {
        match number {
            1 => span.trace = field.bytes().to_vec(),
            2 => span.id = field.bytes().to_vec(),
            4 => span.parent = field.bytes().to_vec(),
            5 => span.name = field.text(),
            7 => span.start = field.number(),
            8 => span.end = field.number(),
            9 => {
                let (key, value) = attribute(field.bytes());
                span.attributes.insert(key, value);
            }
            13 => {
                let of = fields(field.bytes()).into_iter().find(|(number, _)| *number == 2);
                span.links.push(of.expect("a link's span").1.bytes().to_vec());
            }
            _ => {}
        }
    }
    span
}

/// Adds the spans of a request; returns the name of the service.
pub fn read(request: &[u8], spans: &mut Vec<Span>) -> Option<String> {
    let mut service = None;
    for (_, resource_spans) in fields(request) {
        for (number, field) in fields(resource_spans.bytes()) {
            match number {
                1 => {
                    for (_, field) in fields(field.bytes()).into_iter().filter(|(number, _)| *number == 1) {
                        if let (key, Value::Text(name)) = attribute(field.bytes())
                            && key == "service.name"
                        {
                            service = Some(name);
                        }
                    }
                }
                2 => {
                    let scope = fields(field.bytes()).into_iter().filter(|(number, _)| *number == 2);
                    spans.extend(scope.map(|(_, field)| span(field.bytes())));
                }
                _ => {}
            }
        }
    }
    service
}
