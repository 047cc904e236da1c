//! Requests that are no upgrade, or not quite.

use crate::Rng;
use crate::http::request_with;

/// What comes of a request.
pub(super) enum Deserved {
    /// One of these, and the connection may stay open.
    Status(&'static [u16]),
    /// Any answer, or none: the server reads HTTP as it sees fit, and ends the connection when the client has.
    Anything,
}

pub(super) fn request(host: &str, rng: &mut Rng) -> (&'static str, Vec<u8>, Deserved) {
    use Deserved::{Anything, Status};
    const JSON: (&str, &str) = ("Sec-WebSocket-Protocol", "npc.v1.json");
    let with = |change: (&str, &str)| request_with(host, &[JSON, change]).into_bytes();
    match rng.below(16) {
        0 => ("upgrade without a key", with(("Sec-WebSocket-Key", "")), Status(&[400])),
        1 => ("upgrade of another version", with(("Sec-WebSocket-Version", "12")), Status(&[400, 426])),
        2 => ("upgrade without a version", with(("Sec-WebSocket-Version", "")), Status(&[400, 426])),
        3 => ("upgrade to something else", with(("Upgrade", "h2c")), Status(&[400])),
        4 => ("no upgrade", with(("Connection", "keep-alive")), Status(&[400])),
        5 => (
            "unknown subprotocol",
            request_with(host, &[("Sec-WebSocket-Protocol", "soap")]).into(),
            Status(&[400]),
        ),
        6 => ("another host", request_with("evil.example", &[JSON]).into_bytes(), Status(&[403])),
        7 => ("another origin", with(("Origin", "https://evil.example")), Status(&[403])),
        8 => {
            let text = request_with(host, &[JSON]);
            ("another method", text.replacen("GET", "POST", 1).into_bytes(), Status(&[400, 405]))
        }
        9 => {
            let text = request_with(host, &[JSON]);
            ("another path", text.replacen("/ws", "/wss", 1).into_bytes(), Status(&[404]))
        }
        10 => {
            // The head is larger than any that a server should hold.
            let long = "x".repeat(1 << 20);
            ("a huge header", with(("X-Long", &long)), Anything)
        }
        11 => {
            let many = (0..2000).map(|i| format!("X-{i}: {i}")).collect::<Vec<_>>().join("\r\n") + "\r\n";
            let text = request_with(host, &[JSON]).replacen("\r\n", &format!("\r\n{many}"), 1);
            ("two thousand headers", text.into_bytes(), Anything)
        }
        12 => ("bytes that are no HTTP", rng.bytes(300), Anything),
        13 => ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(), Anything),
        14 => {
            let mut bytes = request_with(host, &[JSON]).into_bytes();
            super::corpus::damage(&mut bytes, rng);
            ("a damaged upgrade", bytes, Anything)
        }
        _ => {
            let mut bytes = request_with(host, &[JSON]).into_bytes();
            bytes.truncate(rng.below(bytes.len()));
            ("half a handshake", bytes, Anything)
        }
    }
}
