//! The faces of the NPCs.

use std::sync::Arc;

use dashmap::DashMap;

use super::SetupError;
use crate::face::{Look, Performance, Style, Tables};
use crate::npc::Npc;
use crate::wire::FaceInfo;

/// The tables, and what is particular to each archetype.
#[derive(Debug)]
pub(super) struct Faces {
    tables: Arc<Tables>,
    /// By archetype, once one of its faces was wanted. As many as there are packs.
    looks: DashMap<String, Arc<Look>>,
}

impl Faces {
    /// # Errors
    /// [`SetupError`] for tables that cannot be used.
    pub fn new() -> Result<Self, SetupError> {
        Ok(Self { tables: Tables::built_in()?, looks: DashMap::new() })
    }

    /// What all faces of an NPC's kind have in common. No pack is taken up whose face cannot be made.
    fn look(&self, npc: &Npc) -> Option<Arc<Look>> {
        let name = &npc.pack.name;
        if let Some(look) = self.looks.get(name) {
            return Some(Arc::clone(&look));
        }
        let look = Arc::new(Look::new(&self.tables, &npc.pack.face).ok()?);
        self.looks.insert(name.clone(), Arc::clone(&look));
        Some(look)
    }

    /// What clients are told of them.
    pub fn info(&self) -> FaceInfo {
        FaceInfo { rig: self.tables.rig().to_owned(), shapes: self.tables.shapes().to_vec() }
    }

    /// The face of an NPC along one line. The same turn of the same NPC is played the same way.
    pub fn perform(&self, npc: &Npc, turn: &str) -> Option<Performance> {
        let look = self.look(npc)?;
        let seed = npc.info.seed;
        let (expressivity, uneven) = npc.read(|mind| (mind.personality().expressivity(), mind.asymmetry()));
        // Which half is the weaker one is its own.
        let asymmetry = if seed.count_ones().is_multiple_of(2) { uneven } else { -uneven };
        let of_turn = turn.bytes().fold(seed, |mix, byte| {
            // FNV-1a, 64 bits.
            (mix ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
        });
        Some(Performance::new(&self.tables, Style::new(&look, expressivity, asymmetry, seed), of_turn))
    }

    /// How long a face takes to be neutral, from wherever it is.
    pub fn neutral_ms(&self) -> u64 {
        self.tables.neutral_ms()
    }
}
