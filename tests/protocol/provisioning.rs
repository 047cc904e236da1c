//! Asking for adapters, over HTTP and by meeting an archetype. What trains, and what has turns use the adapters, only does
//! as if: this is about what players and operators see.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use npc_gateway::archetype::Task;
use npc_gateway::metrics::{Left, Reached};
use npc_gateway::provision::{Answer, Limits, Provisioner, Registrar, Setup, State, TrainerCommand};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::client::{Encoding, PATIENCE};
use crate::server::TestServer;

const TRAINER: &str = include_str!("../../src/provision/tests/trainer.sh");
const VAMPIRE: &str = include_str!("../../adapters/vampire/pack.toml");

#[derive(Debug)]
struct Anything;

impl Registrar for Anything {
    fn load<'a>(&'a self, _: &'a str, _: Task, _: u32) -> Answer<'a> {
        Box::pin(async { Ok(()) })
    }

    fn promote<'a>(&'a self, _: &'a str, _: &'a [(Task, u32)]) -> Answer<'a> {
        Box::pin(async { Ok(()) })
    }
}

/// A pack, with lines for these tasks.
pub fn pack(packs: &Path, name: &str, tasks: &[&str]) {
    let lines = packs.join(name).join("lines");
    fs::create_dir_all(&lines).unwrap();
    let text = VAMPIRE.replace("name = \"vampire\"", &format!("name = \"{name}\""));
    fs::write(packs.join(name).join("pack.toml"), text).unwrap();
    for task in tasks {
        fs::write(lines.join(format!("{task}.jsonl")), "{}\n").unwrap();
    }
}

/// Lets a server provision.
pub fn provision(server: &TestServer, folder: &Path) -> CancellationToken {
    let packs = folder.join("packs");
    fs::write(folder.join("trainer.sh"), TRAINER).unwrap();
    let setup = Setup {
        data: folder.join("data"),
        packs: Some(packs.clone()),
        trainer: TrainerCommand {
            program: "/bin/sh".into(),
            arguments: vec![folder.join("trainer.sh").into()],
            variables: vec![("STAND_IN_LOG".into(), folder.join("log").into())],
            packs,
            epochs: 0,
        },
        limits: Limits { bytes: 1 << 20, time: PATIENCE },
        queue: 1,
        auto: true,
    };
    let provisioner = Provisioner::open(setup, Arc::new(Anything)).unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(Arc::clone(&provisioner).run(stop.clone()));
    server.gateway.provision_with(provisioner);
    stop
}

async fn post(server: &TestServer, archetype: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!(
        "POST /api/v1/archetypes/{archetype}/provision HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
         Content-Length: 0\r\n\r\n",
        server.address
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap())
}

async fn items(server: &TestServer) -> Vec<Value> {
    let (status, answer) = server.http("/api/v1/provisioning", &[]).await;
    assert_eq!(status, 200, "{answer}");
    let list: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    list["items"].as_array().unwrap().clone()
}

/// Waits for the end of an archetype's way, and returns it.
pub async fn ended(server: &TestServer, archetype: &str) -> Value {
    let end = async {
        loop {
            let items = items(server).await;
            let found = items.into_iter().find(|item| item["archetype"] == archetype);
            if let Some(item) =
                found.filter(|item| item["state"] == "available" || item["state"] == "rejected")
            {
                return item;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, end).await.expect("it ends")
}

#[tokio::test]
async fn archetypes_get_adapters_when_they_are_met_and_when_somebody_asks() {
    let folder = tempfile::tempdir().unwrap();
    let packs = folder.path().join("packs");
    pack(&packs, "banshee", &["dialogue_style", "action_policy"]);
    pack(&packs, "wraith", &["dialogue_style"]);
    pack(&packs, "mute", &[]);
    let server = TestServer::scripted(&[&format!("packs.path={}", packs.display())]).await;
    assert_eq!(items(&server).await, Vec::<Value>::new());
    let (status, refused) = post(&server, "banshee").await;
    assert_eq!(status, 409, "nobody provisions: {refused}");
    let _stop = provision(&server, folder.path()).drop_guard();

    // Meeting one is answered as ever, and starts it.
    let mut client = server.identified(Encoding::Json, "mina").await;
    for (npc, archetype) in [("b", "banshee"), ("m", "mute")] {
        let joined = client.ask("npc.join", json!({"npc": npc, "archetype": archetype})).await;
        assert_eq!(joined["d"]["chain"]["generic"], true, "{joined}");
    }
    let item = ended(&server, "banshee").await;
    assert_eq!((&item["state"], &item["cause"]), (&json!("available"), &json!("met")), "{item}");
    let task = &item["tasks"]["action_policy"];
    assert_eq!((&task["step"], &task["steps"], &task["version"]), (&json!(3), &json!(3), &json!("v1")));
    assert_eq!(task["metrics"]["base_loss"], 3.0);

    let (status, asked) = post(&server, "wraith").await;
    assert_eq!((status, &asked["state"], &asked["cause"]), (202, &json!("requested"), &json!("asked")));
    assert_eq!(ended(&server, "wraith").await["state"], "available");
    for (archetype, status, words) in
        [("mute", 409, "nothing to train on"), ("unicorn", 404, "no pack"), ("..%2Fbanshee", 404, "no pack")]
    {
        let (answered, refused) = post(&server, archetype).await;
        let message = refused["error"].as_str().unwrap();
        assert!(answered == status && message.contains(words), "{answered} {refused}");
    }
    assert_eq!(items(&server).await.len(), 2, "what was refused is not on its way");

    // Both were counted on their way.
    let provisioner = server.gateway.provisioner().unwrap();
    for reached in
        [Reached::Training, Reached::Evaluating, Reached::Loading, Reached::Registered, Reached::Available]
    {
        assert_eq!(provisioner.metrics().steps.of(reached).get(), 2, "{reached:?}");
    }
    assert_eq!(provisioner.metrics().steps.of(Reached::Rejected).get(), 0);
    assert_eq!(provisioner.metrics().states.of(Left::Training).count(), 2);
    assert!(provisioner.states().contains(&(State::Available, 2)));
}
