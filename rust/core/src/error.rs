//! Everything that can go wrong in the core, one variant each.

use std::fmt;

/// The result of every fallible function of the core.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong; messages are lower case and name the offending thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// An argument is outside what the function accepts.
    InvalidInput(String),
    /// A model file is damaged, incomplete or not ours.
    ModelFormat(String),
    /// A model was made with another tokeniser.
    TokenizerMismatch {
        /// The tokeniser id that the file names.
        found: String,
        /// The tokeniser id of this build.
        expected: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::InvalidInput(what) => write!(f, "invalid input: {what}"),
            Error::ModelFormat(what) => write!(f, "not a usable model file: {what}"),
            Error::TokenizerMismatch { found, expected } => {
                write!(
                    f,
                    "model was made with tokeniser {found}, this build has {expected}"
                )
            }
        }
    }
}

impl std::error::Error for Error {}
