//! Connections to Postgres that are encrypted, to a server that is checked.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use npc_stores::Postgres;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::{QUICK, setting, until_drained, until_state_is};
use crate::gateway::{Client, Gateway};

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

#[tokio::test]
async fn a_server_is_trusted_if_the_named_authority_vouches_for_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (authority, stranger) = (authority(), authority());
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (good, bad) = (file("good.pem", &authority.pem()), file("bad.pem", &stranger.pem()));
    let certificate = format!("ssl_cert_file={}", file("server.pem", &certificate.pem()));
    let key = Postgres::secret(folder.path(), "server.key", &key.serialize_pem());
    let key = format!("ssl_key_file={}", key.display());
    let postgres = Postgres::with(&["ssl=on", &certificate, &key]);
    let url = |host: &str| {
        let url = postgres.url("postgres").replace("127.0.0.1", host);
        setting(&format!("{url}?sslmode=require"))
    };
    let start = |data: &std::path::Path, host: &str, ca: &str| {
        let ca = format!("history.postgres_ca={ca}");
        Gateway::start(data, &[QUICK.as_slice(), &[&url(host), &ca]].concat())
    };
    let data = tempfile::tempdir().unwrap();
    let gateway = start(data.path(), "localhost", &good);
    let mut client = Client::joined(&gateway.address, "anna", "lucy").await.unwrap();
    client.say("lucy", "t1", "Hi").await.unwrap();
    until_drained(&gateway);
    let client = postgres.client("postgres").await;
    let query = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                 WHERE application_name LIKE 'npc-gateway%' AND NOT ssl";
    let open: i64 = client.query_one(query, &[]).await.unwrap().get(0);
    assert_eq!(open, 0);
    drop(gateway);
    for (host, ca) in [("localhost", &bad), ("127.0.0.1", &good)] {
        let gateway = start(data.path(), host, ca);
        until_state_is(&gateway, "away");
    }
}
