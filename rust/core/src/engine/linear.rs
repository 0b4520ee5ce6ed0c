//! Rows and a weight matrix in, their product out: the one matrix kernel, and the linear layer on top of it.
//!
//! Weights are packed once, at load, into panels of the register tile's width; the rows are read where they lie.

use super::simd::{Isa, Kernel, mul_add};
use super::tensor::{Rows, RowsMut};

/// A `[k, n]` right-hand side cut into panels of consecutive columns, each stored row after row.
#[derive(Debug, Clone, Default)]
pub struct Packed {
    k: usize,
    n: usize,
    panels: Vec<f32>,
}

impl Packed {
    /// Packs the transpose of `[n, k]` rows: a weight in torch's `[out, in]` layout, or keys.
    pub fn transposed(isa: Isa, rows: Rows<'_>) -> Self {
        let mut packed = Packed::default();
        packed.pack_transposed(isa, rows);
        packed
    }

    /// As [`Packed::transposed`], into the same memory.
    pub fn pack_transposed(&mut self, isa: Isa, rows: Rows<'_>) {
        let width = self.reshape(isa, rows.columns(), rows.len());
        let (k, n) = (self.k, self.n);
        for first in (0..n).step_by(width) {
            let panel = &mut self.panels[first * k..][..k * width];
            for j in 0..width.min(n - first) {
                for (group, &v) in panel.chunks_exact_mut(width).zip(rows.row(first + j)) {
                    group[j] = v;
                }
            }
        }
    }

    /// Packs `[k, n]` rows as they are (values), into the same memory.
    pub fn pack(&mut self, isa: Isa, rows: Rows<'_>) {
        let width = self.reshape(isa, rows.len(), rows.columns());
        let (k, n) = (self.k, self.n);
        for first in (0..n).step_by(width) {
            let columns = width.min(n - first);
            let panel = &mut self.panels[first * k..][..k * width];
            for (i, group) in panel.chunks_exact_mut(width).enumerate() {
                group[..columns].copy_from_slice(&rows.row(i)[first..][..columns]);
            }
        }
    }

    /// Sets the shape and returns the panel width; the columns past `n` are zero.
    fn reshape(&mut self, isa: Isa, k: usize, n: usize) -> usize {
        let width = isa.panel();
        (self.k, self.n) = (k, n);
        self.panels.clear();
        self.panels.resize(k * n.div_ceil(width) * width, 0.0);
        width
    }
}

/// What a product does with what is already in its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// Overwrites it.
    Store,
    /// Adds to it.
    Add,
}

/// `out (+)= rows @ packed (+ bias)`.
pub fn product(
    isa: Isa,
    rows: Rows<'_>,
    by: &Packed,
    bias: &[f32],
    out: RowsMut<'_>,
    write: Write,
) {
    debug_assert_eq!(rows.columns(), by.k);
    debug_assert_eq!(out.columns(), by.n);
    debug_assert_eq!(out.len(), rows.len());
    debug_assert!(bias.is_empty() || bias.len() == by.n);
    isa.run(Product {
        rows,
        by,
        bias,
        out,
        write,
    });
}

struct Product<'a> {
    rows: Rows<'a>,
    by: &'a Packed,
    bias: &'a [f32],
    out: RowsMut<'a>,
    write: Write,
}

impl Kernel for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const MR: usize, const NR: usize, const FMA: bool>(mut self) {
        let (m, k, n) = (self.rows.len(), self.by.k, self.by.n);
        let mut sums = [[0.0f32; NR]; MR];
        for first in (0..n).step_by(NR) {
            let panel = &self.by.panels[first * k..][..k * NR];
            let columns = NR.min(n - first);
            let mut start = [0.0f32; NR];
            if let Some(bias) = self.bias.get(first..first + columns) {
                start[..columns].copy_from_slice(bias);
            }
            for top in (0..m).step_by(MR) {
                // Rows past the last repeat it; their results are dropped.
                let rows: [&[f32]; MR] =
                    std::array::from_fn(|i| &self.rows.row((top + i).min(m - 1))[..k]);
                tile::<MR, NR, FMA>(&rows, panel, &start, &mut sums);
                for (i, sums) in sums.iter().enumerate().take(m - top) {
                    let out = &mut self.out.row(top + i)[first..][..columns];
                    match self.write {
                        Write::Store => out.copy_from_slice(&sums[..columns]),
                        Write::Add => out.iter_mut().zip(sums).for_each(|(o, &s)| *o += s),
                    }
                }
            }
        }
    }
}

/// One register tile: `start` plus `MR` rows by one panel, into `out`.
///
/// Every index but `kk` is a constant once unrolled. Only so do the sums stay in vector registers; iterators in the
/// loop, or a use of `sums` at a computed index after it, make this 3 to 25 times slower.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
fn tile<const MR: usize, const NR: usize, const FMA: bool>(
    rows: &[&[f32]; MR],
    panel: &[f32],
    start: &[f32; NR],
    out: &mut [[f32; NR]; MR],
) {
    let mut sums = [*start; MR];
    for kk in 0..rows[0].len() {
        let Some(weights) = panel[kk * NR..].first_chunk::<NR>() else {
            break;
        };
        for i in 0..MR {
            let x = rows[i][kk];
            for j in 0..NR {
                sums[i][j] = mul_add::<FMA>(x, weights[j], sums[i][j]);
            }
        }
    }
    *out = sums;
}

/// `y = x W' + b`, as `torch.nn.Linear`.
#[derive(Debug, Clone)]
pub struct Linear {
    isa: Isa,
    weight: Packed,
    bias: Vec<f32>,
}

impl Linear {
    /// From a weight in torch's `[out, in]` layout and a bias `[out]`.
    pub fn new(isa: Isa, weight: &[f32], inputs: usize, bias: Vec<f32>) -> Self {
        Linear {
            isa,
            weight: Packed::transposed(isa, Rows::new(weight, inputs)),
            bias,
        }
    }

    /// Length of a row that it is applied to.
    pub fn inputs(&self) -> usize {
        self.weight.k
    }

    /// Length of a result row.
    pub fn outputs(&self) -> usize {
        self.weight.n
    }

    /// Applies the layer to each row.
    pub fn apply(&self, x: Rows<'_>, out: RowsMut<'_>, write: Write) {
        product(self.isa, x, &self.weight, &self.bias, out, write);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_agree_with_plain_loops_at_every_shape_and_instruction_set() {
        let value = |i: usize| ((i * 7919) % 31) as f32 / 16.0 - 0.9;
        for isa in Isa::available() {
            for (m, k, n) in [
                (1, 1, 1),
                (1, 5, 33),
                (7, 16, 8),
                (12, 3, 32),
                (13, 40, 31),
                (25, 128, 65),
                (13, 64, 1),
                (1, 303, 1),
                (25, 128, 48),
            ] {
                let x: Vec<f32> = (0..m * k).map(value).collect();
                let w: Vec<f32> = (0..n * k).map(|i| value(i + 5)).collect();
                let bias: Vec<f32> = (0..n).map(|i| value(i + 11)).collect();
                let linear = Linear::new(isa, &w, k, bias.clone());
                let mut out = vec![0.5f32; m * n];
                linear.apply(Rows::new(&x, k), RowsMut::new(&mut out, n), Write::Add);
                // The same product from rows that need no transposing.
                let wt: Vec<f32> = (0..k * n).map(|i| w[(i % n) * k + i / n]).collect();
                let mut packed = Packed::default();
                packed.pack(isa, Rows::new(&wt, n));
                let mut plain = vec![f32::NAN; m * n];
                product(
                    isa,
                    Rows::new(&x, k),
                    &packed,
                    &[],
                    RowsMut::new(&mut plain, n),
                    Write::Store,
                );
                for i in 0..m {
                    for j in 0..n {
                        let truth: f32 = (0..k).map(|c| x[i * k + c] * w[j * k + c]).sum();
                        let close = |a: f32, b: f32| (a - b).abs() < 2e-5 * (1.0 + b.abs());
                        assert!(close(plain[i * n + j], truth), "{isa:?} {m}x{k}x{n}");
                        assert!(
                            close(out[i * n + j], truth + bias[j] + 0.5),
                            "{isa:?} {m}x{k}x{n}"
                        );
                    }
                }
            }
        }
    }
}
