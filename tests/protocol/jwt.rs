//! `auth.mode = "jwt"`: which tokens are taken, until when, and how they are renewed.

use std::fs;
use std::time::{Duration, Instant};

use jsonwebtoken::{Algorithm, EncodingKey, encode};
use serde_json::{Value, json};

use crate::client::{BOTH, Client, Encoding};
use crate::server::TestServer;
use crate::tokens::{Issuer, SECRET, claims, header, hs256, now};

/// How long a token lives that is to run out. A slow machine must get its answer before.
const SHORT: u64 = 6;

async fn identify(client: &mut Client, token: &str) {
    let d = json!({"token": token, "client": {"name": "test", "version": "1"}});
    client.send(&json!({"op": "identify", "d": d})).await;
}

/// The token opens no session.
async fn refused(server: &TestServer, encoding: Encoding, token: &str, code: u16, reason: &str) {
    let mut client = server.connect(encoding).await;
    identify(&mut client, token).await;
    assert_eq!(client.closed(code, reason).await, Vec::<Value>::new(), "{token}");
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

fn without(mut claims: Value, name: &str) -> Value {
    claims.as_object_mut().unwrap().remove(name);
    claims
}

/// The same token with another header and no signature.
fn unsigned(header: &str, token: &str) -> String {
    let payload = token.split('.').nth(1).unwrap();
    format!("{header}.{payload}.")
}

#[tokio::test]
async fn tokens_of_both_algorithms_open_a_session() {
    let issuer = Issuer::new();
    let server = issuer.server(&[]).await;
    for encoding in BOTH {
        let claims = claims("Mina Härker", "play unheard-of admin");
        for token in [issuer.sign(&claims), hs256("hs", SECRET, &claims)] {
            let mut client = server.connect(encoding).await;
            let ready = client.identify(&token).await;
            assert_eq!(ready["op"], "ready", "{ready}");
            assert_eq!(ready["d"]["player"], "Mina Härker");
            assert_eq!(ready["d"]["scopes"], json!(["play", "admin"]));
            client.is_alive().await;
        }
    }
}

#[tokio::test]
async fn bad_tokens_close_with_4502() {
    let issuer = Issuer::new();
    let server = issuer.server(&["auth.issuers=studio", "auth.audiences=npc"]).await;
    let good = with(with(claims("mina", "play"), "iss", json!("studio")), "aud", json!(["npc", "x"]));
    let ed = |claims: Value| issuer.sign(&claims);
    let public = issuer.public_key_pem();
    let stranger = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let strangers = EncodingKey::from_ed_der(&stranger.serialize_der());
    let signed = ed(good.clone());
    let cases = [
        ("expired", ed(with(good.clone(), "exp", json!(now() - 5)))),
        ("not yet", ed(with(good.clone(), "nbf", json!(now() + 300)))),
        ("wrong key, EdDSA", encode(&header(Algorithm::EdDSA, "ed"), &good, &strangers).unwrap()),
        ("wrong key, HS256", hs256("hs", &[b'x'; 32], &good)),
        ("unknown kid", hs256("other", SECRET, &good)),
        (
            "no kid",
            encode(&jsonwebtoken::Header::default(), &good, &EncodingKey::from_secret(SECRET)).unwrap(),
        ),
        ("the public key as a secret", hs256("ed", public.as_bytes(), &good)),
        ("the other key's algorithm", hs256("ed", SECRET, &good)),
        (
            "another HMAC",
            encode(&header(Algorithm::HS512, "hs"), &good, &EncodingKey::from_secret(SECRET)).unwrap(),
        ),
        // {"alg":"none"} · {"alg":"none","kid":"ed"} · {"alg":"None","kid":"hs"} · {"kid":"ed"}
        ("none", unsigned("eyJhbGciOiJub25lIn0", &signed)),
        ("none with a kid", unsigned("eyJhbGciOiJub25lIiwia2lkIjoiZWQifQ", &signed)),
        ("None", unsigned("eyJhbGciOiJOb25lIiwia2lkIjoiaHMifQ", &signed)),
        ("no algorithm", unsigned("eyJraWQiOiJlZCJ9", &signed)),
        ("no signature", signed[..=signed.rfind('.').unwrap()].to_owned()),
        ("no exp", ed(without(good.clone(), "exp"))),
        ("no sub", ed(without(good.clone(), "sub"))),
        ("no scope", ed(without(good.clone(), "scope"))),
        ("no iss", ed(without(good.clone(), "iss"))),
        ("no aud", ed(without(good.clone(), "aud"))),
        ("wrong iss", ed(with(good.clone(), "iss", json!("somebody")))),
        ("wrong aud", ed(with(good.clone(), "aud", json!("somebody")))),
        ("exp is a text", ed(with(good.clone(), "exp", json!("tomorrow")))),
        ("a sub too long", ed(with(good.clone(), "sub", json!("x".repeat(65))))),
        ("an empty sub", ed(with(good.clone(), "sub", json!("")))),
        ("a sub with a line end", ed(with(good.clone(), "sub", json!("a\nb")))),
        ("a name", "mina".into()),
        ("nothing", String::new()),
        ("too long", "x".repeat(9000)),
    ];
    for (what, token) in &cases {
        for encoding in BOTH {
            let mut client = server.connect(encoding).await;
            identify(&mut client, token).await;
            assert_eq!(client.closed(4502, "unauthenticated").await, Vec::<Value>::new(), "{what}");
        }
    }
    let mut client = server.connect(Encoding::Json).await;
    assert_eq!(client.identify(&signed).await["op"], "ready");
    // The same ones are no better when they come later.
    for (what, token) in &cases {
        let mut client = server.connect(Encoding::Json).await;
        client.identify(&signed).await;
        client.send(&json!({"op": "auth", "d": {"token": token}})).await;
        assert_eq!(client.closed(4502, "unauthenticated").await, Vec::<Value>::new(), "{what}");
    }
}

#[tokio::test]
async fn a_token_without_a_scope_for_it_closes_with_4503() {
    let issuer = Issuer::new();
    let server = issuer.server(&[]).await;
    for encoding in BOTH {
        for scope in ["", "admin", "playing", "PLAY", "play,director"] {
            refused(&server, encoding, &issuer.token("mina", scope), 4503, "forbidden").await;
        }
    }
}

#[tokio::test]
async fn a_session_ends_with_its_token() {
    let issuer = Issuer::new();
    let server = issuer.server(&[]).await;
    for encoding in BOTH {
        let exp = now() + SHORT;
        let mut client = server.connect(encoding).await;
        assert_eq!(
            client.identify(&issuer.sign(&with(claims("mina", "play"), "exp", json!(exp)))).await["s"],
            1
        );
        client.closed(4502, "unauthenticated").await;
        assert!(now() >= exp, "too early");
        server.until("sockets", 0).await;
    }
}

#[tokio::test]
async fn clocks_may_differ_by_the_leeway() {
    let issuer = Issuer::new();
    let server = issuer.server(&["auth.leeway_s=120"]).await;
    for (name, at) in [("exp", now() - 60), ("nbf", now() + 60)] {
        let mut client = server.connect(Encoding::Json).await;
        let claims = with(claims("mina", "play"), name, json!(at));
        assert_eq!(client.identify(&issuer.sign(&claims)).await["op"], "ready", "{name}");
        client.is_alive().await;
    }
    let late = with(claims("mina", "play"), "exp", json!(now() - 121));
    refused(&server, Encoding::Json, &issuer.sign(&late), 4502, "unauthenticated").await;
}

#[tokio::test]
async fn a_renewed_token_counts_from_then_on() {
    let issuer = Issuer::new();
    let server = issuer.server(&[]).await;
    for encoding in BOTH {
        let short = || with(claims("mina", "play"), "exp", json!(now() + SHORT));
        let mut client = server.connect(encoding).await;
        client.identify(&issuer.sign(&short())).await;
        let start = Instant::now();
        let d = json!({"token": issuer.token("mina", "play director")});
        client.send(&json!({"op": "auth", "cid": 4, "d": d})).await;
        let authed = client.recv().await;
        assert_eq!((&authed["op"], &authed["s"], &authed["cid"]), (&json!("authed"), &json!(2), &json!(4)));
        let left = authed["d"]["expires_ms"].as_u64().unwrap();
        assert!((200_000..=300_000).contains(&left), "{authed}");
        // With the scopes of the new token.
        let joined = client.ask("npc.join", json!({"npc": "n", "archetype": "lich"})).await;
        assert_eq!(joined["op"], "npc.joined", "{joined}");
        tokio::time::sleep(Duration::from_secs(SHORT + 1).saturating_sub(start.elapsed())).await;
        client.is_alive().await;
        // Less than before counts as well.
        assert_eq!(client.ask("auth", json!({"token": issuer.sign(&short())})).await["op"], "authed");
        client.refused("npc.join", json!({"npc": "n2", "archetype": "lich"}), "forbidden").await;
        client.closed(4502, "unauthenticated").await;
    }
}

#[tokio::test]
async fn a_token_is_renewed_for_its_own_player_only() {
    let issuer = Issuer::new();
    let server = issuer.server(&[]).await;
    for encoding in BOTH {
        let mut client = server.connect(encoding).await;
        client.identify(&issuer.token("mina", "play")).await;
        let d = json!({"token": issuer.token("lucy", "play director")});
        let error = client.refused("auth", d, "forbidden").await;
        assert_eq!(error["field"], "token");
        // Nothing of that token counts.
        client.refused("npc.join", json!({"npc": "n", "archetype": "lich"}), "forbidden").await;
        assert_eq!(client.refused("auth", json!({}), "bad_payload").await["field"], "token");
        // One that may not be here ends the session.
        client.send(&json!({"op": "auth", "d": {"token": issuer.token("mina", "admin")}})).await;
        client.closed(4503, "forbidden").await;
    }
}

#[tokio::test]
async fn in_dev_mode_a_renewal_is_the_name_again() {
    let server = TestServer::start(&[]).await;
    for encoding in BOTH {
        let mut client = server.identified(encoding, "a").await;
        let authed = client.ask("auth", json!({"token": "a"})).await;
        assert_eq!((&authed["op"], &authed["d"]), (&json!("authed"), &json!({})));
        assert_eq!(client.refused("auth", json!({"token": "b"}), "forbidden").await["field"], "token");
        client.is_alive().await;
        client.send(&json!({"op": "auth", "d": {"token": ""}})).await;
        client.closed(4502, "unauthenticated").await;
    }
}

#[tokio::test]
async fn keys_are_changed_while_the_server_runs() {
    let issuer = Issuer::new();
    let server = issuer.server(&["server.reread_ms=100"]).await;
    let mut connected = server.connect(Encoding::Json).await;
    connected.identify(&hs256("hs", SECRET, &claims("mina", "play"))).await;
    // In with the new, out with the old.
    let fresh = [b'n'; 48];
    fs::write(issuer.folder().join(".new.secret"), fresh).unwrap();
    fs::rename(issuer.folder().join(".new.secret"), issuer.folder().join("2026-12.secret")).unwrap();
    fs::remove_file(issuer.folder().join("hs.secret")).unwrap();
    let token = hs256("2026-12", &fresh, &claims("mina", "play"));
    let start = Instant::now();
    loop {
        let mut client = server.connect(Encoding::Json).await;
        identify(&mut client, &token).await;
        if client.recv_or_close().await.is_ok_and(|frame| frame["op"] == "ready") {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "the new key is not taken");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    refused(&server, Encoding::Json, &hs256("hs", SECRET, &claims("mina", "play")), 4502, "unauthenticated")
        .await;
    connected.is_alive().await;
}

#[tokio::test]
async fn the_http_api_wants_an_admin_and_no_other_page() {
    let issuer = Issuer::new();
    let server = issuer.server(&["server.allowed_origins=[\"https://studio.example\"]"]).await;
    let bearer = |scope: &str| format!("Bearer {}", issuer.token("mina", scope));
    let (admin, play) = (bearer("play admin"), bearer("play director"));
    for path in ["/api/v1", "/api/v1/nothing", "/api/v1/npcs/n"] {
        assert_eq!(server.http(path, &[("Authorization", &admin)]).await.0, 404, "{path}");
        assert_eq!(server.http(path, &[("Authorization", &play)]).await.0, 403, "{path}");
        for wrong in ["Bearer x", "Bearer", "Basic bWluYTo=", "", &admin["Bearer ".len()..]] {
            let (status, answer) = server.http(path, &[("Authorization", wrong)]).await;
            assert_eq!(status, 401, "{path} {wrong}");
            assert!(answer.to_ascii_lowercase().contains("www-authenticate: bearer"), "{answer}");
        }
        assert_eq!(server.http(path, &[]).await.0, 401, "{path}");
        for (origin, status) in
            [("https://studio.example", 404), ("https://evil.example", 403), ("null", 403)]
        {
            let headers = [("Authorization", admin.as_str()), ("Origin", origin)];
            assert_eq!(server.http(path, &headers).await.0, status, "{path} {origin}");
        }
    }
    // Any Host: the server is reached under names that it does not know.
    assert_eq!(server.http("/readyz", &[("Host", "npc.studio.example")]).await.0, 200);
}
