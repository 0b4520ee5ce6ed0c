//! States, actions and residuals in; predicted displacements and doubts out. Mirrors `model/transition.py`.

use super::linear::{Linear, Write};
use super::norm::gelu;
use super::simd::Isa;
use super::tensor::{Rows, RowsMut};

/// Three layers with GELUs between.
#[derive(Debug, Clone)]
pub struct Perceptron {
    /// What the kernels are compiled for.
    pub isa: Isa,
    /// Input to hidden.
    pub up: Linear,
    /// Hidden to hidden.
    pub middle: Linear,
    /// Hidden to output.
    pub out: Linear,
}

impl Perceptron {
    /// Applies it to the rows `input`.
    fn apply(&self, input: &[f32], out: &mut [f32]) {
        let (width, hidden) = (self.up.inputs(), self.up.outputs());
        let mut h = vec![0.0f32; input.len() / width * hidden];
        let mut deeper = vec![0.0f32; h.len()];
        self.up.apply(
            Rows::new(input, width),
            RowsMut::new(&mut h, hidden),
            Write::Store,
        );
        gelu(self.isa, &mut h);
        self.middle.apply(
            Rows::new(&h, hidden),
            RowsMut::new(&mut deeper, hidden),
            Write::Store,
        );
        gelu(self.isa, &mut deeper);
        let out = RowsMut::new(out, self.out.outputs());
        self.out
            .apply(Rows::new(&deeper, hidden), out, Write::Store);
    }
}

/// Some edits, row by row.
#[derive(Debug, Clone, Copy)]
pub struct Edits<'a> {
    /// f(s) `[n, W]` of the states before.
    pub f: &'a [f32],
    /// f(s') `[n, W]` of the states after.
    pub f_after: &'a [f32],
    /// d - d_hat `[n, K]`.
    pub residuals: &'a [f32],
    /// `[n, A]`.
    pub actions: &'a [f32],
}

/// What predictor and critic read, and the two.
#[derive(Debug, Clone)]
pub struct Transition {
    /// Makes x(s) of f(s).
    pub state: Linear,
    /// g: `[x(s), r(s, a), a]` to the displacement, where r is what was read of s where the edit happens.
    pub predictor: Perceptron,
    /// `[x(s), x(s') - x(s), d - d_hat, a]` to how much the residual looks like that of a spoilt edit.
    pub critic: Perceptron,
}

impl Transition {
    /// Predicts one displacement `[n, K]` per row of `f` `[n, W]`, of `read` `[n, R]` and of `actions` `[n, A]`.
    pub fn predict(&self, f: &[f32], read: &[f32], actions: &[f32], out: &mut [f32]) {
        let (dim, width) = (self.state.outputs(), self.predictor.up.inputs());
        let n = f.len() / self.state.inputs();
        let mut input = vec![0.0f32; n * width];
        self.write_state(f, &mut input, width, 0);
        let reading = read.len() / n.max(1);
        let told = read
            .chunks_exact(reading)
            .zip(actions.chunks_exact(width - dim - reading));
        for (row, (read, action)) in input.chunks_exact_mut(width).zip(told) {
            row[dim..dim + reading].copy_from_slice(read);
            row[dim + reading..].copy_from_slice(action);
        }
        self.predictor.apply(&input, out);
    }

    /// Writes one value per edit to `out` `[n]`.
    pub fn doubt(&self, edits: Edits<'_>, out: &mut [f32]) {
        let (dim, width) = (self.state.outputs(), self.critic.up.inputs());
        let latent = self.predictor.out.outputs();
        let mut input = vec![0.0f32; out.len() * width];
        self.write_state(edits.f, &mut input, width, 0);
        self.write_state(edits.f_after, &mut input, width, dim);
        let others = edits
            .residuals
            .chunks_exact(latent)
            .zip(edits.actions.chunks_exact(width - 2 * dim - latent));
        for (row, (residual, action)) in input.chunks_exact_mut(width).zip(others) {
            let (x, rest) = row.split_at_mut(dim);
            let (change, rest) = rest.split_at_mut(dim);
            change.iter_mut().zip(&*x).for_each(|(c, x)| *c -= x);
            rest[..latent].copy_from_slice(residual);
            rest[latent..].copy_from_slice(action);
        }
        self.critic.apply(&input, out);
    }

    /// Writes x of each row of `f` into the rows of `input`, from column `first` on.
    fn write_state(&self, f: &[f32], input: &mut [f32], width: usize, first: usize) {
        let x = RowsMut::new(input, width).columns_at(first, self.state.outputs());
        let f = Rows::new(f, self.state.inputs());
        self.state.apply(f, x, Write::Store);
    }
}
