//! Core errors in, one Python exception family out.

use codewm_core::Error;
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

create_exception!(
    codewm_core,
    CoreError,
    PyException,
    "Any failure of the core."
);
create_exception!(
    codewm_core,
    InvalidInput,
    CoreError,
    "An argument is outside what is accepted."
);
create_exception!(
    codewm_core,
    ModelFormatError,
    CoreError,
    "A model file is damaged or not ours."
);
create_exception!(
    codewm_core,
    TokenizerMismatch,
    ModelFormatError,
    "A model was made with another tokeniser."
);

/// The Python exception for a core error.
pub fn to_py(e: Error) -> PyErr {
    let message = e.to_string();
    match e {
        Error::InvalidInput(_) => InvalidInput::new_err(message),
        Error::ModelFormat(_) => ModelFormatError::new_err(message),
        Error::TokenizerMismatch { .. } => TokenizerMismatch::new_err(message),
    }
}

/// Adds the exceptions to the module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = m.py();
    m.add("CoreError", py.get_type::<CoreError>())?;
    m.add("InvalidInput", py.get_type::<InvalidInput>())?;
    m.add("ModelFormatError", py.get_type::<ModelFormatError>())?;
    m.add("TokenizerMismatch", py.get_type::<TokenizerMismatch>())
}
