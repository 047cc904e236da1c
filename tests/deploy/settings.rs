//! Every setting that is deployed is one.

use std::path::Path;

use npc_gateway::config::{AuthMode, Config, LogFormat};

use crate::{items, path, text, yaml};

/// Seconds that going down may take besides `shutdown.grace_ms`.
pub const BESIDES_GRACE_S: u64 = 55;

pub fn sample() -> Config {
    Config::load(Some(&path("deploy/npc-gateway.toml")), std::iter::empty(), &[]).unwrap()
}

/// The settings of the container with these variables over them.
fn container(env: Vec<(String, String)>) -> Config {
    Config::load(Some(&path("deploy/container/npc-gateway.toml")), env.into_iter(), &[]).unwrap()
}

/// The variables that the image sets.
fn image_env() -> Vec<(String, String)> {
    let file = text("deploy/container/Containerfile");
    let (_, env) = file.split_once("\nENV ORT_DYLIB_PATH").expect("the image has variables");
    let env = env.split_once("\n\n").expect("they end").0;
    let pairs = env.lines().filter_map(|line| line.trim().trim_end_matches(" \\").split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn the_sample_has_all_that_it_is_to_show() {
    let config = sample();
    assert_eq!((config.auth.mode, config.log.format), (AuthMode::Jwt, LogFormat::Json));
    for named in [&config.server.tls_cert, &config.server.tls_key, &config.auth.keys, &config.packs.path] {
        assert!(named.is_absolute());
    }
    assert_eq!(config.server.allowed_origins, ["https://game.example"]);
    assert!(config.history.redis_url.starts_with("rediss://"));
    assert!(config.history.postgres_url.ends_with("?sslmode=require"));
    // The variables that it names for the passwords.
    let file = text("deploy/npc-gateway.toml");
    let secrets = file.lines().filter_map(|line| line.strip_prefix("#   ")?.split_once('='));
    let secrets: Vec<_> = secrets.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    assert_eq!(secrets.len(), 2);
    let with = Config::load(Some(&path("deploy/npc-gateway.toml")), secrets.into_iter(), &[]).unwrap();
    assert!(
        with.history.redis_url.contains(":PASSWORD@") && with.history.postgres_url.contains(":PASSWORD@")
    );
}

#[test]
fn the_image_has_settings_of_its_own_and_its_volume_holds_what_is_written() {
    let env = image_env();
    let config = container(env.clone());
    assert_eq!(config.auth.mode, AuthMode::Jwt);
    assert!(!config.server.listen.ip().is_loopback());
    let volume = Path::new("/var/lib/npc-gateway");
    assert!(config.server.data.starts_with(volume) && config.model.path.is_absolute());
    let cache = env.iter().find(|(name, _)| name == "NPC_GATEWAY_CACHE").unwrap();
    assert!(Path::new(&cache.1).starts_with(volume));
    let file = text("deploy/container/Containerfile");
    assert!(file.contains("\nVOLUME /var/lib/npc-gateway\n"));
    let port = config.server.listen.port();
    assert!(
        file.contains(&format!("\nEXPOSE {port}\n")) && file.contains(&format!("127.0.0.1:{port}/healthz"))
    );
}

#[test]
fn the_image_is_made_of_what_is_there() {
    let file = text("deploy/container/Containerfile");
    let copied =
        file.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with("--"));
    for line in copied {
        let source = line.split(' ').next().unwrap();
        assert!(path(source).exists(), "{source}");
    }
    let workspace: toml::Table = text("Cargo.toml").parse().unwrap();
    let rust = workspace["workspace"]["package"]["rust-version"].as_str().unwrap();
    assert!(file.contains(&format!("\nARG RUST={rust}\n")), "it is built with Rust {rust}");
}

#[test]
fn compose_sets_what_can_be_set_and_lets_turns_end() {
    let compose = yaml("deploy/compose.yaml");
    let gateway = &compose["services"]["gateway"];
    let mut env = image_env();
    for (name, value) in gateway["environment"].as_object().unwrap() {
        // As `.env` has them: hex digits.
        let value = value.as_str().unwrap();
        let mut filled = String::new();
        let mut rest = value;
        while let Some((before, behind)) = rest.split_once("${") {
            filled.push_str(before);
            filled.push_str("0123456789abcdef");
            rest = behind.split_once('}').unwrap().1;
        }
        env.push((name.clone(), filled + rest));
    }
    let config = container(env);
    for (url, service) in
        [(&config.history.redis_url, "@redis:"), (&config.history.postgres_url, "@postgres:")]
    {
        assert!(url.contains(service), "{service}");
        assert!(compose["services"][service.trim_matches(['@', ':'])].is_object());
    }
    let patience: u64 = gateway["stop_grace_period"].as_str().unwrap().trim_end_matches('s').parse().unwrap();
    assert!(patience >= config.shutdown.grace_ms / 1000 + BESIDES_GRACE_S);
    for service in compose["services"].as_object().unwrap().values() {
        for volume in items(&service["volumes"]) {
            let source = volume.as_str().unwrap().split(':').next().unwrap();
            if let Some(file) = source.strip_prefix("./").filter(|file| *file != "keys") {
                assert!(path("deploy").join(file).exists(), "{source}");
            } else {
                assert!(source == "./keys" || compose["volumes"].get(source).is_some(), "{source}");
            }
        }
    }
}
