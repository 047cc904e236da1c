//! The faces of the NPCs.

use std::collections::HashMap;
use std::sync::Arc;

use super::SetupError;
use crate::archetype::Packs;
use crate::face::{Look, Performance, Style, Tables};
use crate::npc::Npc;
use crate::wire::FaceInfo;

/// The tables, and what is particular to each archetype.
#[derive(Debug)]
pub(super) struct Faces {
    tables: Arc<Tables>,
    looks: HashMap<String, Arc<Look>>,
}

impl Faces {
    /// # Errors
    /// [`SetupError`] for tables that cannot be used, and for a pack whose `[face]` names what they do not have.
    pub fn new(packs: &Packs) -> Result<Self, SetupError> {
        let tables = Tables::built_in()?;
        let look = |pack: &Arc<crate::archetype::Pack>| {
            let look = Look::new(&tables, &pack.face);
            let look = look.map_err(|error| SetupError::Look { pack: pack.name.clone(), error })?;
            Ok((pack.name.clone(), Arc::new(look)))
        };
        let looks = packs.iter().map(look).collect::<Result<_, SetupError>>()?;
        Ok(Self { tables, looks })
    }

    /// What clients are told of them.
    pub fn info(&self) -> FaceInfo {
        FaceInfo { rig: self.tables.rig().to_owned(), shapes: self.tables.shapes().to_vec() }
    }

    /// The face of an NPC along one line. The same turn of the same NPC is played the same way.
    pub fn perform(&self, npc: &Npc, turn: &str) -> Option<Performance> {
        let look = self.looks.get(&npc.pack.name)?;
        let seed = npc.info.seed;
        let (expressivity, uneven) = npc.read(|mind| (mind.personality().expressivity(), mind.asymmetry()));
        // Which half is the weaker one is its own.
        let asymmetry = if seed.count_ones().is_multiple_of(2) { uneven } else { -uneven };
        let of_turn = turn.bytes().fold(seed, |mix, byte| {
            // FNV-1a, 64 bits.
            (mix ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
        });
        Some(Performance::new(&self.tables, Style::new(look, expressivity, asymmetry, seed), of_turn))
    }

    /// How long a face takes to be neutral, from wherever it is.
    pub fn neutral_ms(&self) -> u64 {
        self.tables.neutral_ms()
    }
}
