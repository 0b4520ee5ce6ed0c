//! Model file in, encoders and predictor out.
//!
//! One engine serves many threads. Threads share out units; no product is split, so results do not depend on how
//! many there are, nor on which other units a unit is encoded with.

mod attention;
mod encoder;
mod format;
mod linear;
mod norm;
mod simd;
mod tensor;
mod transition;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::batch::on_threads;
use crate::error::{Error, Result};
use crate::vocab::PAD;
use encoder::{Block, Encoder, Scratch, Trunk};
use format::ModelFile;
use linear::Linear;
use norm::LayerNorm;
use transition::{ActionEncoder, Predictor};

pub use format::{Config, FORMAT};
pub use simd::Isa;

/// Tokens of one chunk of work, more or less: its activations and the weights stay in a core's second-level cache.
const CHUNK_TOKENS: usize = 192;

/// More threads than this are refused: a typing error, not a machine.
const MAX_THREADS: usize = 1024;

/// A loaded model.
#[derive(Debug, Clone)]
pub struct Engine {
    /// Shape of the networks.
    pub config: Config,
    /// All of the file's metadata.
    pub metadata: BTreeMap<String, String>,
    target: Encoder,
    online: Encoder,
    action: ActionEncoder,
    predictor: Predictor,
}

impl Engine {
    /// Loads a "codewm.model/1" file that was made with the given tokeniser.
    pub fn from_bytes(bytes: &[u8], tokenizer_id: &str) -> Result<Self> {
        Self::from_bytes_for(Isa::detect(), bytes, tokenizer_id)
    }

    /// As [`Engine::from_bytes`], computing with a given instruction set.
    pub fn from_bytes_for(isa: Isa, bytes: &[u8], tokenizer_id: &str) -> Result<Self> {
        let file = ModelFile::open(bytes, tokenizer_id)?;
        let config = file.config.clone();
        let mut load = Loader {
            isa,
            file,
            config: config.clone(),
        };
        let target = load.encoder("target", config.target_loops, true)?;
        let online = load.encoder("online", config.online_loops, false)?;
        let (inputs, dim) = (config.action_dim, config.dim);
        let action = ActionEncoder {
            isa,
            inputs,
            up: load.linear("action.up", inputs, dim)?,
            down: load.linear("action.down", dim, dim)?,
        };
        let blocks = (0..config.predictor_blocks)
            .map(|i| load.block(&format!("predictor.blocks.{i}")))
            .collect::<Result<_>>()?;
        let predictor = Predictor {
            dim,
            kind: load.file.plain("predictor.type", &[2, dim])?,
            trunk: Trunk {
                blocks,
                loops: config.predictor_loops,
                norm: load.norm("predictor.norm")?,
            },
            out: load.linear("predictor.out", dim, dim)?,
        };
        let metadata = load.file.finish()?;
        Ok(Engine {
            config,
            metadata,
            target,
            online,
            action,
            predictor,
        })
    }

    /// t(s), whitened: one row of `dim` values per unit. `threads` 0 is one per core.
    pub fn encode_target(&self, units: &[&[u16]], threads: usize) -> Result<Vec<f32>> {
        self.encode(&self.target, units, threads)
    }

    /// f(s): one row of `dim` values per unit. `threads` 0 is one per core.
    pub fn encode_online(&self, units: &[&[u16]], threads: usize) -> Result<Vec<f32>> {
        self.encode(&self.online, units, threads)
    }

    /// h(a): one row of `dim` values per row of `action_dim` values.
    pub fn encode_action(&self, actions: &[f32]) -> Result<Vec<f32>> {
        check_rows("actions", actions, self.config.action_dim)?;
        let mut out = vec![0.0; actions.len() / self.config.action_dim * self.config.dim];
        self.action.encode(actions, &mut out);
        check_result(out, self.config.dim)
    }

    /// g(f(s), h(a)): the predicted displacement, one row of `dim` values per state and action latent.
    pub fn predict(&self, states: &[f32], actions: &[f32]) -> Result<Vec<f32>> {
        let dim = self.config.dim;
        check_rows("states", states, dim)?;
        check_rows("action latents", actions, dim)?;
        if states.len() != actions.len() {
            let (n, m) = (states.len() / dim, actions.len() / dim);
            return Err(Error::InvalidInput(format!(
                "{n} states for {m} action latents"
            )));
        }
        let mut out = vec![0.0; states.len()];
        let chunk = CHUNK_TOKENS / 2 * dim;
        out.par_chunks_mut(chunk)
            .zip(states.par_chunks(chunk).zip(actions.par_chunks(chunk)))
            .for_each_init(Scratch::default, |scratch, (out, (states, actions))| {
                self.predictor.predict(states, actions, out, scratch);
            });
        check_result(out, dim)
    }

    fn encode(&self, encoder: &Encoder, units: &[&[u16]], threads: usize) -> Result<Vec<f32>> {
        let dim = self.config.dim;
        self.check_units(units)?;
        if threads > MAX_THREADS {
            let message = format!("{threads} threads, expected at most {MAX_THREADS}");
            return Err(Error::InvalidInput(message));
        }
        let mut out = vec![0.0; units.len() * dim];
        let mut work = Vec::new();
        let (mut rest, mut rows) = (units, &mut out[..]);
        while !rest.is_empty() {
            let (chunk, later) = rest.split_at(chunk_len(rest));
            let (chunk_rows, later_rows) = rows.split_at_mut(chunk.len() * dim);
            work.push((chunk, chunk_rows));
            (rest, rows) = (later, later_rows);
        }
        if threads == 1 || work.len() < 2 {
            let mut scratch = Scratch::default();
            for (units, rows) in work {
                encoder.encode(units, rows, &mut scratch);
            }
        } else {
            on_threads(threads, move || {
                work.into_par_iter()
                    .for_each_init(Scratch::default, |scratch, (units, rows)| {
                        encoder.encode(units, rows, scratch);
                    });
                Ok(())
            })?;
        }
        check_result(out, dim)
    }

    fn check_units(&self, units: &[&[u16]]) -> Result<()> {
        let Config {
            vocab_size, window, ..
        } = self.config;
        for (i, unit) in units.iter().enumerate() {
            if unit.is_empty() || unit.len() > window {
                let message = format!("unit {i} has {} tokens, expected 1 to {window}", unit.len());
                return Err(Error::InvalidInput(message));
            }
            if let Some(&id) = unit
                .iter()
                .find(|&&id| id == PAD || usize::from(id) >= vocab_size)
            {
                let message = format!("unit {i} has token {id}, expected 1 to {}", vocab_size - 1);
                return Err(Error::InvalidInput(message));
            }
        }
        Ok(())
    }
}

/// How many of the first units make one chunk: at least one.
fn chunk_len(units: &[&[u16]]) -> usize {
    let mut tokens = 0;
    let fitting = units.iter().take_while(|unit| {
        tokens += unit.len();
        tokens <= CHUNK_TOKENS
    });
    fitting.count().max(1)
}

fn check_rows(what: &str, values: &[f32], width: usize) -> Result<()> {
    if !values.len().is_multiple_of(width) {
        return Err(Error::InvalidInput(format!(
            "{} values are no rows of {width} {what}",
            values.len()
        )));
    }
    match values.iter().position(|v| !v.is_finite()) {
        Some(i) => Err(Error::InvalidInput(format!(
            "{what} have {} in row {}",
            values[i],
            i / width
        ))),
        None => Ok(()),
    }
}

/// Finite weights can still overflow; such a result must not reach a score.
fn check_result(rows: Vec<f32>, dim: usize) -> Result<Vec<f32>> {
    match rows.iter().position(|v| !v.is_finite()) {
        Some(i) => Err(Error::ModelFormat(format!(
            "its weights overflow on row {}",
            i / dim
        ))),
        None => Ok(rows),
    }
}

/// Builds layers from the tensors of a file.
struct Loader<'a> {
    isa: Isa,
    file: ModelFile<'a>,
    config: Config,
}

impl Loader<'_> {
    fn linear(&mut self, name: &str, inputs: usize, outputs: usize) -> Result<Linear> {
        let weight = self
            .file
            .matrix(&format!("{name}.weight"), outputs, inputs)?;
        let bias = self.file.plain(&format!("{name}.bias"), &[outputs])?;
        Ok(Linear::new(self.isa, &weight, inputs, bias))
    }

    fn norm(&mut self, name: &str) -> Result<LayerNorm> {
        let dim = self.config.dim;
        let weight = self.file.plain(&format!("{name}.weight"), &[dim])?;
        let bias = self.file.plain(&format!("{name}.bias"), &[dim])?;
        Ok(LayerNorm::new(self.isa, weight, bias))
    }

    fn block(&mut self, name: &str) -> Result<Block> {
        let (dim, mlp) = (self.config.dim, self.config.mlp);
        Ok(Block {
            isa: self.isa,
            heads: self.config.heads,
            ln1: self.norm(&format!("{name}.ln1"))?,
            qkv: self.linear(&format!("{name}.attn.qkv"), dim, 3 * dim)?,
            out: self.linear(&format!("{name}.attn.out"), dim, dim)?,
            ln2: self.norm(&format!("{name}.ln2"))?,
            up: self.linear(&format!("{name}.mlp.up"), dim, mlp)?,
            down: self.linear(&format!("{name}.mlp.down"), mlp, dim)?,
        })
    }

    fn encoder(&mut self, name: &str, loops: usize, whitened: bool) -> Result<Encoder> {
        let Config {
            dim,
            vocab_size,
            window,
            ..
        } = self.config;
        let embedding = self
            .file
            .matrix(&format!("{name}.embedding.weight"), vocab_size, dim)?;
        let position = self
            .file
            .plain(&format!("{name}.position.weight"), &[window, dim])?;
        let blocks = vec![self.block(&format!("{name}.block"))?];
        let trunk = Trunk {
            blocks,
            loops,
            norm: self.norm(&format!("{name}.norm"))?,
        };
        let whiten = if whitened {
            let weight = self
                .file
                .plain(&format!("{name}.whiten.weight"), &[dim, dim])?;
            let bias = self.file.plain(&format!("{name}.whiten.bias"), &[dim])?;
            Some(Linear::new(self.isa, &weight, dim, bias))
        } else {
            None
        };
        Ok(Encoder {
            dim,
            embedding,
            position,
            trunk,
            whiten,
        })
    }
}
