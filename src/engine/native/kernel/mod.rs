//! The arithmetic of the native decoder. No tensors, no threads, no model: slices in, slices out.
//!
//! Every function gives the same bits on every CPU. The integer products are written once for each instruction set;
//! all else is plain Rust, compiled once more with the wider registers allowed.

// The plain functions are compiled once for every instruction set; that works only where they are inlined into the
// functions that name it.
#![allow(clippy::inline_always)]
// Loops over rows and lanes name the registers that a sum lives in; iterators hide which.
#![allow(clippy::needless_range_loop)]

use std::ops::Range;

pub mod acts;
mod attention;
mod lora;
mod math;
mod plain;
mod products;
mod ranks;
mod soon;
mod stored;
#[cfg(test)]
mod tests;
pub mod weights;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use acts::{Activations, BAND, BAND_TILES, GROUP, TILE, TileMut, TileRef, groups, grow};
pub use attention::{Head, Next, PAGE, QUERIES, Query, SCALES, half_bytes, room};
pub use lora::{Element, RANKS};
pub use math::f32_to_bf16;
#[cfg(test)]
pub use math::silu;
pub use products::{Pair, Products};
pub use ranks::{INPUTS, Lane, OCTETS, Octet, Piece, Product, ROWS, RankLine, Slot, USUAL, UpLines, Ups};
pub use soon::{Lines, Soon};
pub use stored::{Kept, PAIR, Stored};
pub use weights::{LINE, Line, PANEL, Weights};

/// What the CPU can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// Plain Rust.
    Plain,
    /// AVX2, FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// The same and AVX-VNNI.
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    /// AVX-512 F, BW, VL and VNNI.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// The same and AMX with 8-bit integers.
    #[cfg(target_arch = "x86_64")]
    Amx,
}

impl Isa {
    /// All that this CPU can do, the fastest first; the last is always [`Isa::Plain`].
    pub fn available() -> Vec<Self> {
        let mut list = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let base = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            if base
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni")
            {
                if x86::amx::is_there() {
                    list.push(Self::Amx);
                }
                list.push(Self::Avx512);
            }
            if base && is_x86_feature_detected!("avxvnni") {
                list.push(Self::AvxVnni);
            }
            if base {
                list.push(Self::Avx2);
            }
        }
        list.push(Self::Plain);
        list
    }

    /// The name in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => "avx-vnni",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512-vnni",
            #[cfg(target_arch = "x86_64")]
            Self::Amx => "amx-int8",
        }
    }
}

/// The CPU's instruction set, found once. Only [`Cpu::detect`] and [`Cpu::all`] make one, so whoever holds one may call
/// what was compiled for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpu(Isa);

impl Cpu {
    /// The fastest that this CPU can do.
    pub fn detect() -> Self {
        Self(Isa::available()[0])
    }

    /// All that this CPU can do, for tests that compare them.
    pub fn all() -> Vec<Self> {
        Isa::available().into_iter().map(Self).collect()
    }

    /// The fastest of this CPU that multiplies in vectors and not in tiles.
    pub fn without_tiles(self) -> Self {
        #[cfg(target_arch = "x86_64")]
        if self.0 == Isa::Amx {
            return Self(Isa::Avx512);
        }
        self
    }

    /// Whether the products run on vectors.
    pub fn is_vector(self) -> bool {
        self.0 != Isa::Plain
    }

    /// Whether the products of a step with so many rows of so many inputs go by bands, which takes
    /// [`Activations::tall`].
    pub fn is_tall(self, rows: usize, inputs: usize) -> bool {
        #[cfg(target_arch = "x86_64")]
        if self.0 == Isa::Amx {
            // A tile takes as long for one row as for sixteen.
            return rows > TILE && inputs.is_multiple_of(GROUP);
        }
        let _ = (rows, inputs);
        false
    }

    pub fn isa(self) -> Isa {
        self.0
    }
}

/// Calls the function as compiled for the CPU.
macro_rules! dispatch {
    ($cpu:expr, $function:ident $(::<$generic:literal>)? ($($argument:expr),*), $plain:expr) => {
        match $cpu.0 {
            Isa::Plain => $plain,
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the CPU has these features, or there would be no such `Cpu`.
            Isa::Avx2 | Isa::AvxVnni => unsafe { x86::avx2::$function $(::<$generic>)? ($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the CPU has these features, or there would be no such `Cpu`.
            Isa::Avx512 | Isa::Amx => unsafe { x86::avx512::$function $(::<$generic>)? ($($argument),*) },
        }
    };
}

impl Cpu {
    /// A panel's product with `rows` rows (1 to [`TILE`]) of a tile: for each row and column
    /// scale of the column · Σ over groups of scale · Σ (weight code - 128) · activation code. `lines` are the panel's
    /// codes. `soon`: memory that is read next, and how many products, with this one, are left for it to come.
    #[allow(clippy::too_many_arguments)] // What it reads, and where it writes.
    pub fn product(
        self,
        lines: &[Line],
        scales: &[f32; PANEL],
        acts: &TileRef<'_>,
        rows: usize,
        soon: (&mut Soon<'_>, usize),
        out: &mut [[f32; PANEL]; TILE],
    ) {
        let (inputs, groups) = (lines.len() * LINE, acts::groups(lines.len() * LINE) * TILE);
        assert!(
            (1..=TILE).contains(&rows)
                && acts.codes.len() == inputs * TILE
                && acts.scales.len() == groups
                && acts.starts.len() == groups
        );
        #[cfg(not(target_arch = "x86_64"))]
        let _ = soon;
        match self.0 {
            Isa::Plain => plain::product(lines, scales, acts, rows, out),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the CPU has these features, or there would be no such `Cpu`; the sizes were checked above.
            Isa::Avx2 => unsafe { x86::avx2::product(lines, scales, acts, rows, out) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::AvxVnni => unsafe { x86::avxvnni::product(lines, scales, acts, rows, out) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx512 | Isa::Amx => unsafe {
                x86::avx512::products([lines], std::array::from_ref(scales), acts, rows, soon, [out]);
            },
        }
    }

    /// [`Self::product`] of two panels, `lines` and `scales` of each: where reading takes as long as multiplying, what the
    /// rows have is read once for both.
    pub fn products(
        self,
        lines: [&[Line]; 2],
        scales: &[[f32; PANEL]; 2],
        acts: &TileRef<'_>,
        rows: usize,
        soon: (&mut Soon<'_>, usize),
        out: [&mut [[f32; PANEL]; TILE]; 2],
    ) {
        #[cfg(target_arch = "x86_64")]
        if matches!(self.0, Isa::Avx512 | Isa::Amx) {
            let inputs = lines[0].len() * LINE;
            let groups = acts::groups(inputs) * TILE;
            assert!(
                (1..=TILE).contains(&rows)
                    && lines[1].len() == lines[0].len()
                    && acts.codes.len() == inputs * TILE
                    && acts.scales.len() == groups
                    && acts.starts.len() == groups
            );
            // SAFETY: the CPU has these features, or there would be no such `Cpu`; the sizes were checked above.
            unsafe { x86::avx512::products(lines, scales, acts, rows, soon, out) };
            return;
        }
        let [first, second] = out;
        self.product(lines[0], &scales[0], acts, rows, soon, first);
        self.product(lines[1], &scales[1], acts, rows, (&mut Soon::default(), 0), second);
    }

    /// Multiplies and adds 8-bit integers as fast as the CPU can, from registers. Returns how many operations it did.
    pub fn peak(self, rounds: u64) -> u64 {
        match self.0 {
            Isa::Plain => plain::peak(rounds),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the CPU has these features, or there would be no such `Cpu`.
            Isa::Avx2 => unsafe { x86::peak::avx2(rounds) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::AvxVnni => unsafe { x86::peak::avxvnni(rounds) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx512 => unsafe { x86::peak::avx512(rounds) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Amx => unsafe { x86::amx::peak(rounds) },
        }
    }

    /// Turns a panel's four-bit records into codes.
    pub fn expand(self, records: &[u8], lines: &mut [Line]) {
        match self.0 {
            Isa::Plain => weights::expand(records, lines),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the CPU has these features, or there would be no such `Cpu`.
            Isa::Avx2 | Isa::AvxVnni => unsafe { x86::expand::avx2(records, lines) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx512 | Isa::Amx => unsafe { x86::expand::avx512(records, lines) },
        }
    }

    /// Quantizes row `row` (below [`TILE`]) of a tile.
    pub fn quantize(self, tile: &mut TileMut<'_>, row: usize, values: &[f32]) {
        match self.0 {
            Isa::Plain => tile.quantize(row, values),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the CPU has these features, or there would be no such `Cpu`.
            Isa::Avx2 | Isa::AvxVnni => unsafe { x86::quantize::avx2(tile, row, values) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx512 | Isa::Amx => unsafe { x86::quantize::avx512(tile, row, values) },
        }
    }

    /// [`Self::quantize`] for all rows of a tile at once.
    ///
    /// # Panics
    /// If they are not equally long, or the tile is for others.
    pub fn quantize_tile(self, tile: &mut TileMut<'_>, rows: &[&[f32]; TILE]) {
        let inputs = rows[0].len();
        assert!(rows.iter().all(|row| row.len() == inputs) && tile.codes.len() == inputs * TILE);
        #[cfg(target_arch = "x86_64")]
        if matches!(self.0, Isa::Avx512 | Isa::Amx) {
            // SAFETY: the CPU has these features, or there would be no such `Cpu`; the sizes were checked just now.
            return unsafe { x86::quantize::avx512_tile(tile, rows) };
        }
        rows.iter().enumerate().for_each(|(row, values)| self.quantize(tile, row, values));
    }

    /// Writes a panel's product for some rows, with `bias` for each output and `residual` for each row and output added.
    pub fn settle<'a>(
        self,
        product: &[[f32; PANEL]],
        bias: Option<&[f32; PANEL]>,
        residual: impl Fn(usize) -> Option<&'a [f32; PANEL]>,
        out: impl Fn(usize) -> &'a mut [f32; PANEL],
    ) {
        dispatch!(self, settle(product, bias, residual, out), acts::settle(product, bias, residual, out));
    }

    /// Writes a panel's product for some rows, of which little is read again: past the caches, where the CPU has registers as
    /// long as their lines.
    ///
    /// # Safety
    /// Nobody, this thread neither, reads or writes it before this thread has called [`Self::streamed`].
    pub unsafe fn stream<'a>(self, product: &[[f32; PANEL]], out: impl Fn(usize) -> &'a mut [f32; PANEL]) {
        #[cfg(target_arch = "x86_64")]
        if self.streams() {
            // SAFETY: the CPU has these features; the rest as the caller promises.
            return unsafe { x86::avx512::stream(product, out) };
        }
        self.settle(product, None, |_| None, out);
    }

    /// Ends [`Self::stream`]: what this thread does next is not seen before.
    pub fn streamed(self) {
        #[cfg(target_arch = "x86_64")]
        if self.streams() {
            x86::streamed();
        }
    }

    /// Whether [`Self::stream`] writes past the caches.
    pub fn streams(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return matches!(self.0, Isa::Avx512 | Isa::Amx);
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// Tells `set` the largest number of every row of a panel's product; -∞ if none is a number.
    pub fn tops(self, product: &[[f32; PANEL]], set: impl FnMut(usize, f32)) {
        dispatch!(self, tops(product, set), acts::tops(product, set));
    }

    /// RMS norm (Zhang and Sennrich 2019): out = x / sqrt(mean(x²) + epsilon) · weight.
    pub fn rms_norm(self, x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
        dispatch!(self, rms_norm(x, weight, epsilon, out), acts::rms_norm(x, weight, epsilon, out));
    }

    /// Rotary embedding (Su et al. 2021) in the half-split form: element i turns with element i + dim/2.
    pub fn rotate(self, values: &mut [f32], cos: &[f32], sin: &[f32]) {
        dispatch!(self, rotate(values, cos, sin), math::rotate(values, cos, sin));
    }

    /// Σ exp(value - highest) of values up to `highest`. What is no number counts as nothing.
    pub fn exp_sum(self, values: &[f32], highest: f32) -> f64 {
        dispatch!(self, exp_sum(values, highest), math::exp_sum(values, highest))
    }

    /// [`Stored::round`].
    pub fn round<S: Stored>(self, values: &[f32], out: &mut [S]) -> f32 {
        dispatch!(self, round(values, out), S::round(values, out))
    }

    /// SwiGLU (Shazeer 2020), silu(gate) · up, of a band's products with two panels of gates and two of ups, after their
    /// bias, if they have one: columns of `out` from `first` on, a multiple of [`PANEL`].
    pub fn gate(
        self,
        found: [&[[[f32; PANEL]; BAND]; 2]; 2],
        bias: Option<[&[f32; 2 * PANEL]; 2]>,
        first: usize,
        out: &mut [[f32; GROUP]],
    ) {
        dispatch!(self, gate(found, bias, first, out), acts::gate(found, bias, first, out));
    }

    /// Lets memory that is read soon, or written, come to the nearest cache.
    #[inline]
    pub fn fetch(self, read: Option<&[f32; 2 * PANEL]>, written: Option<&[f32; 2 * PANEL]>) {
        #[cfg(target_arch = "x86_64")]
        if self.is_vector() {
            x86::fetch(read, written);
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (read, written);
    }

    /// Lets the line of memory that has this byte, and that is written soon, come to the nearest cache. Reads nothing.
    #[inline]
    pub fn fetch_written(self, byte: *const u8) {
        #[cfg(target_arch = "x86_64")]
        if self.is_vector() {
            x86::fetch_written(byte);
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = byte;
    }

    /// softmax(q·K / sqrt(head_dim)) · V for any queries of the sequence whose pages `table` lists; those that see about
    /// the same positions are best computed in one call. `out` has `head_dim` numbers of each; `room` as many as
    /// [`room`] says for the last position.
    pub fn attend(
        self,
        head: Head<'_>,
        table: &[u32],
        queries: &[Query<'_>],
        room: &mut [f32],
        out: &mut [&mut [f32]],
    ) {
        macro_rules! together {
            ($function:ident in $module:ident: $($n:literal, $pages:literal, $chunks:literal;)*) => {
                $(if let Some((queries, more)) = queries.split_first_chunk::<$n>()
                    && let Some((out, rest)) = out.split_first_chunk_mut::<$n>()
                {
                    // The last ones let come what is next.
                    let own = if more.is_empty() { head } else { head.before(None) };
                    // SAFETY: the CPU has the features, or there would be no such `Cpu`.
                    unsafe { $module::$function::<$n, $pages, $chunks>(own, table, queries, room, out) };
                    return self.attend(head, table, more, room, rest);
                })*
            };
        }
        #[cfg(target_arch = "x86_64")]
        use x86::{avx2, avx512};
        // As many sums as there are registers for: queries · pages, and queries · chunks.
        match (self.0, head.kept) {
            (Isa::Plain, Kept::Int8) => {
                together!(attend_int8 in plain: 1, 1, 1;);
            }
            (Isa::Plain, Kept::Bf16) => {
                together!(attend_bf16 in plain: 1, 1, 1;);
            }
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx2 | Isa::AvxVnni, Kept::Int8) => {
                together!(attend_int8 in avx2: 3, 1, 1; 2, 1, 1; 1, 1, 2;);
            }
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx2 | Isa::AvxVnni, Kept::Bf16) => {
                together!(attend_bf16 in avx2: 3, 1, 1; 2, 1, 1; 1, 2, 2;);
            }
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512 | Isa::Amx, Kept::Int8) => {
                together!(attend_int8 in avx512: 12, 1, 1; 9, 1, 1; 6, 2, 2; 4, 4, 4; 3, 4, 4; 2, 4, 4; 1, 4, 4;);
            }
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512 | Isa::Amx, Kept::Bf16) => {
                together!(attend_bf16 in avx512: 12, 1, 1; 9, 1, 1; 6, 2, 2; 4, 2, 2; 3, 4, 4; 2, 4, 4; 1, 4, 4;);
            }
        }
    }

    /// u = A·x in 8 bits for some octets of ranks, 1 to [`OCTETS`], and some rows, 1 to [`ROWS`]: for each row and rank
    /// scale of the rank · Σ over groups of scale · Σ (code - 128) · activation code. `out` is by octet, then by row. The
    /// rows have [`Activations::flat`]. `next`: what is read behind these octets, which comes to the nearest cache meanwhile.
    pub fn ranks_down(self, octets: &[Octet<'_>], rows: &[Lane<'_>], next: &[u8], out: &mut ranks::Downs) {
        let lines = octets.first().map_or(0, |octet| octet.lines.len());
        let groups = acts::groups(lines * ranks::INPUTS) * TILE;
        assert!(
            (1..=OCTETS).contains(&octets.len())
                && octets.iter().all(|octet| octet.lines.len() == lines)
                && (1..=ROWS).contains(&rows.len())
                && rows.iter().all(|row| row.lane < TILE
                    && row.acts.flat.len() == groups * GROUP
                    && row.acts.scales.len() == groups
                    && row.acts.starts.len() == groups)
        );
        match self.0 {
            Isa::Plain => ranks::down(octets, rows, out),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the CPU has these features, or there would be no such `Cpu`; the sizes were checked above.
            Isa::Avx2 => unsafe { x86::ranks::avx2::down(octets, rows, out) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::AvxVnni => unsafe { x86::ranks::avxvnni::down(octets, rows, out) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx512 | Isa::Amx => unsafe { x86::ranks::avx512::down(octets, rows, next, out) },
        }
    }

    /// y += scale · Σ over adapters of B·u in 8 bits, for one or two of a layer's panels that `slots` have, and whose
    /// `products` with a band these are.
    ///
    /// # Safety
    /// The memory of the slots' B is still there, and has these panels; a row of a slot has as many quads as a panel of all
    /// its adapters has lines, and a slot is usual only if every adapter of it is.
    pub unsafe fn ranks_up(
        self,
        ups: &Ups<'_>,
        slots: &[Slot],
        panels: Range<usize>,
        products: &mut [Product],
    ) {
        assert!((1..=2).contains(&panels.len()) && panels.len() <= products.len());
        match self.0 {
            // SAFETY: as the caller promises.
            Isa::Plain => unsafe { ranks::up(ups, slots, panels, products) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the CPU has these features, or there would be no such `Cpu`; as the caller promises.
            Isa::Avx2 => unsafe { x86::ranks::avx2::up(ups, slots, panels, products) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::AvxVnni => unsafe { x86::ranks::avxvnni::up(ups, slots, panels, products) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx512 | Isa::Amx => unsafe { x86::ranks::avx512::up(ups, slots, panels, products) },
        }
    }

    /// Rounds pieces of a row's u, weighed with their gates, to 8 bits with one scale; behind each come zeros up to a whole
    /// quad. Returns the scale, and -128 · Σ of the codes.
    pub fn ranks_round(
        self,
        u: &[f32],
        pieces: &[Piece],
        gates: &[f32],
        codes: &mut [[i8; LINE]],
    ) -> (f32, i32) {
        match self.0 {
            Isa::Plain => ranks::round(u, pieces, gates, codes),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the CPU has these features, or there would be no such `Cpu`.
            Isa::Avx2 => unsafe { x86::ranks::avx2::round(u, pieces, gates, codes) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::AvxVnni => unsafe { x86::ranks::avxvnni::round(u, pieces, gates, codes) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx512 | Isa::Amx => unsafe { x86::ranks::avx512::round(u, pieces, gates, codes) },
        }
    }

    /// out = A·x for 1 to 4 rows and [`RANKS`] ranks from `first` on; `a` is `[inputs][ranks]`.
    pub fn lora_down<E: Element, const R: usize>(
        self,
        a: &[E],
        ranks: usize,
        first: usize,
        x: [&[f32]; R],
    ) -> [[f32; RANKS]; R] {
        match self.0 {
            Isa::Plain => lora::down(a, ranks, first, x),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the CPU has these features, or there would be no such `Cpu`.
            Isa::Avx2 | Isa::AvxVnni => unsafe { x86::avx2::lora_down(a, ranks, first, x) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the CPU has these features, or there would be no such `Cpu`.
            Isa::Avx512 | Isa::Amx => unsafe { x86::avx512::lora_down(a, ranks, first, x) },
        }
    }

    /// y += B·u over the columns of `y`, which are the outputs from `first` on; `b` is `[ranks][outputs]`.
    pub fn lora_up<E: Element>(self, b: &[E], outputs: usize, first: usize, u: &[f32], y: &mut [f32]) {
        dispatch!(self, lora_up(b, outputs, first, u, y), lora::up(b, outputs, first, u, y));
    }
}
