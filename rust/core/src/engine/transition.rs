//! Actions and states in, action latents and predicted displacements out. Mirrors `model/transition.py`.

use super::encoder::{Scratch, Trunk};
use super::linear::{Linear, Write};
use super::norm::gelu;
use super::simd::Isa;
use super::tensor::{Rows, RowsMut};

/// h(a): two layers with a GELU between.
#[derive(Debug, Clone)]
pub struct ActionEncoder {
    /// What the kernels are compiled for.
    pub isa: Isa,
    /// Length of an action vector.
    pub inputs: usize,
    /// Action to hidden.
    pub up: Linear,
    /// Hidden to latent.
    pub down: Linear,
}

impl ActionEncoder {
    /// Encodes actions `[n, A]` into the rows `out` `[n, D]`.
    pub fn encode(&self, actions: &[f32], out: &mut [f32]) {
        let hidden = self.up.outputs();
        let mut h = vec![0.0f32; actions.len() / self.inputs * hidden];
        self.up.apply(
            Rows::new(actions, self.inputs),
            RowsMut::new(&mut h, hidden),
            Write::Store,
        );
        gelu(self.isa, &mut h);
        let out = RowsMut::new(out, self.down.outputs());
        self.down.apply(Rows::new(&h, hidden), out, Write::Store);
    }
}

/// g(f(s), h(a)): two tokens, state and action, through looped blocks; the state's token becomes the displacement.
#[derive(Debug, Clone)]
pub struct Predictor {
    /// Length of a latent.
    pub dim: usize,
    /// `[2, dim]`, added to the state and the action.
    pub kind: Vec<f32>,
    /// The blocks, and the norm after them.
    pub trunk: Trunk,
    /// State token to displacement.
    pub out: Linear,
}

impl Predictor {
    /// Predicts one displacement per row of `states` and `actions` (each `[n, D]`).
    pub fn predict(&self, states: &[f32], actions: &[f32], out: &mut [f32], scratch: &mut Scratch) {
        let dim = self.dim;
        let lengths = vec![2; states.len() / dim];
        let (state_kind, action_kind) = self.kind.split_at(dim);
        let fill = |x: &mut [f32]| {
            let sides = states.chunks_exact(dim).zip(actions.chunks_exact(dim));
            for (pair, (state, action)) in x.chunks_exact_mut(2 * dim).zip(sides) {
                let sources = state
                    .iter()
                    .zip(state_kind)
                    .chain(action.iter().zip(action_kind));
                for (v, (z, k)) in pair.iter_mut().zip(sources) {
                    *v = z + k;
                }
            }
        };
        let rows = self.trunk.run(dim, &lengths, fill, scratch);
        // A pair is one row of two tokens; the first is the state's.
        let states = Rows::new(rows, 2 * dim).columns_at(0, dim);
        self.out.apply(states, RowsMut::new(out, dim), Write::Store);
    }
}
