//! One connection to a server.

use std::io::{self, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::encoding::{Encoding, identify};
use crate::frame::{Frame, Opcode};
use crate::http::{ACCEPT, Answer, request};

/// In which pieces frames are handed to TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chop {
    /// All of them at once.
    None,
    /// One frame at a time.
    Frames,
    /// So many bytes at a time, wherever a frame ends.
    Octets(usize),
}

/// How long a server may take for anything before it counts as hanging.
pub const PATIENCE: Duration = Duration::from_mins(2);

#[derive(Debug)]
pub struct Peer {
    stream: BufReader<TcpStream>,
    pub encoding: Encoding,
    mask: u32,
}

impl Peer {
    /// Connects, without a word of HTTP.
    ///
    /// # Errors
    /// The connection's.
    pub fn dial(address: SocketAddr, encoding: Encoding) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        // Every write is to be a packet of its own.
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream), encoding, mask: 0x37fa_213d })
    }

    /// Connects and upgrades.
    ///
    /// # Errors
    /// The connection's, or `InvalidData` for an answer that is no upgrade.
    pub fn connect(address: SocketAddr, encoding: Encoding) -> io::Result<Self> {
        let mut peer = Self::dial(address, encoding)?;
        peer.write(request(&address.to_string(), encoding.name()).as_bytes())?;
        let answer = peer.answer()?;
        let fine = answer.as_ref().is_some_and(|answer| {
            answer.status == 101
                && answer.header("sec-websocket-accept") == Some(ACCEPT)
                && answer.header("sec-websocket-protocol") == Some(encoding.name())
                && answer.header("upgrade").is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"))
        });
        if fine {
            return Ok(peer);
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("no upgrade: {answer:?}")))
    }

    /// Connects, reads `hello`, identifies and reads `ready`.
    ///
    /// # Errors
    /// The connection's, or `InvalidData` for any other answer.
    pub fn identified(address: SocketAddr, encoding: Encoding, player: &str) -> io::Result<Self> {
        let mut peer = Self::connect(address, encoding)?;
        peer.expect("hello")?;
        peer.say(&identify(player))?;
        peer.expect("ready")?;
        Ok(peer)
    }

    /// The head of an HTTP answer.
    ///
    /// # Errors
    /// The connection's.
    pub fn answer(&mut self) -> io::Result<Option<Answer>> {
        Answer::read(&mut self.stream)
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// The connection's.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Writes frames, each with a mask of its own.
    ///
    /// # Errors
    /// The connection's.
    pub fn send(&mut self, frames: &[Frame], chop: Chop) -> io::Result<()> {
        let mut bytes = Vec::new();
        for frame in frames {
            bytes.extend(frame.bytes(self.next_mask()));
            if chop == Chop::Frames {
                self.write(&bytes)?;
                bytes.clear();
            }
        }
        match chop {
            Chop::Octets(size) => bytes.chunks(size).try_for_each(|chunk| self.write(chunk)),
            Chop::None | Chop::Frames => self.write(&bytes),
        }
    }

    /// Sends a frame of the wire protocol.
    ///
    /// # Errors
    /// The connection's.
    pub fn say(&mut self, frame: &Value) -> io::Result<()> {
        self.send(&[self.encoding.frame(frame)], Chop::None)
    }

    pub fn next_mask(&mut self) -> [u8; 4] {
        self.mask = self.mask.wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35f);
        self.mask.to_be_bytes()
    }

    /// The next frame; `None` when the server has ended the connection.
    ///
    /// # Errors
    /// The connection's, a reset too, or `InvalidData` for a frame that breaks a rule.
    pub fn receive(&mut self) -> io::Result<Option<Frame>> {
        Frame::read_from_server(&mut self.stream)
    }

    /// The next frame of the wire protocol; pings are answered.
    ///
    /// # Errors
    /// The connection's, or `InvalidData` for anything else, a close frame too.
    pub fn hear(&mut self) -> io::Result<Value> {
        loop {
            let frame = self.receive()?;
            match &frame {
                Some(Frame { opcode: Opcode::PING, payload, .. }) => {
                    self.send(&[Frame::pong(payload.clone())], Chop::None)?;
                }
                Some(Frame { opcode: Opcode::PONG, .. }) => {}
                _ => {
                    let said = frame.as_ref().and_then(|frame| self.encoding.decode(frame));
                    return said.ok_or_else(|| {
                        io::Error::new(io::ErrorKind::InvalidData, format!("not a frame: {frame:?}"))
                    });
                }
            }
        }
    }

    /// The next frame of the wire protocol, which is to be this one.
    ///
    /// # Errors
    /// As [`Self::hear`], and `InvalidData` for another frame.
    pub fn expect(&mut self, op: &str) -> io::Result<Value> {
        let frame = self.hear()?;
        if frame["op"] == op {
            return Ok(frame);
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("not {op}: {frame}")))
    }

    /// Sends no more. The server may still.
    pub fn finish(&self) {
        // Fails only if the connection is gone already.
        let _ = self.stream.get_ref().shutdown(Shutdown::Write);
    }
}
