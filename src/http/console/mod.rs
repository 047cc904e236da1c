//! `GET /`: the console, a page that is built into the binary.
//!
//! It talks to `/ws` and `/api/v1` as any other page of this server would; nothing is allowed to it that is not allowed to
//! others. `clients/console` has its sources, and `clients/console/dist`, what is served.

mod file;

use std::sync::Arc;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::get;
use rust_embed::RustEmbed;

use self::file::File;

/// What the page was built into. The binary holds it: nothing is read from disk.
#[derive(RustEmbed)]
#[folder = "clients/console/dist/"]
struct Dist;

/// The page itself.
const PAGE: &str = "index.html";

/// Paths at which it is: it looks at the path itself.
const VIEWS: [&str; 2] = ["/", "/fleet"];

/// Adds the page, and everything that it was built into, to a router.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    let files = Dist::iter().filter(|name| is_plain(name));
    let mut router = router;
    for name in files {
        let Some(found) = Dist::get(&name) else { continue };
        let file = Arc::new(File::new(&name, found.data, found.metadata.sha256_hash()));
        if name == PAGE {
            for view in VIEWS {
                router = add(router, view, &file);
            }
        } else {
            router = add(router, &format!("/{name}"), &file);
        }
    }
    router
}

fn add<S: Clone + Send + Sync + 'static>(router: Router<S>, path: &str, file: &Arc<File>) -> Router<S> {
    let file = Arc::clone(file);
    router.route(path, get(move |headers: HeaderMap| async move { file.answer(&headers).await }))
}

/// Whether a file's name is a path as it is, and none that the router would read anything into.
fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'_');
    name.bytes().all(plain) && !name.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_the_page_was_built_into_can_be_asked_for() {
        let names: Vec<_> = Dist::iter().collect();
        assert!(names.iter().any(|name| name == PAGE), "{names:?}");
        for name in names {
            assert!(is_plain(&name), "{name:?} would not be served");
        }
        for name in ["{x}.js", "a b.js", "../x", "ä.js", "a%20.js"] {
            assert!(!is_plain(name), "{name}");
        }
    }
}
