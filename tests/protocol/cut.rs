//! Many turns through a proxy that cuts connections at random bytes: every client ends with exactly the text that the
//! server generated.
//!
//! `cargo xtask cut` runs more of them. `NPC_GATEWAY_CUT_TURNS` is how many turns each test does, and
//! `NPC_GATEWAY_CUT_SEED` where the cuts are; how turns and cuts meet depends on the machine all the same.

use std::collections::BTreeMap;

use crate::client::BOTH;
use crate::proxy::Proxy;
use crate::roamer::{Counts, Roamer};
use crate::server::TestServer;

const CLIENTS: usize = 8;
const MAX_TOKENS: u32 = 16;

fn number(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).map_or(otherwise, |text| {
        text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}, which is no number"))
    })
}

/// What befell all clients.
struct Total {
    cuts: usize,
    turns: usize,
    lost_turns: usize,
    sessions: usize,
    resumed: usize,
    refused: BTreeMap<String, usize>,
}

/// Has `CLIENTS` clients do so many turns together, each away for at most so many milliseconds after a cut.
async fn run(server: TestServer, away: u64, turns: usize) -> Total {
    let seed = number("NPC_GATEWAY_CUT_SEED", 1) as u64;
    let tasks: Vec<_> = (0..CLIENTS)
        .map(|i| {
            let address = server.address;
            let turns = turns / CLIENTS + usize::from(i < turns % CLIENTS);
            tokio::spawn(async move {
                let seed = seed * CLIENTS as u64 + i as u64;
                let proxy = Proxy::start(address, seed).await;
                let (player, npc) = (format!("player-{i}"), format!("npc-{i}"));
                let mut client = Roamer::new(proxy, seed, away, BOTH[i % 2], &player, &npc);
                client.meet().await;
                let mut said = 0;
                while client.counts.turns < turns {
                    said += 1;
                    let turn = format!("t{said}");
                    if client.say(&turn, MAX_TOKENS).await {
                        client.check_record(&turn).await;
                    } else {
                        client.meet().await;
                    }
                }
                (client.cuts(), client.counts)
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await.unwrap());
    }
    let sum = |of: fn(&Counts) -> usize| all.iter().map(|(_, counts)| of(counts)).sum();
    let mut refused = BTreeMap::new();
    for (reason, count) in all.iter().flat_map(|(_, counts)| &counts.refused) {
        *refused.entry(reason.clone()).or_default() += count;
    }
    let total = Total {
        cuts: all.iter().map(|(cuts, _)| cuts).sum(),
        turns: sum(|counts| counts.turns),
        lost_turns: sum(|counts| counts.lost_turns),
        sessions: sum(|counts| counts.sessions),
        resumed: sum(|counts| counts.resumed),
        refused,
    };
    println!(
        "{} turns whole, {} cuts, {} sessions, {} resumed with {} frames replayed, {} replaced, refused: {:?}, {} turns \
         given up",
        total.turns,
        total.cuts,
        total.sessions,
        total.resumed,
        sum(|counts| counts.replayed),
        sum(|counts| counts.replaced),
        total.refused,
        total.lost_turns,
    );
    total
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_text_is_whole_whatever_is_cut() {
    let turns = number("NPC_GATEWAY_CUT_TURNS", 60);
    let total = run(TestServer::start(&[]).await, 40, turns).await;
    assert_eq!((total.turns, total.lost_turns), (turns, 0));
    assert!(total.refused.is_empty(), "{:?}", total.refused);
    // The test is worth nothing if nothing was cut.
    assert!(total.cuts >= turns / 4 && total.resumed >= turns / 4, "{} {}", total.cuts, total.resumed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_little_to_replay_a_session_is_whole_or_refused() {
    let turns = number("NPC_GATEWAY_CUT_TURNS", 60);
    // Six frames are held. A script says more than that while a client is away, however busy the machine is.
    // What is refused stays a session until its time is over, and many are.
    let sets = [
        "session.replay_bytes=1024",
        "engine.script_tokens_per_second=100",
        "session.max_sessions_per_player=1000",
    ];
    let total = run(TestServer::scripted(&sets).await, 250, turns).await;
    assert_eq!(total.turns, turns);
    assert_eq!(total.refused.keys().collect::<Vec<_>>(), ["gap"]);
    assert!(total.resumed > 0 && total.sessions > CLIENTS);
}
