//! codewm's core: Python source in, tokens, unit edits, actions and predictions out.
//!
//! Knows bytes and numbers only: no Python, no Git, no file system.

pub mod action;
pub mod batch;
pub mod chains;
pub mod changes;
pub mod decode;
mod descent;
pub mod diff;
pub mod engine;
pub mod error;
pub mod incremental;
pub mod miner;
pub mod ngram;
pub mod paper;
mod pieces;
pub mod place;
mod statements;
pub mod suites;
mod texts;
pub mod tokens;
pub mod units;
mod unsettled;
pub mod vocab;

pub use error::{Error, Result};
