//! Bytes of a "codewm.model/4" file in, checked f32 tensors by name out.
//!
//! A safetensors container whose metadata carries the configuration, the tokeniser id and the quantisation. Model
//! files come from anywhere: every size is bounded before it is used, and nothing here panics on damaged bytes.

use std::collections::{BTreeMap, BTreeSet};

use half::f16;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::action::Version;
use crate::error::{Error, Result};
use crate::place::RANGES;

/// The one format this build reads.
pub const FORMAT: &str = "codewm.model/4";

/// Larger sizes are refused, so that products of two of them fit any integer that holds them.
const MAX_SIZE: usize = 1 << 16;

/// Shape of the networks; mirrors `ModelConfig` of `model/config.py`. Unknown keys are errors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Token ids are below it.
    pub vocab_size: usize,
    /// Tokens of a unit, at most.
    pub window: usize,
    /// Length of f(s) and of every row inside the networks.
    pub dim: usize,
    /// Attention heads.
    pub heads: usize,
    /// Hidden width of a block's perceptron.
    pub mlp: usize,
    /// Applications of the encoder's block.
    pub loops: usize,
    /// Length of t(s), and so of a displacement.
    pub latent: usize,
    /// Values that are read of each range of tokens where an edit happens.
    pub reading: usize,
    /// Hidden width of the predictor.
    pub predictor: usize,
    /// Hidden width of the critic.
    pub critic: usize,
    /// Name of the action vector.
    pub action: String,
    /// Its length.
    pub action_dim: usize,
}

impl Config {
    /// Length of f(s): a mean over the tokens of what goes into the encoder's loops, and one of what comes out.
    pub fn width(&self) -> usize {
        2 * self.dim
    }

    /// Length of what is read of a state where an edit happens.
    pub fn read(&self) -> usize {
        RANGES * self.reading
    }

    fn check(&self) -> Result<()> {
        let sizes = [
            ("vocab_size", self.vocab_size, MAX_SIZE),
            ("window", self.window, MAX_SIZE),
            ("dim", self.dim, MAX_SIZE / 3),
            ("heads", self.heads, MAX_SIZE),
            ("mlp", self.mlp, MAX_SIZE),
            ("loops", self.loops, 64),
            ("latent", self.latent, MAX_SIZE),
            ("reading", self.reading, MAX_SIZE / RANGES),
            ("predictor", self.predictor, MAX_SIZE),
            ("critic", self.critic, MAX_SIZE),
            ("action_dim", self.action_dim, MAX_SIZE),
        ];
        for (name, size, limit) in sizes {
            if size == 0 || size > limit {
                return Err(format_error(format!(
                    "config {name} = {size}, expected 1 to {limit}"
                )));
            }
        }
        if !self.dim.is_multiple_of(self.heads) {
            return Err(format_error(format!(
                "config dim {} does not split into {} heads",
                self.dim, self.heads
            )));
        }
        Ok(())
    }
}

/// How the weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quant {
    F32,
    /// Matrices as I8, those that whiten as F16, with one f32 scale per row.
    Int8,
}

/// A model file whose header was checked; tensors are taken from it one by one.
pub struct ModelFile<'a> {
    /// Shape of the networks.
    pub config: Config,
    /// All of the file's metadata.
    pub metadata: BTreeMap<String, String>,
    quant: Quant,
    tensors: BTreeMap<String, TensorView<'a>>,
    taken: BTreeSet<String>,
}

impl<'a> ModelFile<'a> {
    /// Reads the header; `tokenizer_id` is what the file must have been made with.
    pub fn open(bytes: &'a [u8], tokenizer_id: &str) -> Result<Self> {
        let (_, header) =
            SafeTensors::read_metadata(bytes).map_err(|e| format_error(e.to_string()))?;
        let metadata: BTreeMap<String, String> = header
            .metadata()
            .clone()
            .unwrap_or_default()
            .into_iter()
            .collect();
        let value = |key: &str| {
            metadata
                .get(key)
                .map(String::as_str)
                .ok_or_else(|| format_error(format!("metadata {key} is missing")))
        };
        let format = value("format")?;
        if format != FORMAT {
            return Err(format_error(format!(
                "its format is {format:?}, expected {FORMAT:?}"
            )));
        }
        let found = value("tokenizer_id")?;
        if found != tokenizer_id {
            let (found, expected) = (found.to_owned(), tokenizer_id.to_owned());
            return Err(Error::TokenizerMismatch { found, expected });
        }
        let config: Config = serde_json::from_str(value("config")?)
            .map_err(|e| format_error(format!("config: {e}")))?;
        config.check()?;
        if value("action")? != config.action {
            return Err(format_error(
                "metadata action is not the config's".to_owned(),
            ));
        }
        let names: Vec<String> = serde_json::from_str(value("action_names")?)
            .map_err(|e| format_error(format!("action_names: {e}")))?;
        let known = Version::parse(&config.action)
            .map_err(|e| format_error(e.to_string()))?
            .names();
        if names.len() != config.action_dim || names != known {
            let message = format!(
                "its {} actions of {} dimensions are not those of this build",
                config.action, config.action_dim
            );
            return Err(format_error(message));
        }
        let quant = match value("quant")? {
            "f32" => Quant::F32,
            "int8" => Quant::Int8,
            other => {
                return Err(format_error(format!(
                    "unknown quant {other:?}, expected f32 or int8"
                )));
            }
        };
        let file = SafeTensors::deserialize(bytes).map_err(|e| format_error(e.to_string()))?;
        let tensors = file.tensors().into_iter().collect();
        Ok(ModelFile {
            config,
            metadata,
            quant,
            tensors,
            taken: BTreeSet::new(),
        })
    }

    /// A tensor that is stored as f32 in every quantisation.
    pub fn plain(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let data = self.take(name, Dtype::F32, shape)?;
        let values: Vec<f32> = data
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        refuse(name, &values, |v| !v.is_finite())?;
        Ok(values)
    }

    /// A matrix that quantised files store as I8 `[rows, columns]` and `<name>.scale` `[rows]`.
    pub fn matrix(&mut self, name: &str, rows: usize, columns: usize) -> Result<Vec<f32>> {
        self.scaled(name, rows, columns, Dtype::I8, 1, |b| f32::from(b[0] as i8))
    }

    /// A matrix that quantised files store as F16, scaled likewise: one whose small values count as much as its large
    /// ones, because it whitens.
    pub fn map(&mut self, name: &str, rows: usize, columns: usize) -> Result<Vec<f32>> {
        self.scaled(name, rows, columns, Dtype::F16, 2, |b| {
            f16::from_le_bytes([b[0], b[1]]).to_f32()
        })
    }

    /// A matrix that quantised files store as `dtype` of `bytes` bytes and one scale for each row.
    fn scaled(
        &mut self,
        name: &str,
        rows: usize,
        columns: usize,
        dtype: Dtype,
        bytes: usize,
        value: impl Fn(&[u8]) -> f32,
    ) -> Result<Vec<f32>> {
        if self.quant == Quant::F32 {
            return self.plain(name, &[rows, columns]);
        }
        let data = self.take(name, dtype, &[rows, columns])?;
        let scale_name = format!("{name}.scale");
        let scales = self.plain(&scale_name, &[rows])?;
        // The largest values of either type, 127 and 65,504, times that stay finite.
        refuse(&scale_name, &scales, |s| !(0.0..=1e33).contains(&s))?;
        let values: Vec<f32> = data
            .chunks_exact(bytes)
            .enumerate()
            .map(|(i, b)| value(b) * scales[i / columns])
            .collect();
        refuse(name, &values, |v| !v.is_finite())?;
        Ok(values)
    }

    /// Refuses a file with tensors that nobody asked for: it is not the model its config describes.
    pub fn finish(self) -> Result<BTreeMap<String, String>> {
        match self.tensors.keys().find(|name| !self.taken.contains(*name)) {
            Some(name) => Err(format_error(format!("unexpected tensor {name}"))),
            None => Ok(self.metadata),
        }
    }

    fn take(&mut self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<&'a [u8]> {
        let Some(view) = self.tensors.get(name) else {
            return Err(format_error(format!("tensor {name} is missing")));
        };
        if view.dtype() != dtype || view.shape() != shape {
            let (found, at) = (view.dtype(), view.shape());
            return Err(format_error(format!(
                "tensor {name} is {found:?} {at:?}, expected {dtype:?} {shape:?}"
            )));
        }
        self.taken.insert(name.to_owned());
        Ok(view.data())
    }
}

/// Refuses a tensor that has a bad value, and says where.
fn refuse(name: &str, values: &[f32], bad: impl Fn(f32) -> bool) -> Result<()> {
    match values.iter().position(|&v| bad(v)) {
        Some(i) => Err(format_error(format!(
            "tensor {name} has {} at {i}",
            values[i]
        ))),
        None => Ok(()),
    }
}

fn format_error(what: String) -> Error {
    Error::ModelFormat(what)
}
