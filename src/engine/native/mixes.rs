//! What a step's mixes are computed in, in one linear layer; kept from step to step.

use std::ops::Range;

use super::adapter::Group;
use super::kernel::{BAND, LINE, PANEL, Piece, Slot, USUAL, UpLines};
use super::plan::Plan;

#[derive(Debug, Default)]
pub struct Mixes {
    pub layout: Layout,
    pub found: Found,
}

/// How the rows of a step share a linear layer's adapters.
#[derive(Debug, Default)]
pub struct Layout {
    /// The step that all this is of.
    step: u64,
    pub bands: Vec<Band>,
    /// By the plan's runs.
    pub runs: Vec<Run>,
    /// Adapters in 8 bits of every run.
    pub members: Vec<Member>,
    pub users: Vec<User>,
    pub sections: Vec<Section>,
    /// Those of a section side by side, and in the order of rows.
    pub slots: Vec<Slot>,
    /// Which run each slot is of.
    pub owners: Vec<usize>,
    /// Adapters of every slot: where B is in the section's list, the place in the mix, and the ranks in u.
    pub entries: Vec<u32>,
    pub places: Vec<usize>,
    pub pieces: Vec<Piece>,
    /// Of all adapters of the step: their B, by projection.
    pub lists: Vec<List>,
    /// Of every adapter where its projections' B are in their lists; they begin where `firsts` says.
    listed: Vec<usize>,
    firsts: Vec<usize>,
}

/// What threads fill in, each its own rows' part.
#[derive(Debug, Default)]
pub struct Found {
    /// u = A·x with all scales, of every run `[rows][ranks]`.
    pub u: Vec<f32>,
    /// u in 8 bits, of every slot `[rows][quads]`.
    pub quads: Vec<[i8; LINE]>,
    /// Of every slot `[rows]`.
    pub scales: Vec<f32>,
    /// -128 · Σ codes, laid out as `scales`.
    pub starts: Vec<i32>,
    /// u = A·x of adapters in floats, of every run that has some `[rows][mix][ranks]`.
    pub floats: Vec<f32>,
}

/// A band of rows.
#[derive(Debug)]
pub struct Band {
    pub sections: Range<usize>,
    pub slots: Range<usize>,
    pub users: Range<usize>,
}

/// Rows of one tile that have the same adapters.
#[derive(Debug)]
pub struct Run {
    pub members: Range<usize>,
    /// Ranks of a row, of all members.
    pub ranks: usize,
    /// Where its u begins.
    pub u: usize,
    /// Where its u of adapters in floats begins, if it has such.
    pub floats: Option<usize>,
}

/// An adapter in 8 bits of a run.
#[derive(Debug)]
pub struct Member {
    /// Its index among the step's, and its place in the mix.
    pub adapter: usize,
    place: usize,
    /// The first of its ranks in a row's u.
    pub rank: usize,
}

/// A row that an adapter in 8 bits is computed for by itself, since few rows beside it have the same mix.
#[derive(Debug)]
pub struct User {
    pub adapter: usize,
    pub row: usize,
    /// Where u begins.
    pub u: usize,
}

/// What of a band adds to a projection.
#[derive(Debug)]
pub struct Section {
    /// The projection's panels among the layer's.
    pub panels: Range<usize>,
    pub slots: Range<usize>,
    pub list: usize,
}

/// What all adapters of a step have in one projection.
#[derive(Debug)]
pub struct List {
    pub panels: Range<usize>,
    pub lines: Vec<UpLines>,
}

/// Adapters whose products are summed together; a longer mix is summed in parts.
pub const TOGETHER: usize = 8;

/// Rows with the same mix from which on all their adapters are computed together.
pub const LONG: usize = 3;

impl Mixes {
    /// Makes room for what the plan's adapters do in this layer.
    pub fn prepare(&mut self, plan: &Plan, layer: usize, group: usize) {
        self.layout.list(plan, layer, group);
        // Layer after layer the same.
        if self.layout.step != plan.step || !plan.is_alike {
            self.layout.fill(plan, layer, group, &mut self.found);
        }
    }
}

impl Layout {
    fn fill(&mut self, plan: &Plan, layer: usize, group: usize, found: &mut Found) {
        self.step = plan.step;
        self.bands.clear();
        self.runs.clear();
        self.members.clear();
        self.users.clear();
        self.sections.clear();
        self.slots.clear();
        self.owners.clear();
        self.entries.clear();
        self.places.clear();
        self.pieces.clear();
        let (mut u, mut floats, mut quads, mut rows) = (0, 0, 0, 0);
        for band in 0..plan.tokens.len().div_ceil(BAND) {
            let (first_section, first_slot, first_user) =
                (self.sections.len(), self.slots.len(), self.users.len());
            for index in plan.runs_of_band(band) {
                let run = plan.runs[index].clone();
                let first_member = self.members.len();
                let (mut ranks, mut has_floats) = (0, false);
                for (place, adapter, own) in plan.used(run.start, layer, group) {
                    let Group::Int8(own) = own else {
                        has_floats = true;
                        continue;
                    };
                    self.members.push(Member { adapter, place, rank: ranks });
                    ranks += own.shape.ranks();
                }
                let members = first_member..self.members.len();
                let own = has_floats.then_some(floats);
                floats += own.map_or(0, |_| run.len() * plan.tokens[run.start].entries.1 * plan.ranks);
                self.runs.push(Run { members: members.clone(), ranks, u, floats: own });
                if run.len() < LONG {
                    for (i, row) in run.clone().enumerate() {
                        let users = self.members[members.clone()].iter();
                        let at = u + i * ranks;
                        self.users.extend(users.map(|own| User {
                            adapter: own.adapter,
                            row,
                            u: at + own.rank,
                        }));
                    }
                }
                u += run.len() * ranks;
                let first = run.start - band * BAND;
                self.parts(plan, (layer, group), members, |slot| {
                    let slot = Slot { first, rows: run.len(), quads, at: rows, ..slot };
                    quads += run.len() * slot.width;
                    rows += run.len();
                    (index, slot)
                });
            }
            self.users[first_user..].sort_unstable_by_key(|user| (user.adapter, user.row));
            let slots = first_slot..self.slots.len();
            self.sort(first_section, slots.clone());
            let (sections, users) = (first_section..self.sections.len(), first_user..self.users.len());
            self.bands.push(Band { sections, slots, users });
        }
        // All of it is written before it is read.
        found.u.resize(u, 0.0);
        found.floats.resize(floats, 0.0);
        found.quads.resize(quads, [0; LINE]);
        found.scales.resize(rows, 0.0);
        found.starts.resize(rows, 0);
    }

    /// Finds the projections of a run's members; `put` completes a slot, and knows its run.
    fn parts(
        &mut self,
        plan: &Plan,
        (layer, group): (usize, usize),
        members: Range<usize>,
        mut put: impl FnMut(Slot) -> (usize, Slot),
    ) {
        let members = &self.members[members];
        let projections = |member: &Member| {
            let group = plan.adapters[member.adapter].group(layer, group).and_then(Group::int8);
            group.map_or(&[][..], |group| group.shape.projections())
        };
        let mut from = 0;
        let starts = |from: usize| {
            let all = members.iter().flat_map(|member| projections(member).iter().map(|own| own.offset));
            all.filter(move |start| *start >= from).min()
        };
        while let Some(start) = starts(from) {
            let own = members.iter().filter_map(|member| {
                let projection = projections(member).iter().position(|own| own.offset == start)?;
                Some((member, projection, &projections(member)[projection]))
            });
            let mut own = own.peekable();
            while let Some((.., first)) = own.peek() {
                from = start + first.outputs;
                let (entries, mut width, mut is_usual) = (self.entries.len(), 0, true);
                for (member, projection, found) in own.by_ref().take(TOGETHER) {
                    // A step has far less than 2³² adapters.
                    self.entries.push(self.listed[self.firsts[member.adapter] + projection] as u32);
                    self.places.push(member.place);
                    self.pieces.push(Piece { first: member.rank + found.first, ranks: found.ranks });
                    width += found.quads();
                    is_usual &= found.quads() == USUAL;
                }
                let panels = (start / PANEL, from / PANEL);
                let adapters = self.entries.len() - entries;
                let (run, slot) = put(Slot {
                    panels,
                    width,
                    entries,
                    adapters,
                    is_usual,
                    first: 0,
                    rows: 0,
                    quads: 0,
                    at: 0,
                });
                self.owners.push(run);
                self.slots.push(slot);
            }
        }
    }

    /// Puts the slots of each projection side by side.
    fn sort(&mut self, first_section: usize, slots: Range<usize>) {
        // A few dozens, once for a step.
        for at in slots.clone() {
            let mut at = at;
            while at > slots.start && self.slots[at - 1].panels > self.slots[at].panels {
                self.slots.swap(at - 1, at);
                self.owners.swap(at - 1, at);
                at -= 1;
            }
        }
        for at in slots {
            let (first, end) = self.slots[at].panels;
            match self.sections.get_mut(first_section..).and_then(<[_]>::last_mut) {
                Some(last) if last.panels == (first..end) => last.slots.end = at + 1,
                _ => {
                    let panels = first..end;
                    // Whoever has the slot is in the list.
                    let list = self.lists.iter().position(|list| list.panels == panels).unwrap_or_default();
                    self.sections.push(Section { panels, slots: at..at + 1, list });
                }
            }
        }
    }

    /// Finds B of all adapters.
    fn list(&mut self, plan: &Plan, layer: usize, group: usize) {
        self.lists.iter_mut().for_each(|list| list.lines.clear());
        self.listed.clear();
        self.firsts.clear();
        for adapter in &plan.adapters {
            self.firsts.push(self.listed.len());
            let Some(Group::Int8(own)) = adapter.group(layer, group) else { continue };
            for (index, projection) in own.shape.projections().iter().enumerate() {
                let panels = projection.panels();
                // The same ones in nearly every step.
                let known = self.lists.get(index).is_some_and(|list| list.panels == panels);
                let place = if known {
                    Some(index)
                } else {
                    self.lists.iter().position(|list| list.panels == panels)
                };
                let place = place.unwrap_or_else(|| {
                    self.lists.push(List { panels, lines: Vec::new() });
                    self.lists.len() - 1
                });
                let list = &mut self.lists[place].lines;
                self.listed.push(list.len());
                list.push(own.lines(projection));
            }
        }
    }
}
