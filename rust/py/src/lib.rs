//! `codewm_core._core`: the core's functions with Python types. Conversion only, no algorithm.

use pyo3::prelude::*;

mod engine;
mod error;
mod memory;
mod miner;
mod ngram;
mod source;

#[pymodule]
fn _core(m: &Bound<'_, PyModule>) -> PyResult<()> {
    memory::install();
    error::register(m)?;
    source::register(m)?;
    miner::register(m)?;
    ngram::register(m)?;
    engine::register(m)
}
