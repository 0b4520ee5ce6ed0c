//! Model file in; encoder, predictor and critic out.
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
use crate::place::ranges;
use crate::vocab::PAD;
use encoder::{Asked, Block, Encoder, Ranges, Scratch, Trunk};
use format::ModelFile;
use linear::{Linear, Write};
use norm::LayerNorm;
use tensor::{Rows, RowsMut};
use transition::{Edits, Perceptron, Transition};

pub use format::{Config, FORMAT};
pub use simd::Isa;

/// Tokens of one chunk of work, more or less: its activations and the weights stay in a core's second-level cache.
const CHUNK_TOKENS: usize = 192;

/// Rows of one chunk of work where a row is one token.
const CHUNK_ROWS: usize = CHUNK_TOKENS;

/// More threads than this are refused: a typing error, not a machine.
const MAX_THREADS: usize = 1024;

/// A loaded model.
#[derive(Debug, Clone)]
pub struct Engine {
    /// Shape of the networks.
    pub config: Config,
    /// All of the file's metadata.
    pub metadata: BTreeMap<String, String>,
    encoder: Encoder,
    /// f(s) to t(s).
    target: Linear,
    /// What the tokens of a range are, to what the predictor reads of them.
    reading: Linear,
    transition: Transition,
}

impl Engine {
    /// Loads a "codewm.model/4" file that was made with the given tokeniser.
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
        let (inputs, dim, latent) = (config.action_dim, config.dim, config.latent);
        let encoder = load.encoder("encoder", config.loops)?;
        let target = load.map("target", config.width(), latent)?;
        let state = load.map("state", config.width(), dim)?;
        let reading = load.map("reading", config.width(), config.reading)?;
        let told = dim + config.read() + inputs;
        let read = 2 * dim + latent + inputs;
        let transition = Transition {
            state,
            predictor: load.perceptron("predictor", told, config.predictor, latent)?,
            critic: load.perceptron("critic", read, config.critic, 1)?,
        };
        let metadata = load.file.finish()?;
        Ok(Engine {
            config,
            metadata,
            encoder,
            target,
            reading,
            transition,
        })
    }

    /// f(s): one row of `width` values per unit. `threads` 0 is one per core.
    pub fn encode(&self, units: &[&[u16]], threads: usize) -> Result<Vec<f32>> {
        Ok(self.read(units, &[], &[], threads)?.0)
    }

    /// f(s) of each unit, and for each edit, of the unit `edited[i]` as the i-th row of `actions` describes it, the
    /// `read` values of what is read where it happens.
    pub fn read(
        &self,
        units: &[&[u16]],
        edited: &[usize],
        actions: &[f32],
        threads: usize,
    ) -> Result<(Vec<f32>, Vec<f32>)> {
        let width = self.config.width();
        self.check_units(units)?;
        if threads > MAX_THREADS {
            let message = format!("{threads} threads, expected at most {MAX_THREADS}");
            return Err(Error::InvalidInput(message));
        }
        let places = self.places(units, edited, actions)?;
        let asked = places.asked(units);
        let (range, read) = (self.config.reading, self.config.read());
        let mut out = vec![0.0; units.len() * width];
        let mut values = vec![0.0; edited.len() * read];
        let mut work = Vec::new();
        let (mut rest, mut rows, mut reads) = (&asked[..], &mut out[..], &mut values[..]);
        while !rest.is_empty() {
            let (chunk, later) = rest.split_at(chunk_len(rest));
            let (chunk_rows, later_rows) = rows.split_at_mut(chunk.len() * width);
            let edits: usize = chunk.iter().map(|a| a.edits.len()).sum();
            let (chunk_reads, later_reads) = reads.split_at_mut(edits * read);
            work.push((chunk, chunk_rows, chunk_reads));
            (rest, rows, reads) = (later, later_rows, later_reads);
        }
        let encode =
            |scratch: &mut Scratch, asked: &[Asked<'_>], rows: &mut [f32], reads: &mut [f32]| {
                let mut means = vec![0.0; reads.len() / range * width];
                self.encoder.encode(asked, rows, &mut means, scratch);
                let reads = RowsMut::new(reads, range);
                self.reading
                    .apply(Rows::new(&means, width), reads, Write::Store);
            };
        if threads == 1 || work.len() < 2 {
            let mut scratch = Scratch::default();
            for (asked, rows, reads) in work {
                encode(&mut scratch, asked, rows, reads);
            }
        } else {
            on_threads(threads, move || {
                work.into_par_iter()
                    .for_each_init(Scratch::default, |scratch, (asked, rows, reads)| {
                        encode(scratch, asked, rows, reads)
                    });
                Ok(())
            })?;
        }
        let values = places.in_order(&values, read);
        Ok((check_result(out, width)?, check_result(values, read)?))
    }

    /// Where each edit reads its unit, by unit.
    fn places(&self, units: &[&[u16]], edited: &[usize], actions: &[f32]) -> Result<Places> {
        let Config {
            action_dim, window, ..
        } = self.config;
        check_as_many("actions", actions, action_dim, ("edits", edited.len()))?;
        if let Some(unit) = edited.iter().find(|&&unit| unit >= units.len()) {
            let message = format!("an edit is of unit {unit}, there are {}", units.len());
            return Err(Error::InvalidInput(message));
        }
        let mut order: Vec<usize> = (0..edited.len()).collect();
        order.sort_by_key(|&i| edited[i]);
        let ranges = order.iter().map(|&i| {
            let action = &actions[i * action_dim..][..action_dim];
            ranges(action, units[edited[i]].len(), window)
        });
        let mut ends = vec![0; units.len()];
        edited.iter().for_each(|&unit| ends[unit] += 1);
        let mut end = 0;
        for count in &mut ends {
            end += *count;
            *count = end;
        }
        Ok(Places {
            ranges: ranges.collect(),
            order,
            ends,
        })
    }

    /// t(s): one row of `latent` values per row of f(s).
    pub fn target(&self, f: &[f32]) -> Result<Vec<f32>> {
        let (width, latent) = (self.config.width(), self.config.latent);
        let n = check_rows("features", f, width)?;
        let mut out = vec![0.0; n * latent];
        out.par_chunks_mut(CHUNK_ROWS * latent)
            .zip(f.par_chunks(CHUNK_ROWS * width))
            .for_each(|(out, f)| {
                let out = RowsMut::new(out, latent);
                self.target.apply(Rows::new(f, width), out, Write::Store);
            });
        check_result(out, latent)
    }

    /// g(x(s), r, a): the predicted displacement, one row of `latent` values per row of f(s), of what was read where
    /// the edit happens, and of `action_dim` values.
    pub fn predict(&self, f: &[f32], read: &[f32], actions: &[f32]) -> Result<Vec<f32>> {
        let Config {
            latent, action_dim, ..
        } = self.config;
        let width = self.config.width();
        let n = check_rows("features", f, width)?;
        let reading = self.config.read();
        check_as_many("readings", read, reading, ("features", n))?;
        check_as_many("actions", actions, action_dim, ("features", n))?;
        let mut out = vec![0.0; n * latent];
        out.par_chunks_mut(CHUNK_ROWS * latent)
            .zip(f.par_chunks(CHUNK_ROWS * width))
            .zip(read.par_chunks(CHUNK_ROWS * reading))
            .zip(actions.par_chunks(CHUNK_ROWS * action_dim))
            .for_each(|(((out, f), read), actions)| {
                self.transition.predict(f, read, actions, out);
            });
        check_result(out, latent)
    }

    /// How much each residual d - d_hat looks like that of a spoilt edit: one value per row.
    ///
    /// `f` and `f_after` are rows f(s) and f(s') of `width` values, `residuals` rows of `latent`, `actions` rows of
    /// `action_dim`.
    pub fn doubt(
        &self,
        f: &[f32],
        f_after: &[f32],
        residuals: &[f32],
        actions: &[f32],
    ) -> Result<Vec<f32>> {
        let Config {
            latent, action_dim, ..
        } = self.config;
        let width = self.config.width();
        let n = check_rows("features", f, width)?;
        for (what, values, columns) in [
            ("features after", f_after, width),
            ("residuals", residuals, latent),
            ("actions", actions, action_dim),
        ] {
            check_as_many(what, values, columns, ("features", n))?;
        }
        let mut out = vec![0.0; n];
        out.par_chunks_mut(CHUNK_ROWS)
            .enumerate()
            .for_each(|(chunk, out)| {
                let (first, count) = (chunk * CHUNK_ROWS, out.len());
                let edits = Edits {
                    f: &f[first * width..][..count * width],
                    f_after: &f_after[first * width..][..count * width],
                    residuals: &residuals[first * latent..][..count * latent],
                    actions: &actions[first * action_dim..][..count * action_dim],
                };
                self.transition.doubt(edits, out);
            });
        check_result(out, 1)
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

/// Where edits read their units, sorted by unit.
struct Places {
    ranges: Vec<Ranges>,
    /// Which edit each of them is.
    order: Vec<usize>,
    /// Where those of each unit end.
    ends: Vec<usize>,
}

impl Places {
    fn asked<'a>(&'a self, units: &[&'a [u16]]) -> Vec<Asked<'a>> {
        let starts = std::iter::once(&0).chain(&self.ends);
        units
            .iter()
            .zip(starts.zip(&self.ends))
            .map(|(&unit, (&start, &end))| Asked {
                unit,
                edits: &self.ranges[start..end],
            })
            .collect()
    }

    /// Rows of `width` values in the order of the edits.
    fn in_order(&self, rows: &[f32], width: usize) -> Vec<f32> {
        let mut out = vec![0.0; rows.len()];
        for (row, &edit) in rows.chunks_exact(width).zip(&self.order) {
            out[edit * width..][..width].copy_from_slice(row);
        }
        out
    }
}

/// How many of the first units make one chunk: at least one.
fn chunk_len(asked: &[Asked<'_>]) -> usize {
    let mut tokens = 0;
    let fitting = asked.iter().take_while(|asked| {
        tokens += asked.unit.len();
        tokens <= CHUNK_TOKENS
    });
    fitting.count().max(1)
}

/// How many rows the values are, if they are whole rows of finite values.
fn check_rows(what: &str, values: &[f32], width: usize) -> Result<usize> {
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
        None => Ok(values.len() / width),
    }
}

/// As [`check_rows`], and refuses another number of rows than so many of the others.
fn check_as_many(
    what: &str,
    values: &[f32],
    width: usize,
    (others, count): (&str, usize),
) -> Result<()> {
    match check_rows(what, values, width)? {
        n if n == count => Ok(()),
        n => Err(Error::InvalidInput(format!(
            "{count} {others} for {n} {what}"
        ))),
    }
}

/// Finite weights can still overflow; such a result must not reach a score.
fn check_result(rows: Vec<f32>, width: usize) -> Result<Vec<f32>> {
    match rows.iter().position(|v| !v.is_finite()) {
        Some(i) => Err(Error::ModelFormat(format!(
            "its weights overflow on row {}",
            i / width
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

    /// A layer that whitens: all that a score is made of passes through it.
    fn map(&mut self, name: &str, inputs: usize, outputs: usize) -> Result<Linear> {
        let weight = self.file.map(&format!("{name}.weight"), outputs, inputs)?;
        let bias = self.file.plain(&format!("{name}.bias"), &[outputs])?;
        Ok(Linear::new(self.isa, &weight, inputs, bias))
    }

    fn perceptron(
        &mut self,
        name: &str,
        inputs: usize,
        hidden: usize,
        outputs: usize,
    ) -> Result<Perceptron> {
        Ok(Perceptron {
            isa: self.isa,
            up: self.linear(&format!("{name}.up"), inputs, hidden)?,
            middle: self.linear(&format!("{name}.middle"), hidden, hidden)?,
            out: self.linear(&format!("{name}.out"), hidden, outputs)?,
        })
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

    fn encoder(&mut self, name: &str, loops: usize) -> Result<Encoder> {
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
            .matrix(&format!("{name}.position.weight"), window, dim)?;
        let blocks = vec![self.block(&format!("{name}.block"))?];
        let trunk = Trunk {
            blocks,
            loops,
            norm: self.norm(&format!("{name}.norm"))?,
        };
        Ok(Encoder {
            dim,
            embedding,
            position,
            trunk,
        })
    }
}
