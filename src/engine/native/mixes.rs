//! What a step's mixes are computed in, in one linear layer; kept from step to step.

use std::ops::Range;
use std::sync::atomic::AtomicU8;

use super::adapter::{Group, Int8, KeptGroup, Projection};
use super::kernel::{BAND, LINE, Lines, PANEL, Piece, Slot, USUAL, UpLines};
use super::plan::Plan;

#[derive(Debug, Default)]
pub struct Mixes {
    pub layout: Layout,
    pub found: Found,
}

/// How the rows of a step share a linear layer's adapters.
#[derive(Debug, Default)]
pub struct Layout {
    /// The step that all this is of, and the layer that [`Self::owns`] and [`Self::lists`] are of.
    step: u64,
    layer: usize,
    /// Whether every adapter's layers are so far apart as [`Own::apart`] says.
    is_even: bool,
    /// Whether any adapter has something in the layer.
    is_something: bool,
    /// What every adapter of the step has in the layer.
    owns: Vec<Own>,
    /// Of each of them A in the linear layer that follows.
    next: Vec<Lines>,
    pub bands: Vec<Band>,
    /// By the plan's runs.
    pub runs: Vec<Run>,
    /// Adapters in 8 bits of every run.
    pub members: Vec<Member>,
    pub users: Vec<User>,
    /// Users of all bands by adapter, one range for each that has some, if it pays to read every adapter once for all rows;
    /// else nothing.
    pub shared: Vec<Range<usize>>,
    pub sharing: Vec<User>,
    /// Runs that are none of theirs.
    pub long: Vec<usize>,
    pub sections: Vec<Section>,
    /// Those of a section side by side, and in the order of rows.
    pub slots: Vec<Slot>,
    /// Which run each slot is of, and where its gates begin.
    pub owners: Vec<Owner>,
    /// Of every slot `[rows][adapters]`.
    pub gates: Vec<f32>,
    /// Adapters of every slot: where B is in the section's list, and the ranks in u.
    pub entries: Vec<u32>,
    pub pieces: Vec<Piece>,
    /// Of all adapters of the step: their B, by projection.
    pub lists: Vec<List>,
    /// Of every adapter where its projections' B are in their lists; they begin where `firsts` says.
    listed: Vec<usize>,
    firsts: Vec<usize>,
}

/// What threads fill in, each its own part.
#[derive(Debug, Default)]
pub struct Found {
    /// u = A·x with all scales, of every run `[rows][ranks]`.
    pub u: Vec<f32>,
    pub rounded: Rounded,
    /// How far the rounding of every band is.
    pub states: Vec<AtomicU8>,
    /// u = A·x of adapters in floats, of every run that has some `[rows][mix][ranks]`.
    pub floats: Vec<f32>,
}

/// u in 8 bits.
#[derive(Debug, Default)]
pub struct Rounded {
    /// Of every slot `[rows][quads]`.
    pub quads: Vec<[i8; LINE]>,
    /// Of every slot `[rows]`.
    pub scales: Vec<f32>,
    /// -128 · Σ codes, laid out as `scales`.
    pub starts: Vec<i32>,
}

/// What an adapter has in a layer.
#[derive(Debug)]
struct Own {
    int8: Option<KeptGroup>,
    /// Lines from one layer's to the next one's.
    apart: usize,
}

/// See [`Layout::owners`].
#[derive(Debug, Clone, Copy)]
pub struct Owner {
    pub run: usize,
    pub gates: usize,
}

/// A band of rows.
#[derive(Debug)]
pub struct Band {
    pub sections: Range<usize>,
    pub slots: Range<usize>,
    pub users: Range<usize>,
    /// Of [`Rounded`] what is its own: the quads, and the rows of all its slots. The slots count from there.
    pub quads: Range<usize>,
    pub rows: Range<usize>,
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
#[derive(Debug, Clone, Copy)]
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
    /// Which adapter each is of.
    adapters: Vec<usize>,
}

/// Adapters' A in the linear layer that follows, in pieces: all of it at once would be work for one thread alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ahead<'a> {
    adapters: &'a [Lines],
    /// Adapters of a piece, in 2⁻³².
    each: u64,
}

/// Parts of memory that a piece of [`Ahead`] has at most; where it would have more they are not fetched.
pub const PARTS: usize = 8;

impl Ahead<'_> {
    /// The parts of one of the pieces; nothing behind the last.
    pub fn piece<'b>(&self, index: usize, room: &'b mut [Lines; PARTS]) -> &'b [Lines] {
        let (from, to) = (index as u64 * self.each, (index as u64 + 1) * self.each);
        let mut count = 0;
        for (room, adapter) in room.iter_mut().zip((from >> 32) as usize..) {
            let start = (adapter as u64) << 32;
            let Some(own) = self.adapters.get(adapter).filter(|_| start < to) else { break };
            // An adapter has less than 2³² lines.
            let lines = own.count() as u64;
            let at = |place: u64| ((place.saturating_sub(start).min(1 << 32) * lines) >> 32) as usize;
            *room = own.part(at(from)..at(to));
            count += 1;
        }
        &room[..count]
    }
}

/// Adapters whose products are summed together; a longer mix is summed in parts.
pub const TOGETHER: usize = 8;

/// Rows with the same mix from which on all their adapters are computed together.
pub const LONG: usize = 3;

impl Mixes {
    /// Makes room for what the plan's adapters do in this layer; false if they do nothing there.
    pub fn prepare(&mut self, plan: &Plan, layer: usize, group: usize) -> bool {
        let layout = &mut self.layout;
        let is_known = layout.step == plan.step && plan.is_alike;
        // Layer after layer the same.
        if is_known && layout.is_even && layer >= layout.layer {
            layout.go_on(layer);
            return layout.is_something;
        }
        // Until all is found, it is of no step.
        layout.step = 0;
        layout.list(plan, layer, group);
        if layout.is_something && !is_known {
            layout.fill(plan, layer, group, &mut self.found);
        }
        layout.step = plan.step;
        layout.is_something
    }
}

impl Layout {
    fn fill(&mut self, plan: &Plan, layer: usize, group: usize, found: &mut Found) {
        self.bands.clear();
        self.runs.clear();
        self.members.clear();
        self.users.clear();
        self.sections.clear();
        self.slots.clear();
        self.owners.clear();
        self.entries.clear();
        self.gates.clear();
        self.pieces.clear();
        let (mut u, mut floats, mut quads, mut rows) = (0, 0, 0, 0);
        for band in 0..plan.tokens.len().div_ceil(BAND) {
            let (first_section, first_slot, first_user) =
                (self.sections.len(), self.slots.len(), self.users.len());
            let (first_quad, first_row) = (quads, rows);
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
                    let (quads_at, at) = (quads - first_quad, rows - first_row);
                    let slot = Slot { first, rows: run.len(), quads: quads_at, at, ..slot };
                    quads += run.len() * slot.width;
                    rows += run.len();
                    (index, slot)
                });
            }
            self.users[first_user..].sort_unstable_by_key(|user| (user.adapter, user.row));
            let slots = first_slot..self.slots.len();
            self.sort(first_section, slots.clone());
            let (sections, users) = (first_section..self.sections.len(), first_user..self.users.len());
            let (quads, rows) = (first_quad..quads, first_row..rows);
            self.bands.push(Band { sections, slots, users, quads, rows });
        }
        // All of it is written before it is read.
        found.u.resize(u, 0.0);
        found.floats.resize(floats, 0.0);
        found.rounded.quads.resize(quads, [0; LINE]);
        found.rounded.scales.resize(rows, 0.0);
        found.rounded.starts.resize(rows, 0);
        found.states.resize_with(self.bands.len(), AtomicU8::default);
        self.long.clear();
        self.long.extend((0..plan.runs.len()).filter(|run| plan.runs[*run].len() >= LONG));
        self.share(floats == 0);
    }

    /// Puts the users of all bands together, if they are all that there is beside long runs.
    fn share(&mut self, is_all: bool) {
        self.sharing.clear();
        self.shared.clear();
        if !is_all {
            return;
        }
        self.sharing.extend_from_slice(&self.users);
        self.sharing.sort_unstable_by_key(|user| (user.adapter, user.row));
        let mut end = 0;
        for own in self.sharing.chunk_by(|a, b| a.adapter == b.adapter) {
            self.shared.push(end..end + own.len());
            end += own.len();
        }
        // Else a row's adapters together are as quick.
        if self.sharing.len() < 2 * self.shared.len() {
            self.shared.clear();
        }
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
        let mut places = Vec::with_capacity(TOGETHER);
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
                places.clear();
                for (member, projection, found) in own.by_ref().take(TOGETHER) {
                    // A step has far less than 2³² adapters.
                    self.entries.push(self.listed[self.firsts[member.adapter] + projection] as u32);
                    places.push(member.place);
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
                self.owners.push(Owner { run, gates: self.gates.len() });
                for row in plan.runs[run].clone() {
                    self.gates.extend(places.iter().map(|place| plan.gate(row, *place)));
                }
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

    /// Finds what all adapters have in a layer.
    fn list(&mut self, plan: &Plan, layer: usize, group: usize) {
        self.layer = layer;
        self.is_even = true;
        self.is_something = false;
        self.owns.clear();
        self.next.clear();
        for list in &mut self.lists {
            list.lines.clear();
            list.adapters.clear();
        }
        self.listed.clear();
        self.firsts.clear();
        for (index, adapter) in plan.adapters.iter().enumerate() {
            let (own, apart) = (adapter.group(layer, group), adapter.apart());
            self.is_something |= own.is_some();
            self.is_even &= apart.is_some();
            let int8 = own.and_then(Group::int8);
            let kept = int8.map(|own| (adapter.keep(own), own.shape.projections()));
            self.owns.push(Own { int8: kept.map(|(own, _)| own), apart: apart.unwrap_or_default() });
            self.next
                .push(adapter.next(layer, group).map(|next| Lines::of(next.downs())).unwrap_or_default());
            self.firsts.push(self.listed.len());
            if let Some((own, projections)) = kept {
                self.list_ups(own, projections, index);
            }
        }
    }

    /// Finds B of an adapter.
    fn list_ups(&mut self, own: KeptGroup, projections: &[Projection], adapter: usize) {
        for (index, projection) in projections.iter().enumerate() {
            let panels = projection.panels();
            // The same ones in nearly every step.
            let known = self.lists.get(index).is_some_and(|list| list.panels == panels);
            let place =
                if known { Some(index) } else { self.lists.iter().position(|list| list.panels == panels) };
            let place = place.unwrap_or_else(|| {
                self.lists.push(List { panels, lines: Vec::new(), adapters: Vec::new() });
                self.lists.len() - 1
            });
            let list = &mut self.lists[place];
            self.listed.push(list.lines.len());
            list.lines.push(own.lines(projection));
            list.adapters.push(adapter);
        }
    }

    /// Goes on to a later layer, whose memory is so much behind: to look for it would read what is not in the nearest caches.
    fn go_on(&mut self, layer: usize) {
        let layers = layer - self.layer;
        self.layer = layer;
        for (own, next) in self.owns.iter_mut().zip(&mut self.next) {
            let lines = own.apart * layers;
            own.int8 = own.int8.map(|own| own.behind(lines));
            *next = next.behind(lines);
        }
        for list in &mut self.lists {
            for (ups, adapter) in list.lines.iter_mut().zip(&list.adapters) {
                *ups = ups.behind(self.owns[*adapter].apart * layers);
            }
        }
    }

    /// What an adapter has in 8 bits in the layer.
    ///
    /// # Safety
    /// The adapters of the plan that all this was prepared for last are still there.
    pub unsafe fn int8<'a>(&self, adapter: usize) -> Option<Int8<'a>> {
        // SAFETY: as the caller promises; layers that are not there are never asked for.
        self.owns[adapter].int8.map(|own| unsafe { own.group() })
    }

    /// What adapters read after the product of the linear layer, which is computed in so many pieces.
    pub fn ahead(&self, pieces: usize) -> Ahead<'_> {
        // Rounded up: the last piece has the last of them.
        let each = ((self.next.len() as u64) << 32).div_ceil(pieces.max(1) as u64);
        Ahead { adapters: &self.next, each }
    }
}
