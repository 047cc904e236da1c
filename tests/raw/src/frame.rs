//! One frame of RFC 6455, correct or not.

use std::io::{self, Read};

/// Longest payload of a control frame.
pub const MAX_CONTROL: usize = 125;

/// The four bits that say what a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opcode(pub u8);

impl Opcode {
    pub const CONTINUATION: Self = Self(0);
    pub const TEXT: Self = Self(1);
    pub const BINARY: Self = Self(2);
    pub const CLOSE: Self = Self(8);
    pub const PING: Self = Self(9);
    pub const PONG: Self = Self(10);

    pub fn is_control(self) -> bool {
        self.0 >= 8
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub fin: bool,
    /// RSV1 to RSV3 as a number of three bits.
    pub rsv: u8,
    pub opcode: Opcode,
    /// Clients mask; one that does not breaks a rule.
    pub masked: bool,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The last or only frame of a message, or a control frame.
    pub fn new(opcode: Opcode, payload: impl Into<Vec<u8>>) -> Self {
        Self { fin: true, rsv: 0, opcode, masked: true, payload: payload.into() }
    }

    pub fn text(payload: impl Into<Vec<u8>>) -> Self {
        Self::new(Opcode::TEXT, payload)
    }

    pub fn binary(payload: impl Into<Vec<u8>>) -> Self {
        Self::new(Opcode::BINARY, payload)
    }

    pub fn continuation(payload: impl Into<Vec<u8>>) -> Self {
        Self::new(Opcode::CONTINUATION, payload)
    }

    pub fn ping(payload: impl Into<Vec<u8>>) -> Self {
        Self::new(Opcode::PING, payload)
    }

    pub fn pong(payload: impl Into<Vec<u8>>) -> Self {
        Self::new(Opcode::PONG, payload)
    }

    /// A close frame with a code and a reason.
    pub fn close(code: u16, reason: &[u8]) -> Self {
        Self::new(Opcode::CLOSE, [&code.to_be_bytes(), reason].concat())
    }

    /// More frames of this message follow.
    #[must_use]
    pub fn unfinished(self) -> Self {
        Self { fin: false, ..self }
    }

    #[must_use]
    pub fn rsv(self, rsv: u8) -> Self {
        Self { rsv, ..self }
    }

    #[must_use]
    pub fn unmasked(self) -> Self {
        Self { masked: false, ..self }
    }

    /// A message in frames of at most `size` bytes; at least one frame.
    pub fn fragments(opcode: Opcode, message: &[u8], size: usize) -> Vec<Self> {
        let mut frames: Vec<Self> = message.chunks(size).map(Self::continuation).collect();
        if frames.is_empty() {
            frames.push(Self::continuation([]));
        }
        let last = frames.len() - 1;
        frames[0].opcode = opcode;
        frames[..last].iter_mut().for_each(|frame| frame.fin = false);
        frames
    }

    /// The bytes before the payload.
    pub fn head(&self, length: u64, mask: [u8; 4]) -> Vec<u8> {
        let first = (u8::from(self.fin) << 7) | ((self.rsv & 0b111) << 4) | (self.opcode.0 & 0x0f);
        let bit = u8::from(self.masked) << 7;
        let mut head = match length {
            0..=125 => vec![first, bit | length as u8],
            126..=0xffff => [&[first, bit | 0x7e][..], &(length as u16).to_be_bytes()].concat(),
            _ => [&[first, bit | 0x7f][..], &length.to_be_bytes()].concat(),
        };
        if self.masked {
            head.extend(mask);
        }
        head
    }

    /// The frame as it is sent.
    pub fn bytes(&self, mask: [u8; 4]) -> Vec<u8> {
        let mut bytes = self.head(self.payload.len() as u64, mask);
        let key = if self.masked { mask } else { [0; 4] };
        bytes.extend(self.payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        bytes
    }

    /// The code of a close frame; 1005 for one that has none.
    pub fn close_code(&self) -> u16 {
        match self.payload[..] {
            [high, low, ..] => u16::from_be_bytes([high, low]),
            _ => 1005,
        }
    }

    /// Reads a server's frame and holds it to the rules: no mask, no reserved bits, lengths in the shortest form,
    /// whole control frames, close frames with a code that may be sent and a reason in UTF-8.
    ///
    /// # Errors
    /// The connection's, or `InvalidData` with the rule that was broken.
    pub fn read_from_server(stream: &mut impl Read) -> io::Result<Option<Self>> {
        let mut head = [0; 2];
        // The end is an end only between two frames.
        if stream.read(&mut head[..1])? == 0 {
            return Ok(None);
        }
        stream.read_exact(&mut head[1..])?;
        let opcode = Opcode(head[0] & 0x0f);
        let length = match head[1] & 0x7f {
            126 => {
                let mut long = [0; 2];
                stream.read_exact(&mut long)?;
                let length = u64::from(u16::from_be_bytes(long));
                rule(length > 125, "a length in two bytes that fits into the first")?;
                length
            }
            127 => {
                let mut long = [0; 8];
                stream.read_exact(&mut long)?;
                let length = u64::from_be_bytes(long);
                rule(length > 0xffff, "a length in eight bytes that fits into two")?;
                length
            }
            short => u64::from(short),
        };
        rule(head[1] & 0x80 == 0, "a masked frame")?;
        rule(head[0] & 0x70 == 0, "a reserved bit")?;
        rule(matches!(opcode.0, 0..=2 | 8..=10), "an unknown opcode")?;
        rule(length <= 1 << 26, "a frame of more than 64 MiB")?;
        let fin = head[0] & 0x80 != 0;
        if opcode.is_control() {
            rule(fin && length <= MAX_CONTROL as u64, "a control frame that is long or in pieces")?;
        }
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload)?;
        let frame = Self { fin, rsv: 0, opcode, masked: false, payload };
        if opcode == Opcode::CLOSE {
            rule(frame.payload.len() != 1, "a close frame of one byte")?;
            if let Some(reason) = frame.payload.get(2..) {
                let may_be_sent = matches!(frame.close_code(), 1000..=1003 | 1007..=1014 | 3000..=4999);
                rule(may_be_sent, "a close code that may not be sent")?;
                rule(std::str::from_utf8(reason).is_ok(), "a close reason that is not UTF-8")?;
            }
        }
        Ok(Some(frame))
    }
}

fn rule(holds: bool, otherwise: &str) -> io::Result<()> {
    if holds {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("the server sent {otherwise}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 6455, section 5.7.
    #[test]
    fn frames_are_written_as_in_the_rfc() {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let hello = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        assert_eq!(Frame::text("Hello").bytes(mask), hello);
        assert_eq!(Frame::text("Hello").unmasked().bytes(mask), b"\x81\x05Hello");
        let pieces = Frame::fragments(Opcode::TEXT, b"Hello", 3);
        let bytes: Vec<u8> = pieces.into_iter().flat_map(|frame| frame.unmasked().bytes(mask)).collect();
        assert_eq!(bytes, b"\x01\x03Hel\x80\x02lo");
        assert_eq!(Frame::binary(vec![0; 256]).unmasked().bytes(mask)[..4], *b"\x82\x7e\x01\x00");
        let long = Frame::binary(vec![0; 65536]).unmasked().bytes(mask);
        assert_eq!(long[..10], *b"\x82\x7f\0\0\0\0\0\x01\0\0");
    }

    #[test]
    fn a_server_that_breaks_a_rule_is_caught() {
        let read = |mut bytes: &[u8]| Frame::read_from_server(&mut bytes);
        assert_eq!(read(b"").unwrap(), None);
        assert_eq!(read(b"\x81\x05Hello").unwrap(), Some(Frame::text("Hello").unmasked()));
        assert_eq!(read(b"\x88\x02\x03\xe8").unwrap().unwrap().close_code(), 1000);
        for broken in [
            &b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"[..],
            b"\xc1\x00",
            b"\x83\x00",
            b"\x81\x7e\x00\x01x",
            b"\x81\x7f\0\0\0\0\0\0\0\x01x",
            b"\x09\x00",
            b"\x88\x01\x03",
            b"\x88\x02\x03\xed",
            b"\x88\x03\x03\xe8\xff",
            b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert_eq!(read(broken).unwrap_err().kind(), io::ErrorKind::InvalidData, "{broken:x?}");
        }
        for cut in [&b"\x81"[..], b"\x81\x05Hel", b"\x81\x7e\x01"] {
            assert_eq!(read(cut).unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{cut:x?}");
        }
    }
}
