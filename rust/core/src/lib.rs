//! codewm's core: Python source in, tokens, unit edits, actions and predictions out.
//!
//! Knows bytes and numbers only: no Python, no Git, no file system.

pub mod engine;
pub mod error;

pub use error::{Error, Result};
