//! The page that is built into the server, over a real socket.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::http::{self, Answer};
use crate::server::TestServer;

/// What the page was built into, as it is checked in.
fn dist() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/console/dist")
}

/// The paths of all files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all
}

async fn ask(server: &TestServer, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    http::ask(server, method, path, headers, "").await
}

fn unpacked(packed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(packed).read_to_end(&mut plain).unwrap();
    plain
}

#[tokio::test]
async fn every_file_of_the_page_is_served_as_it_is_checked_in() {
    let server = TestServer::scripted(&[]).await;
    let all = files(&dist());
    assert!(all.contains(&dist().join("index.html")), "{all:?}");
    for file in all {
        let wanted = std::fs::read(&file).unwrap();
        let name = file.strip_prefix(dist()).unwrap().to_str().unwrap().to_owned();
        let paths = if name == "index.html" {
            vec!["/".to_owned(), "/fleet".to_owned()]
        } else {
            vec![format!("/{name}")]
        };
        for path in paths {
            let plain = ask(&server, "GET", &path, &[]).await;
            assert_eq!(plain.status, 200, "{path}");
            assert!(plain.body == wanted, "{path} is not what is checked in: build the server again");
            assert!(!plain.headers.contains_key("content-encoding"), "{path}: {:?}", plain.headers);
            let kind = &plain.headers["content-type"];
            match file.extension().and_then(|end| end.to_str()) {
                Some("html") => assert_eq!(kind, "text/html; charset=utf-8"),
                Some("js") => assert_eq!(kind, "text/javascript; charset=utf-8"),
                Some("css") => assert_eq!(kind, "text/css; charset=utf-8"),
                Some("svg") => assert_eq!(kind, "image/svg+xml"),
                end => assert!(!kind.starts_with("text/html"), "{end:?} is {kind}"),
            }
            // Names stay when what is in the files changes.
            assert_eq!(plain.headers["cache-control"], "no-cache", "{path}");

            let packed = ask(&server, "GET", &path, &[("Accept-Encoding", "br, gzip")]).await;
            let is_packed = packed.headers.get("content-encoding").is_some_and(|coding| coding == "gzip");
            let body = if is_packed { unpacked(&packed.body) } else { packed.body };
            assert!(body == wanted, "{path}");
            assert_eq!(packed.headers["vary"], "accept-encoding");
            assert_ne!(is_packed, packed.headers["etag"] == plain.headers["etag"], "{path}");
        }
    }
}

#[tokio::test]
async fn what_a_browser_has_is_not_sent_again() {
    let server = TestServer::scripted(&[]).await;
    for accepts in ["identity", "gzip"] {
        let first = ask(&server, "GET", "/", &[("Accept-Encoding", accepts)]).await;
        let tag = first.headers["etag"].clone();
        let again = [("Accept-Encoding", accepts), ("If-None-Match", tag.as_str())];
        let second = ask(&server, "GET", "/", &again).await;
        assert_eq!((second.status, second.body.len()), (304, 0), "{tag}");
        assert_eq!(second.headers["etag"], tag);
        assert_eq!(second.headers["cache-control"], first.headers["cache-control"]);
        let other = ask(&server, "GET", "/", &[("If-None-Match", "\"another\"")]).await;
        assert_eq!(other.status, 200);
    }
}

#[tokio::test]
async fn the_page_may_do_nothing_but_what_is_built_into_it() {
    let server = TestServer::scripted(&[]).await;
    let page = ask(&server, "GET", "/", &[]).await;
    let policy = &page.headers["content-security-policy"];
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "font-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.split(';').any(|own| own.trim() == part), "{part}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.headers["x-content-type-options"], "nosniff");
    assert_eq!(page.headers["referrer-policy"], "no-referrer");
    // Neither a script nor a style stands in the page itself, for the policy would not let it run.
    let text = String::from_utf8(page.body).unwrap();
    for (tag, _) in text.match_indices("<script") {
        let end = text[tag..].find('>').map_or(text.len(), |end| tag + end);
        assert!(text[tag..end].contains(" src="), "a script in the page: {}", &text[tag..end]);
    }
    assert!(!text.contains("<style") && !text.contains(" style=") && !text.contains(" onload="), "{text}");

    let head = ask(&server, "HEAD", "/", &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.headers["content-length"], text.len().to_string());
    assert_eq!(ask(&server, "POST", "/", &[]).await.status, 405);
}

#[tokio::test]
async fn other_paths_are_not_found_and_other_hosts_not_served() {
    let server = TestServer::scripted(&[]).await;
    for path in ["/elsewhere", "/assets/", "/assets/nothing.js", "/index.htm", "/..%2fCargo.toml", "/fleet/x"]
    {
        let missing = ask(&server, "GET", path, &[]).await;
        assert_eq!(missing.status, 404, "{path}");
        assert!(missing.text().contains("nothing here"), "{path}");
    }
    for path in ["/", "/fleet"] {
        assert_eq!(ask(&server, "GET", path, &[("Host", "evil.example")]).await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn a_server_without_the_console_says_what_it_is() {
    let server = TestServer::scripted(&["server.console=false"]).await;
    let root = ask(&server, "GET", "/", &[]).await;
    assert_eq!(root.status, 200);
    assert!(root.text().contains("/ws"));
    assert_eq!(ask(&server, "GET", "/fleet", &[]).await.status, 404);
}
