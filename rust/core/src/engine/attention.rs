//! Queries, keys and values of one unit in, each token's attended values out.

use super::linear::{Packed, Write, product};
use super::simd::{Isa, Kernel, dot, exp_nonpositive, max, mul_add, sum};
use super::tensor::{Rows, RowsMut};

/// Units up to this length take plain loops: packing keys and values costs more than it saves.
const SHORT: usize = 4;

/// Memory that one thread reuses from unit to unit.
#[derive(Debug, Default)]
pub struct Scratch {
    keys: Packed,
    values: Packed,
    scores: Vec<f32>,
}

/// Multi-head self-attention of one unit: softmax(q k' / sqrt(d)) v per head, every token seeing every token.
///
/// `qkv` are rows of `3 D`, ordered q, k, v; `out` are rows of `D`, which are overwritten.
pub fn attend(isa: Isa, heads: usize, qkv: Rows<'_>, out: &mut [f32], scratch: &mut Scratch) {
    let n = qkv.len();
    let dim = qkv.columns() / 3;
    let head = dim / heads;
    let scale = 1.0 / (head as f32).sqrt();
    scratch.scores.clear();
    scratch.scores.resize(n * n, 0.0);
    for first in (0..dim).step_by(head) {
        let q = qkv.columns_at(first, head);
        let k = qkv.columns_at(dim + first, head);
        let v = qkv.columns_at(2 * dim + first, head);
        let scores = &mut scratch.scores[..];
        let out = RowsMut::new(out, dim).columns_at(first, head);
        if n <= SHORT {
            isa.run(Short {
                q,
                k,
                v,
                scale,
                scores,
                out,
            });
            continue;
        }
        scratch.keys.pack_transposed(isa, k);
        scratch.values.pack(isa, v);
        product(
            isa,
            q,
            &scratch.keys,
            &[],
            RowsMut::new(scores, n),
            Write::Store,
        );
        isa.run(Softmax { scores, n, scale });
        product(
            isa,
            Rows::new(scores, n),
            &scratch.values,
            &[],
            out,
            Write::Store,
        );
    }
}

/// Scaled softmax of each row of `n`, in place.
struct Softmax<'a> {
    scores: &'a mut [f32],
    n: usize,
    scale: f32,
}

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const MR: usize, const NR: usize, const FMA: bool>(self) {
        for row in self.scores.chunks_exact_mut(self.n) {
            softmax::<FMA>(row, self.scale);
        }
    }
}

#[inline(always)]
fn softmax<const FMA: bool>(row: &mut [f32], scale: f32) {
    let top = max(row);
    for v in row.iter_mut() {
        *v = exp_nonpositive::<FMA>((*v - top) * scale);
    }
    let share = 1.0 / sum(row, |v| v);
    for v in row.iter_mut() {
        *v *= share;
    }
}

/// One head of a short unit.
struct Short<'a> {
    q: Rows<'a>,
    k: Rows<'a>,
    v: Rows<'a>,
    scale: f32,
    scores: &'a mut [f32],
    out: RowsMut<'a>,
}

impl Kernel for Short<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const MR: usize, const NR: usize, const FMA: bool>(mut self) {
        let n = self.q.len();
        for (i, row) in self.scores.chunks_exact_mut(n).enumerate() {
            for (j, score) in row.iter_mut().enumerate() {
                *score = dot::<FMA>(self.q.row(i), self.k.row(j));
            }
            softmax::<FMA>(row, self.scale);
            let out = self.out.row(i);
            out.fill(0.0);
            for (j, &share) in row.iter().enumerate() {
                for (o, &v) in out.iter_mut().zip(self.v.row(j)) {
                    *o = mul_add::<FMA>(share, v, *o);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attention_agrees_with_plain_loops_at_short_and_long_lengths() {
        let value = |i: usize| ((i * 7919) % 211) as f32 / 40.0 - 2.6;
        let mut scratch = Scratch::default();
        for isa in Isa::available() {
            for (n, dim, heads) in [
                (1, 8, 2),
                (2, 128, 4),
                (5, 12, 3),
                (17, 64, 1),
                (67, 128, 4),
            ] {
                let qkv: Vec<f32> = (0..n * 3 * dim).map(value).collect();
                let mut out = vec![f32::NAN; n * dim];
                attend(isa, heads, Rows::new(&qkv, 3 * dim), &mut out, &mut scratch);
                let head = dim / heads;
                let at = |t: usize, c: usize| f64::from(qkv[t * 3 * dim + c]);
                for h in 0..heads {
                    for i in 0..n {
                        let weight: Vec<f64> = (0..n)
                            .map(|j| {
                                (0..head)
                                    .map(|c| at(i, h * head + c) * at(j, dim + h * head + c))
                                    .sum::<f64>()
                                    / (head as f64).sqrt()
                            })
                            .map(f64::exp)
                            .collect();
                        let total: f64 = weight.iter().sum();
                        for c in 0..head {
                            let truth: f64 = (0..n)
                                .map(|j| weight[j] / total * at(j, 2 * dim + h * head + c))
                                .sum();
                            let got = f64::from(out[i * dim + h * head + c]);
                            assert!((got - truth).abs() < 1e-4, "{isa:?} n {n}: {got} {truth}");
                        }
                    }
                }
            }
        }
    }
}
