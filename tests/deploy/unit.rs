//! The systemd unit.

use std::path::Path;
use std::process::Command;

use crate::settings::{BESIDES_GRACE_S, sample};
use crate::text;

const UNIT: &str = "deploy/systemd/npc-gateway.service";

/// The last value of a key of `[Service]`.
fn service(key: &str) -> String {
    let unit = text(UNIT);
    let (_, service) = unit.split_once("\n[Service]\n").expect("a part [Service]");
    let service = service.split_once("\n[").expect("parts behind it").0;
    let mut values = service.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values.next_back().unwrap_or_else(|| panic!("{UNIT} has no {key}")).to_owned()
}

#[test]
fn it_fits_the_program_and_the_sample() {
    let config = sample();
    assert_eq!(
        service("ExecStart"),
        "/usr/local/bin/npc-gateway serve --config /etc/npc-gateway/npc-gateway.toml"
    );
    // A bad setting ends with 2 (tests/cli), and would do so again.
    assert_eq!(
        (service("Restart").as_str(), service("RestartPreventExitStatus").as_str()),
        ("on-failure", "2")
    );
    let patience: u64 = service("TimeoutStopSec").parse().unwrap();
    assert!(patience >= config.shutdown.grace_ms / 1000 + BESIDES_GRACE_S);
    let files: usize = service("LimitNOFILE").parse().unwrap();
    assert!(files > 2 * config.session.max_sessions);
    // All else is read only.
    assert_eq!(service("ProtectSystem"), "strict");
    let state = Path::new("/var/lib").join(service("StateDirectory"));
    assert!(config.server.data.starts_with(&state) && config.packs.path.starts_with(&state));
    assert_eq!(service("Environment"), format!("NPC_GATEWAY_CACHE=/var/cache/{}", service("CacheDirectory")));
    let user = service("User");
    assert!(
        text("deploy/systemd/npc-gateway.conf").lines().any(|line| line.starts_with(&format!("u {user} ")))
    );
}

/// systemd's own word, where it is installed.
#[test]
fn systemd_understands_it() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("npc-gateway.service");
    // The program has to be there.
    let unit = text(UNIT).replace("/usr/local/bin/npc-gateway", env!("CARGO_BIN_EXE_npc-gateway"));
    std::fs::write(&copy, unit).unwrap();
    match Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&copy).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        output => {
            let output = output.unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            // Of other units of this machine it may say what it likes.
            let about_it: Vec<_> = said.lines().filter(|line| line.contains("npc-gateway")).collect();
            assert!(about_it.is_empty(), "{about_it:?}");
        }
    }
}
