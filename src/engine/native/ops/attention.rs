//! Attention over the paged cache, with rotary embeddings and, where a model has them, norms of queries and keys.

use std::cell::RefCell;
use std::ops::Range;

use super::super::disjoint::Disjoint;
use super::super::kernel::{self, Cpu, Head, Kept, Next, QUERIES, Query, Stored};
use super::super::pages;
use super::super::plan::{Neighbours, Plan};

/// Numbers of a head that are computed at a time: a head must be a multiple of them.
pub const HEAD: usize = kernel::PAGE;

/// What every layer's attention has.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    /// Positions that a query sees, itself included; 0: all.
    pub window: usize,
    pub epsilon: f32,
}

impl Sizes {
    /// Numbers of a token's queries.
    pub fn queries(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Numbers of a token's queries, keys and values.
    pub fn width(&self) -> usize {
        self.queries() + 2 * self.kv_heads * self.head_dim
    }
}

/// What is the same for every token.
#[derive(Debug, Clone, Copy)]
pub struct Tables<'a> {
    pub cos: &'a [f32],
    pub sin: &'a [f32],
    pub q_norm: Option<&'a [f32]>,
    pub k_norm: Option<&'a [f32]>,
}

impl Tables<'_> {
    /// Every position that a step may have must be in the tables.
    pub fn check(&self, head_dim: usize, context: usize) -> ort::Result<()> {
        let (found, wanted) = (self.cos.len().min(self.sin.len()), context * (head_dim / 2));
        if found < wanted {
            return Err(ort::Error::new(format!(
                "the rotary tables have {found} numbers, and {context} positions take {wanted}: \
                 model.max_position is more than the graph has"
            )));
        }
        let whole = |norm: Option<&[f32]>| norm.is_none_or(|norm| norm.len() == head_dim);
        if !(whole(self.q_norm) && whole(self.k_norm)) {
            return Err(ort::Error::new("a norm of queries or keys has another size than a head"));
        }
        Ok(())
    }
}

/// What a thread computes in.
#[derive(Default)]
struct Room {
    /// As long as the longest sequence that the thread has seen makes it.
    scores: Vec<f32>,
    /// Rotated queries, `[QUERIES][head_dim]`.
    queries: Vec<f32>,
    /// A rotated key.
    key: Vec<f32>,
    /// A rounded key or value, in whatever is stored.
    rounded: Vec<u16>,
}

thread_local! {
    static ROOM: RefCell<Room> = RefCell::default();
}

/// A layer's attention in a step. `qkv`: `[tokens][heads + 2 · kv_heads][head_dim]`.
///
/// Where all tokens ask, neighbours that are alone write their keys and values where they read them, since nobody else does.
/// All others' are written in a stage before.
pub struct Attention<'a> {
    pub cpu: Cpu,
    pub kept: Kept,
    pub sizes: Sizes,
    pub tables: Tables<'a>,
    /// The tokens, whose keys and values are written.
    pub plan: &'a Plan,
    /// Those that ask: all of them, or some.
    pub asking: &'a Plan,
    /// Which of the tokens ask, if not all do.
    pub rows: Option<&'a [usize]>,
    /// The layer's pages.
    pub pages: Disjoint<'a, u8>,
}

impl Attention<'_> {
    /// Tokens whose keys and values are written before.
    fn seen(&self) -> usize {
        if self.rows.is_some() { self.plan.tokens.len() } else { self.plan.seen.len() }
    }

    /// How often [`Self::write`] is to be called. A few tokens at a time: one takes less than starting a thread.
    pub fn writes(&self, threads: usize) -> usize {
        self.seen().div_ceil(8).min(threads * 4)
    }

    /// Writes some tokens' keys and values: piece `piece` of `pieces`.
    pub fn write(&self, piece: usize, pieces: usize, qkv: &[f32]) {
        let token = |i: usize| if self.rows.is_some() { i } else { self.plan.seen[i] };
        let own = self.seen() * piece / pieces..self.seen() * (piece + 1) / pieces;
        let fetch = |i: usize| (0..self.sizes.kv_heads).for_each(|head| self.fetch(token(i), head));
        // What a token is written to comes while the one before it is rotated.
        own.clone().take(1).for_each(fetch);
        ROOM.with_borrow_mut(|room| {
            for i in own.clone() {
                if i + 1 < own.end {
                    fetch(i + 1);
                }
                for head in 0..self.sizes.kv_heads {
                    // SAFETY: this call alone writes this token, and nobody reads it before all are written.
                    unsafe { self.keep(token(i), head, qkv, room) };
                }
            }
        });
    }

    /// How often [`Self::attend`] is to be called.
    pub fn jobs(&self, threads: usize) -> usize {
        (self.asking.neighbours.len() * self.sizes.kv_heads).min(threads * 24)
    }

    /// Computes some heads of some tokens, piece `piece` of `pieces`, into `out`: `[asking][heads][head_dim]`. What
    /// [`Self::write`] writes is there.
    pub fn attend(&self, piece: usize, pieces: usize, qkv: &[f32], out: &Disjoint<'_, f32>) {
        let (neighbours, kv_heads) = (&self.asking.neighbours, self.sizes.kv_heads);
        let jobs = neighbours.len() * kv_heads;
        let own = jobs * piece / pieces..jobs * (piece + 1) / pieces;
        let alone =
            |job: usize| neighbours.get(job / kv_heads).filter(|own| own.are_alone && self.rows.is_none());
        let fetch = |job: usize| {
            if let Some(Neighbours { tokens, .. }) = alone(job) {
                for token in tokens.clone() {
                    self.fetch(token, job % kv_heads);
                    self.fetch_own(token, job % kv_heads, qkv);
                }
            }
        };
        own.clone().take(1).for_each(fetch);
        ROOM.with_borrow_mut(|room| {
            for job in own {
                fetch(job + 1);
                let head = job % kv_heads;
                for token in alone(job).into_iter().flat_map(|own| own.tokens.clone()) {
                    // SAFETY: this job alone writes this head of these tokens, and reads it.
                    unsafe { self.keep(token, head, qkv, room) };
                }
                let at = (head, kv_heads);
                // SAFETY: what the pages have of other steps nobody writes; of this one's tokens some are written in the
                // stage before, and the others by this job. Pages that are written belong to one sequence.
                let head = unsafe { Head::new(&self.pages, self.kept, at, self.sizes.head_dim) };
                let head = head.before(self.next(job + 1));
                self.job(neighbours[job / kv_heads].tokens.clone(), head, qkv, room, out);
            }
        });
    }

    /// What a job reads, if there is one.
    fn next(&self, job: usize) -> Option<Next<'_>> {
        let (plan, kv_heads) = (self.asking, self.sizes.kv_heads);
        let Neighbours { tokens, .. } = plan.neighbours.get(job / kv_heads)?;
        let (first, last) = (&plan.tokens[tokens.start], &plan.tokens[tokens.end - 1]);
        let table = &plan.tables[last.table.0..last.table.1];
        let pages = self.first_of(first.position) / kernel::PAGE..=last.position / kernel::PAGE;
        Some(Next { index: job % kv_heads, table: &table[pages] })
    }

    /// The first position that a token at this one sees.
    fn first_of(&self, position: usize) -> usize {
        if self.sizes.window == 0 { 0 } else { (position + 1).saturating_sub(self.sizes.window) }
    }

    /// One key and value head of neighbouring tokens of a sequence.
    fn job(
        &self,
        tokens: Range<usize>,
        head: Head<'_>,
        qkv: &[f32],
        room: &mut Room,
        out: &Disjoint<'_, f32>,
    ) {
        let Sizes { heads, kv_heads, head_dim: dim, .. } = self.sizes;
        let (plan, group) = (self.asking, heads / kv_heads);
        let last = &plan.tokens[tokens.end - 1];
        kernel::grow(&mut room.scores, kernel::room(dim, last.position));
        kernel::grow(&mut room.queries, QUERIES * dim);
        let table = &plan.tables[last.table.0..last.table.1];
        let mut heads = tokens.flat_map(|t| (0..group).map(move |g| (t, g))).peekable();
        while heads.peek().is_some() {
            let mut queries = [Query { values: &[], from: 0, to: 0 }; QUERIES];
            let mut outs: [&mut [f32]; QUERIES] = Default::default();
            let mut count = 0;
            let turned = room.queries.chunks_exact_mut(dim);
            for (((query, out_of), turned), (t, g)) in
                queries.iter_mut().zip(&mut outs).zip(turned).zip(&mut heads)
            {
                let position = plan.tokens[t].position;
                let (row, own) = (self.rows.map_or(t, |rows| rows[t]), head.index * group + g);
                let values = &qkv[row * self.sizes.width() + own * dim..][..dim];
                self.turn(values, self.tables.q_norm, position, turned);
                *query = Query { values: turned, from: self.first_of(position), to: position };
                // SAFETY: every job writes its own heads of its own tokens.
                *out_of = unsafe { out.part(t * self.sizes.queries() + own * dim, dim) };
                count += 1;
            }
            self.cpu.attend(head, table, &queries[..count], &mut room.scores, &mut outs[..count]);
        }
    }

    /// Norms and rotates a head of a token at a position.
    fn turn(&self, values: &[f32], norm: Option<&[f32]>, position: usize, out: &mut [f32]) {
        let half = self.sizes.head_dim / 2;
        let angles = position * half..(position + 1) * half;
        match norm {
            Some(norm) => self.cpu.rms_norm(values, norm, self.sizes.epsilon, out),
            None => out.copy_from_slice(values),
        }
        self.cpu.rotate(out, &self.tables.cos[angles.clone()], &self.tables.sin[angles]);
    }

    /// Lets a head's queries, key and value come, which another thread may just have written.
    fn fetch_own(&self, token: usize, head: usize, qkv: &[f32]) {
        let Sizes { heads, kv_heads, head_dim: dim, .. } = self.sizes;
        let (row, group) = (&qkv[token * self.sizes.width()..][..self.sizes.width()], heads / kv_heads);
        let at = |first: usize, count: usize| &row[first * dim..][..count * dim];
        for own in [at(head * group, group), at(heads + head, 1), at(heads + kv_heads + head, 1)] {
            own.as_chunks().0.iter().for_each(|two_lines| self.cpu.fetch(Some(two_lines), None));
        }
    }

    /// Lets the memory come that [`Self::keep`] writes.
    fn fetch(&self, token: usize, head: usize) {
        let at = (self.plan.tokens[token].place, head, self.sizes.kv_heads);
        match self.kept {
            Kept::Int8 => pages::fetch::<i8>(self.cpu, &self.pages, at, self.sizes.head_dim),
            Kept::Bf16 => pages::fetch::<u16>(self.cpu, &self.pages, at, self.sizes.head_dim),
        }
    }

    /// Rotates a token's key, and writes it into the cache with the value.
    ///
    /// # Safety
    /// Nobody else reads or writes this head of this token.
    unsafe fn keep(&self, token: usize, head: usize, qkv: &[f32], room: &mut Room) {
        // SAFETY: as the caller promises.
        unsafe {
            match self.kept {
                Kept::Int8 => self.keep_as::<i8>(token, head, qkv, room),
                Kept::Bf16 => self.keep_as::<u16>(token, head, qkv, room),
            }
        }
    }

    /// # Safety
    /// As [`Self::keep`].
    unsafe fn keep_as<S: Stored>(&self, token: usize, head: usize, qkv: &[f32], room: &mut Room) {
        let Sizes { kv_heads, head_dim: dim, .. } = self.sizes;
        let row = &qkv[token * self.sizes.width()..][..self.sizes.width()];
        let (keys, values) = row[self.sizes.queries()..].split_at(kv_heads * dim);
        let (key, value) = (&keys[head * dim..][..dim], &values[head * dim..][..dim]);
        let token = &self.plan.tokens[token];
        kernel::grow(&mut room.key, dim);
        kernel::grow(&mut room.rounded, dim);
        let turned = &mut room.key[..dim];
        self.turn(key, self.tables.k_norm, token.position, turned);
        let rounded = &mut bytemuck::cast_slice_mut::<u16, S>(&mut room.rounded)[..dim];
        // SAFETY: as the caller promises.
        unsafe {
            pages::write(self.cpu, &self.pages, (token.place, head, kv_heads), (turned, value), rounded);
        };
    }
}
