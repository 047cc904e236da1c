//! One file of the console, as browsers get it.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Arc, OnceLock};

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;

/// What the page may do: run and show what is built into it, and talk to this server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
                      connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// May be kept, but is asked for again each time: names stay when what is in the files changes.
const CACHE: &str = "no-cache";

/// Content types by the ends of names, and whether such a file gets smaller when it is packed.
const KINDS: [(&str, &str, bool); 10] = [
    (".html", "text/html; charset=utf-8", true),
    (".js", "text/javascript; charset=utf-8", true),
    (".css", "text/css; charset=utf-8", true),
    (".json", "application/json", true),
    (".svg", "image/svg+xml", true),
    (".txt", "text/plain; charset=utf-8", true),
    (".png", "image/png", false),
    (".ico", "image/x-icon", false),
    (".webp", "image/webp", false),
    (".woff2", "font/woff2", false),
];
const ANY_KIND: &str = "application/octet-stream";

/// A file as it is sent.
#[derive(Debug)]
pub(super) struct File {
    kind: &'static str,
    /// SHA-256 of its bytes, 64 hexadecimal digits.
    digest: String,
    plain: Bytes,
    /// The same, gzipped, made when somebody first asks for it; `None`: it would not be smaller.
    packed: OnceLock<Option<Bytes>>,
}

impl File {
    /// `name`: its path below the folder.
    pub fn new(name: &str, plain: Cow<'static, [u8]>, sha256: [u8; 32]) -> Self {
        let known = KINDS.iter().find(|(end, ..)| name.ends_with(end));
        let (kind, packs) = known.map_or((ANY_KIND, false), |(_, kind, packs)| (*kind, *packs));
        let digest = sha256.iter().fold(String::with_capacity(64), |mut digest, byte| {
            // Writing to a string cannot fail.
            let _ = write!(digest, "{byte:02x}");
            digest
        });
        let plain = match plain {
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => bytes.into(),
        };
        let packed = if packs { OnceLock::new() } else { OnceLock::from(None) };
        Self { kind, digest, plain, packed }
    }

    /// What a request with these headers is answered with.
    pub async fn answer(self: Arc<Self>, headers: &HeaderMap) -> Response {
        let packed = if takes_gzip(headers) { self.packed().await } else { None };
        // A packed answer is another one, so it has another tag.
        let tag = if packed.is_some() {
            format!("\"{}-gzip\"", self.digest)
        } else {
            format!("\"{}\"", self.digest)
        };
        let known = knows(headers, &self.digest);
        let mut response = if known {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let (encoding, body) = match packed {
                Some(packed) => (Some((header::CONTENT_ENCODING, "gzip")), packed),
                None => (None, self.plain.clone()),
            };
            let mut response = ([(header::CONTENT_TYPE, self.kind)], body).into_response();
            set(&mut response, encoding);
            response
        };
        set(
            &mut response,
            [
                (header::CACHE_CONTROL, CACHE),
                (header::VARY, "accept-encoding"),
                (header::CONTENT_SECURITY_POLICY, POLICY),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (header::REFERRER_POLICY, "no-referrer"),
            ],
        );
        // Hexadecimal digits and quotes: always a header's value.
        if let Ok(tag) = HeaderValue::try_from(tag) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }

    /// Packing takes some milliseconds, once.
    async fn packed(self: &Arc<Self>) -> Option<Bytes> {
        if let Some(packed) = self.packed.get() {
            return packed.clone();
        }
        let file = Arc::clone(self);
        let packed =
            tokio::task::spawn_blocking(move || file.packed.get_or_init(|| pack(&file.plain)).clone());
        // Packing does not panic; if it did, the file would be sent as it is.
        packed.await.ok().flatten()
    }
}

fn set(response: &mut Response, headers: impl IntoIterator<Item = (HeaderName, &'static str)>) {
    let headers = headers.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value)));
    response.headers_mut().extend(headers);
}

/// `None`: it gets no smaller.
fn pack(plain: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).ok()?;
    let packed = encoder.finish().ok()?;
    (packed.len() < plain.len()).then(|| packed.into())
}

/// Whether `Accept-Encoding` names gzip, and not with `q=0`.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let refused = parts.any(|part| {
            let weight = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
            weight.is_some_and(|weight| weight.parse().is_ok_and(|weight: f32| weight == 0.0))
        });
        named && !refused
    })
}

/// Whether the client has these bytes, packed or not, by `If-None-Match`.
fn knows(headers: &HeaderMap, digest: &str) -> bool {
    let lines = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).any(|tag| {
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        let inner = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
        tag == "*" || inner.is_some_and(|inner| inner.strip_suffix("-gzip").unwrap_or(inner) == digest)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        for (value, takes) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("deflate, gzip ; q=1.0, *;q=0", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000, br", false),
            ("br", false),
            ("xgzip", false),
            ("", false),
        ] {
            assert_eq!(takes_gzip(&headers(header::ACCEPT_ENCODING, value)), takes, "{value}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn a_tag_is_known_packed_or_not() {
        for (value, known) in [
            ("\"abc\"", true),
            ("\"abc-gzip\"", true),
            ("W/\"abc\"", true),
            ("\"x\", \"abc\"", true),
            ("*", true),
            ("abc", false),
            ("\"abcd\"", false),
            ("\"x\"", false),
            ("\"", false),
            ("", false),
        ] {
            assert_eq!(knows(&headers(header::IF_NONE_MATCH, value), "abc"), known, "{value}");
        }
        assert!(!knows(&HeaderMap::new(), "abc"));
    }

    #[tokio::test]
    async fn a_file_is_packed_if_that_makes_it_smaller() {
        let long = "the same again ".repeat(100);
        let file = |name, text: &str| Arc::new(File::new(name, text.as_bytes().to_vec().into(), [7; 32]));
        let packed = file("assets/a.js", &long).packed().await.unwrap();
        let mut unpacked = String::new();
        GzDecoder::new(&*packed).read_to_string(&mut unpacked).unwrap();
        assert_eq!(unpacked, long);
        assert_eq!(file("assets/a.js", "x").packed().await, None, "it would be longer");
        assert_eq!(file("assets/a.png", &long).packed().await, None, "it is packed as it is");
    }

    #[test]
    fn names_say_what_a_file_is() {
        let of = |name| File::new(name, Cow::Borrowed(b"x".as_slice()), [0xab; 32]);
        let page = of("index.html");
        assert_eq!((page.kind, page.digest), ("text/html; charset=utf-8", "ab".repeat(32)));
        assert_eq!(of("assets/console.js").kind, "text/javascript; charset=utf-8");
        assert_eq!(of("assets/thing.bin").kind, ANY_KIND);
    }
}
