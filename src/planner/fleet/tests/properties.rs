//! What holds of every plan.

use proptest::prelude::*;

use super::{Data, holds, on};
use crate::planner::fleet::{Request, plan};
use crate::planner::load::{ArchetypeLoad, Curve, Load};
use crate::planner::packing::Market;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A plan for more NPCs holds fewer too, so the cheapest for fewer costs no more; what is found may be 5 % above it.
    #[test]
    fn more_npcs_never_cost_less(npcs in 1_u64..5000, times in 1.0..6.0_f64, large: bool, spot: bool) {
        let data = Data::new();
        let model = if large { "llama-3.1-8b" } else { "smollm2-135m" };
        let cost = |npcs| {
            let market = if spot { Market::Spot } else { Market::OnDemand };
            let request = Request { market, ..on(model, npcs) };
            let fleet = plan(&request, &data.inputs()).unwrap();
            holds(&fleet, &request, &data);
            fleet.cost.usd_per_hour
        };
        prop_assert!(cost(npcs) <= cost((npcs as f64 * times) as u64) * 1.05 + 1e-9);
    }

    #[test]
    fn any_plan_is_within_its_limits(
        counts in prop::collection::vec((0_u64..2000, 0.01..0.5_f64, 0.0..3.0_f64, 0.0..8.0_f64), 1..8),
        headroom in 0.0..0.6_f64, replicas in 1_u32..4, large in 0_usize..3, swing in 0.0..0.9_f64,
    ) {
        let data = Data::new();
        let archetypes = counts.iter().enumerate().map(|(at, &(npcs, actions, lines, choices))| ArchetypeLoad {
            actions_per_npc_per_s: actions, lines_per_action: lines, choices_per_action: choices,
            ..ArchetypeLoad::new(format!("archetype {at}"), npcs)
        });
        let load = Load { archetypes: archetypes.collect(), curve: Curve::evening(swing) };
        let mut request = Request { headroom, replicas, zones: vec!["a".into(), "b".into()], ..Request::new(load) };
        for at in 0..large.min(counts.len()) {
            request.models.insert(format!("archetype {at}"), "qwen2.5-7b".into());
        }
        let fleet = plan(&request, &data.inputs()).unwrap();
        holds(&fleet, &request, &data);
    }
}
