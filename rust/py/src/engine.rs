//! The engine's Python class.

use pyo3::prelude::*;

/// Adds the class to the module.
pub fn register(_m: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
