//! Keeps other people's web pages out: a page may open a WebSocket to any address, so the browser's word on
//! where it comes from (`Origin`) and on whom it means (`Host`, against DNS rebinding) is checked.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::AppState;
use crate::config::AuthMode;

/// Refuses a request whose `Host` is no loopback name with 403, in `dev` mode.
pub(super) async fn host(State(state): State<AppState>, request: Request, next: Next) -> Response {
    match state.gateway.config().auth.mode {
        // Nothing is to be had without a token there.
        AuthMode::Jwt => {}
        AuthMode::Dev => {
            // A request line may name a host too, and then the header means nothing.
            let in_line = request.uri().authority().map(Authority::as_str);
            if !hosts_are_loopback(request.headers(), in_line) {
                let message = "with auth.mode = \"dev\" the Host header must be a loopback name\n";
                return (StatusCode::FORBIDDEN, message).into_response();
            }
        }
    }
    next.run(request).await
}

/// Refuses a request for `/ws` or `/api/v1` that another page makes with 403.
pub(super) async fn origin(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let guarded = path == "/ws" || path == "/api/v1" || path.starts_with("/api/v1/");
    let allowed = &state.gateway.config().server.allowed_origins;
    if guarded && !origin_is_allowed(request.headers(), allowed) {
        let message = "this Origin may not connect; server.allowed_origins lists those that may\n";
        return (StatusCode::FORBIDDEN, message).into_response();
    }
    next.run(request).await
}

fn hosts_are_loopback(headers: &HeaderMap, in_line: Option<&str>) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter().map(HeaderValue::to_str).peekable();
    hosts.peek().is_some() && hosts.all(|host| host.is_ok_and(is_loopback)) && in_line.is_none_or(is_loopback)
}

/// `localhost`, `127.x.y.z` or `[::1]`, with or without a port.
fn is_loopback(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        // The last colon of an address in brackets is not before a port.
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    if port.is_some_and(|port| !port.bytes().all(|byte| byte.is_ascii_digit()) || port.len() > 5) {
        return false;
    }
    if let Some(address) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback());
    }
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

/// Whether the page that a request comes from may talk to this server: there is none (`Origin` is absent), or
/// it is the server's own, or `allowed` names it.
fn origin_is_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    headers.get_all(header::ORIGIN).iter().all(|origin| {
        let Ok(origin) = origin.to_str() else { return false };
        let configured = allowed.iter().any(|other| other.trim_end_matches('/').eq_ignore_ascii_case(origin));
        configured || host.is_some_and(|host| is_own(origin, host))
    })
}

/// Whether an origin is `http://HOST` or `https://HOST` (a proxy may speak TLS for the server).
fn is_own(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let bare =
        |authority: &str| authority.strip_suffix(default_port).unwrap_or(authority).to_ascii_lowercase();
    !authority.is_empty() && bare(authority) == bare(host)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn loopback_names_are_told_from_others() {
        for host in [
            "localhost",
            "LOCALHOST:7777",
            "localhost:",
            "127.0.0.1",
            "127.0.0.1:1",
            "127.255.1.2:65535",
            "[::1]",
            "[::1]:7777",
            "[0:0:0:0:0:0:0:1]:80",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            ":80",
            "example.com",
            "localhost.example.com",
            "localhost.example.com:7777",
            "127.0.0.1.example.com",
            "127.1",
            "0.0.0.0",
            "10.0.0.1:7777",
            "[::]",
            "[::2]:80",
            "::1",
            "[::1",
            "[::1]x",
            "[::1]:x",
            "localhost:80:80",
            "localhost:http",
            "user@localhost",
            "localhost:123456",
            " localhost",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn every_host_that_a_request_names_counts() {
        let one = headers(&[(header::HOST, "localhost")]);
        assert!(hosts_are_loopback(&one, None));
        assert!(!hosts_are_loopback(&one, Some("example.com")));
        assert!(!hosts_are_loopback(&headers(&[]), None));
        let two = headers(&[(header::HOST, "localhost"), (header::HOST, "example.com")]);
        assert!(!hosts_are_loopback(&two, None));
    }

    #[test]
    fn an_origin_is_absent_own_or_configured() {
        let allowed = ["https://studio.example/".to_owned(), "http://localhost:5173".to_owned()];
        let check = |host: &str, origin: &str| {
            origin_is_allowed(&headers(&[(header::HOST, host), (header::ORIGIN, origin)]), &allowed)
        };
        assert!(origin_is_allowed(&headers(&[(header::HOST, "localhost")]), &[]));
        assert!(check("localhost:7777", "http://localhost:7777"));
        assert!(check("Localhost:7777", "http://localhost:7777"));
        assert!(check("localhost", "http://localhost"));
        assert!(check("localhost:80", "http://localhost"));
        assert!(check("localhost:7777", "https://localhost:7777"));
        assert!(check("localhost:7777", "https://studio.example"));
        assert!(check("localhost:7777", "http://localhost:5173"));
        for origin in [
            "null",
            "",
            "http://",
            "http://localhost",
            "http://localhost:8888",
            "http://127.0.0.1:7777",
            "http://localhost:7777.example.com",
            "http://example.com",
            "https://studio.example.org",
            "file://localhost:7777",
            "localhost:7777",
        ] {
            assert!(!check("localhost:7777", origin), "{origin}");
        }
        let two = headers(&[
            (header::HOST, "localhost"),
            (header::ORIGIN, "http://localhost"),
            (header::ORIGIN, "http://example.com"),
        ]);
        assert!(!origin_is_allowed(&two, &[]));
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_a_panic(host in ".{0,40}", origin in ".{0,40}") {
            let _ = is_loopback(&host);
            let _ = is_own(&origin, &host);
        }

        #[test]
        fn only_names_of_this_machine_are_loopback(name in "[a-z0-9.:\\[\\]-]{0,24}") {
            if is_loopback(&name) {
                let starts = ["localhost", "127.", "[::1]", "[0"].iter().any(|start| name.starts_with(start));
                prop_assert!(starts, "{}", name);
            }
        }
    }
}
