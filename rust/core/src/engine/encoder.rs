//! Token ids of many units in, one row f(s) per unit out.
//!
//! Units of a chunk lie one after the other without padding: a layer is one product over all their tokens, and only
//! attention looks at where a unit begins and ends. Mirrors `model/encoder.py`.

use std::ops::Range;

use super::attention::{self, attend};
use super::linear::{Linear, Write};
use super::norm::{LayerNorm, gelu};
use super::simd::Isa;
use super::tensor::{Rows, RowsMut};
use crate::place::RANGES;

/// Memory that one thread reuses from chunk to chunk.
#[derive(Debug, Default)]
pub struct Scratch {
    x: Vec<f32>,
    normalised: Vec<f32>,
    wide: Vec<f32>,
    attention: attention::Scratch,
}

/// `n` values to be overwritten.
fn space(buffer: &mut Vec<f32>, n: usize) -> &mut [f32] {
    if buffer.len() < n {
        buffer.resize(n, 0.0);
    }
    &mut buffer[..n]
}

/// One pre-norm transformer block: `x += attn(ln1(x)); x += mlp(ln2(x))`.
#[derive(Debug, Clone)]
pub struct Block {
    /// What the kernels are compiled for.
    pub isa: Isa,
    /// Attention heads; they divide the row length.
    pub heads: usize,
    /// Before attention.
    pub ln1: LayerNorm,
    /// Rows to queries, keys and values.
    pub qkv: Linear,
    /// Attended values to rows.
    pub out: Linear,
    /// Before the perceptron.
    pub ln2: LayerNorm,
    /// Rows to the hidden layer.
    pub up: Linear,
    /// The hidden layer to rows.
    pub down: Linear,
}

impl Block {
    /// Applies the block in place to the rows `x`, which are units of the given lengths one after the other.
    fn apply(&self, x: &mut [f32], lengths: &[usize], scratch: &mut Scratch) {
        let dim = self.out.outputs();
        let tokens = x.len() / dim;
        let Scratch {
            normalised,
            wide,
            attention,
            ..
        } = scratch;
        let normalised = space(normalised, x.len());

        self.ln1.apply(x, normalised);
        let qkv = space(wide, tokens * 3 * dim);
        self.qkv.apply(
            Rows::new(normalised, dim),
            RowsMut::new(qkv, 3 * dim),
            Write::Store,
        );
        let qkv = Rows::new(qkv, 3 * dim);
        let mut first = 0;
        for &n in lengths {
            let attended = &mut normalised[first * dim..][..n * dim];
            attend(
                self.isa,
                self.heads,
                qkv.rows_at(first, n),
                attended,
                attention,
            );
            first += n;
        }
        self.out
            .apply(Rows::new(normalised, dim), RowsMut::new(x, dim), Write::Add);

        self.ln2.apply(x, normalised);
        let hidden = space(wide, tokens * self.up.outputs());
        self.up.apply(
            Rows::new(normalised, dim),
            RowsMut::new(hidden, self.up.outputs()),
            Write::Store,
        );
        gelu(self.isa, hidden);
        self.down.apply(
            Rows::new(hidden, self.up.outputs()),
            RowsMut::new(x, dim),
            Write::Add,
        );
    }
}

/// Blocks looped in sequence, then the final norm.
#[derive(Debug, Clone)]
pub struct Trunk {
    /// Applied in order, each `loops` times.
    pub blocks: Vec<Block>,
    /// How often each block is applied.
    pub loops: usize,
    /// After the last block.
    pub norm: LayerNorm,
}

impl Trunk {
    /// Runs the trunk over the rows that `fill` writes, `dim` values each; returns the normalised rows.
    pub fn run<'s>(
        &self,
        dim: usize,
        lengths: &[usize],
        fill: impl FnOnce(&mut [f32]),
        scratch: &'s mut Scratch,
    ) -> &'s [f32] {
        let values = lengths.iter().sum::<usize>() * dim;
        // The rows leave the scratch while blocks use the rest of it.
        let mut x = std::mem::take(&mut scratch.x);
        fill(space(&mut x, values));
        for block in &self.blocks {
            for _ in 0..self.loops {
                block.apply(&mut x[..values], lengths, scratch);
            }
        }
        let out = space(&mut scratch.normalised, values);
        self.norm.apply(&x[..values], out);
        scratch.x = x;
        &scratch.normalised[..values]
    }
}

/// f: embeddings, one shared block looped, norm; the means over tokens of what goes in and of what comes out.
#[derive(Debug, Clone)]
pub struct Encoder {
    /// Length of a token's row; f(s) is twice as long.
    pub dim: usize,
    /// `[vocab, dim]`.
    pub embedding: Vec<f32>,
    /// `[window, dim]`.
    pub position: Vec<f32>,
    /// The block, and the norm after it.
    pub trunk: Trunk,
}

/// Where one edit reads its unit.
pub type Ranges = [Range<usize>; RANGES];

/// One unit, and where edits of it read it.
#[derive(Debug, Clone)]
pub struct Asked<'a> {
    /// Token ids.
    pub unit: &'a [u16],
    /// One entry per edit.
    pub edits: &'a [Ranges],
}

impl Encoder {
    /// Encodes a chunk of units into the rows `out`; ids, lengths and ranges were checked by the caller.
    ///
    /// `at` gets one row per range of every edit, unit after unit: the means over its tokens of their embeddings, and
    /// of what comes out of the loops. Of an empty range these are 0.
    pub fn encode(
        &self,
        asked: &[Asked<'_>],
        out: &mut [f32],
        at: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let dim = self.dim;
        let units: Vec<&[u16]> = asked.iter().map(|a| a.unit).collect();
        let lengths: Vec<usize> = units.iter().map(|u| u.len()).collect();
        let fill = |x: &mut [f32]| {
            let positioned = units
                .iter()
                .flat_map(|u| u.iter().zip(self.position.chunks_exact(dim)));
            for (row, (&token, position)) in x.chunks_exact_mut(dim).zip(positioned) {
                let embedding = &self.embedding[usize::from(token) * dim..][..dim];
                for ((v, e), p) in row.iter_mut().zip(embedding).zip(position) {
                    *v = e + p;
                }
            }
            means(x, &lengths, out.chunks_exact_mut(dim).step_by(2));
        };
        let rows = self.trunk.run(dim, &lengths, fill, scratch);
        means(rows, &lengths, out.chunks_exact_mut(dim).skip(1).step_by(2));
        let (mut first, mut read) = (0, at.chunks_exact_mut(2 * dim));
        for a in asked {
            for range in a.edits.iter().flatten() {
                let Some(row) = read.next() else { return };
                let (what, meant) = row.split_at_mut(dim);
                let of = |token: &u16| &self.embedding[usize::from(*token) * dim..][..dim];
                mean(a.unit[range.clone()].iter().map(of), what);
                let inside = &rows[(first + range.start) * dim..(first + range.end) * dim];
                mean(inside.chunks_exact(dim), meant);
            }
            first += a.unit.len();
        }
    }
}

/// Writes the mean of each unit's rows; `rows` are units of the given lengths one after the other.
fn means<'o>(rows: &[f32], lengths: &[usize], out: impl Iterator<Item = &'o mut [f32]>) {
    let mut first = 0;
    for (out, &n) in out.zip(lengths) {
        let dim = out.len();
        mean(rows[first * dim..][..n * dim].chunks_exact(dim), out);
        first += n;
    }
}

/// Writes the mean of the rows, 0 if there are none.
fn mean<'r>(rows: impl ExactSizeIterator<Item = &'r [f32]>, out: &mut [f32]) {
    let n = rows.len().max(1) as f32;
    out.fill(0.0);
    for row in rows {
        out.iter_mut().zip(row).for_each(|(m, v)| *m += v);
    }
    out.iter_mut().for_each(|m| *m /= n);
}
