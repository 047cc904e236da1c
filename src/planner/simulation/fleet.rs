//! Many equal servers.

use super::super::input::{self, InputError};
use super::tally::{Simulated, Tally};
use super::{Arrivals, Process, Server, tally};
use crate::planner::load::ArchetypeLoad;

/// Servers that a fleet may have.
const MAX_SERVERS: u64 = 1_000_000;

/// Simulates so many equal servers one by one, each with a seed of its own, and the NPCs of `arrivals` spread over them as
/// evenly as whole ones can be. At most `sample` of them are simulated, evenly chosen; rates and counts are those of
/// the whole fleet, percentiles are over all lines of the sample, `all` counts the sample's lines.
///
/// # Errors
/// Those of [`simulate`](super::simulate); no servers or more than a million, or a sample of none.
pub fn fleet(
    server: &Server,
    arrivals: &Arrivals,
    servers: u64,
    sample: u64,
) -> Result<Simulated, InputError> {
    input::whole("servers", servers, 1, MAX_SERVERS)?;
    input::whole("sample", sample, 1, MAX_SERVERS)?;
    let sample = sample.min(servers);
    let mut all = Tally::default();
    for at in 0..sample {
        // Evenly chosen, so that both those with an NPC more and those with one less are among them.
        let number = at * servers / sample;
        if let Some(own) = of_server(arrivals, number, servers) {
            all.add(tally(server, &own)?);
        } else {
            // Nobody is on it.
            server.check("server")?;
            all.add(Tally { counted_s: arrivals.seconds, servers: 1, ..Tally::default() });
        }
    }
    Ok(all.figures(servers as f64 / sample as f64))
}

/// What comes to one of so many servers; `None`: nothing.
fn of_server(arrivals: &Arrivals, number: u64, servers: u64) -> Option<Arrivals> {
    let share = |all: u64, turned: u64| {
        // Those that are left over are on other servers for each archetype.
        let place = (number + turned) % servers;
        all / servers + u64::from(place < all % servers)
    };
    let own = |(index, archetype): (usize, &ArchetypeLoad)| ArchetypeLoad {
        npcs: share(archetype.npcs, index as u64 * (servers / 5 + 1)),
        ..archetype.clone()
    };
    let archetypes: Vec<_> = arrivals.archetypes.iter().enumerate().map(own).collect();
    let acts = |archetype: &ArchetypeLoad| archetype.npcs > 0 && archetype.actions_per_npc_per_s > 0.0;
    let process = match arrivals.process {
        Process::Open if !archetypes.iter().any(acts) => return None,
        Process::Open => Process::Open,
        Process::Closed { clients, think_s } => {
            let clients = share(clients as u64, 0) as usize;
            if clients == 0 || archetypes.iter().all(|archetype| archetype.npcs == 0) {
                return None;
            }
            Process::Closed { clients, think_s }
        }
    };
    let seed = arrivals.seed.wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    Some(Arrivals { archetypes, seed, process, ..arrivals.clone() })
}
