//! `codewm_core.Engine`: numpy arrays to the core's engine and back, with the GIL released while it computes.

use std::path::PathBuf;

use codewm_core::{Error, vocab};
use numpy::{
    PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::to_py;

/// Rows of values, as numpy takes them.
type Matrix<'py> = Bound<'py, PyArray2<f32>>;

/// A loaded model; see `_core.pyi`.
#[pyclass(frozen, module = "codewm_core")]
struct Engine {
    inner: codewm_core::engine::Engine,
}

#[pymethods]
impl Engine {
    /// Reads and checks a model file.
    #[staticmethod]
    fn from_file(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let bytes = py.detach(|| std::fs::read(path))?;
        Self::load(py, &bytes)
    }

    /// Checks a model file that was already read.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, data: &[u8]) -> PyResult<Self> {
        Self::load(py, data)
    }

    /// The shape of the networks.
    #[getter]
    fn config<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let c = &self.inner.config;
        let dict = PyDict::new(py);
        for (name, value) in [
            ("vocab_size", c.vocab_size),
            ("window", c.window),
            ("dim", c.dim),
            ("heads", c.heads),
            ("mlp", c.mlp),
            ("loops", c.loops),
            ("latent", c.latent),
            ("reading", c.reading),
            ("predictor", c.predictor),
            ("critic", c.critic),
            ("action_dim", c.action_dim),
        ] {
            dict.set_item(name, value)?;
        }
        dict.set_item("action", &c.action)?;
        Ok(dict)
    }

    /// All of the file's metadata.
    #[getter]
    fn metadata<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (key, value) in &self.inner.metadata {
            dict.set_item(key, value)?;
        }
        Ok(dict)
    }

    /// f(s): one row per unit.
    #[pyo3(signature = (tokens, offsets, *, threads = 0))]
    fn encode<'py>(
        &self,
        py: Python<'py>,
        tokens: PyReadonlyArray1<'py, u16>,
        offsets: PyReadonlyArray1<'py, i64>,
        threads: usize,
    ) -> PyResult<Matrix<'py>> {
        let (tokens, offsets) = (owned(&tokens), owned(&offsets));
        let rows = py.detach(|| self.inner.encode(&split(&tokens, &offsets)?, threads));
        to_rows(py, rows, self.inner.config.width())
    }

    /// f(s) of each unit, and what is read of the unit of each edit where it happens.
    #[pyo3(signature = (tokens, offsets, edited, actions, *, threads = 0))]
    fn read<'py>(
        &self,
        py: Python<'py>,
        tokens: PyReadonlyArray1<'py, u16>,
        offsets: PyReadonlyArray1<'py, i64>,
        edited: PyReadonlyArray1<'py, i64>,
        actions: PyReadonlyArray2<'py, f32>,
        threads: usize,
    ) -> PyResult<(Matrix<'py>, Matrix<'py>)> {
        let (tokens, offsets) = (owned(&tokens), owned(&offsets));
        let edited = owned(&edited)
            .into_iter()
            .map(|unit| {
                usize::try_from(unit)
                    .map_err(|_| to_py(Error::InvalidInput(format!("an edit is of unit {unit}"))))
            })
            .collect::<PyResult<Vec<usize>>>()?;
        let c = &self.inner.config;
        let actions = matrix("actions", &actions, c.action_dim)?;
        let (f, read) = py
            .detach(|| {
                let units = split(&tokens, &offsets)?;
                self.inner.read(&units, &edited, &actions, threads)
            })
            .map_err(to_py)?;
        Ok((
            to_rows(py, Ok(f), c.width())?,
            to_rows(py, Ok(read), c.read())?,
        ))
    }

    /// t(s): one row per row f(s).
    fn target<'py>(&self, py: Python<'py>, f: PyReadonlyArray2<'py, f32>) -> PyResult<Matrix<'py>> {
        let f = matrix("f", &f, self.inner.config.width())?;
        let rows = py.detach(|| self.inner.target(&f));
        to_rows(py, rows, self.inner.config.latent)
    }

    /// g(x(s), r, a): one predicted displacement per row f(s), reading and action.
    fn predict<'py>(
        &self,
        py: Python<'py>,
        f: PyReadonlyArray2<'py, f32>,
        read: PyReadonlyArray2<'py, f32>,
        actions: PyReadonlyArray2<'py, f32>,
    ) -> PyResult<Matrix<'py>> {
        let f = matrix("f", &f, self.inner.config.width())?;
        let read = matrix("read", &read, self.inner.config.read())?;
        let actions = matrix("actions", &actions, self.inner.config.action_dim)?;
        let rows = py.detach(|| self.inner.predict(&f, &read, &actions));
        to_rows(py, rows, self.inner.config.latent)
    }

    /// What the critic says of each edit: one value per row.
    fn doubt<'py>(
        &self,
        py: Python<'py>,
        f: PyReadonlyArray2<'py, f32>,
        f_after: PyReadonlyArray2<'py, f32>,
        residual: PyReadonlyArray2<'py, f32>,
        actions: PyReadonlyArray2<'py, f32>,
    ) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let c = &self.inner.config;
        let f = matrix("f", &f, c.width())?;
        let f_after = matrix("f_after", &f_after, c.width())?;
        let residual = matrix("residual", &residual, c.latent)?;
        let actions = matrix("actions", &actions, c.action_dim)?;
        let values = py.detach(|| self.inner.doubt(&f, &f_after, &residual, &actions));
        Ok(PyArray1::from_vec(py, values.map_err(to_py)?))
    }

    fn __repr__(&self) -> String {
        let c = &self.inner.config;
        format!(
            "Engine(dim={}, latent={}, window={}, vocab_size={})",
            c.dim, c.latent, c.window, c.vocab_size
        )
    }
}

impl Engine {
    fn load(py: Python<'_>, bytes: &[u8]) -> PyResult<Self> {
        let loaded =
            py.detach(|| codewm_core::engine::Engine::from_bytes(bytes, vocab::vocabulary().id()));
        Ok(Engine {
            inner: loaded.map_err(to_py)?,
        })
    }
}

/// Rows of `width` values as an array.
fn to_rows<'py>(
    py: Python<'py>,
    rows: Result<Vec<f32>, Error>,
    width: usize,
) -> PyResult<Matrix<'py>> {
    let rows = rows.map_err(to_py)?;
    let shape = [rows.len() / width, width];
    PyArray1::from_vec(py, rows).reshape(shape)
}

/// A copy: another Python thread may write to the array while the GIL is released.
pub(crate) fn owned<T: numpy::Element + Copy>(array: &PyReadonlyArray1<'_, T>) -> Vec<T> {
    array.as_array().iter().copied().collect()
}

/// A copy of a matrix, row after row, if it has the right width.
fn matrix(name: &str, array: &PyReadonlyArray2<'_, f32>, width: usize) -> PyResult<Vec<f32>> {
    let [rows, columns] = *array.shape() else {
        return Ok(Vec::new());
    };
    if columns != width {
        let message = format!("{name} has shape [{rows}, {columns}], expected [n, {width}]");
        return Err(to_py(Error::InvalidInput(message)));
    }
    Ok(array.as_array().iter().copied().collect())
}

/// The units that `offsets` cuts from `tokens`.
pub(crate) fn split<'t>(tokens: &'t [u16], offsets: &[i64]) -> Result<Vec<&'t [u16]>, Error> {
    let bad = |what: String| Error::InvalidInput(what);
    let ends: Vec<usize> = offsets
        .iter()
        .map(|&o| usize::try_from(o).map_err(|_| bad(format!("offset {o} is negative"))))
        .collect::<Result<_, _>>()?;
    if ends.first() != Some(&0) || ends.last() != Some(&tokens.len()) {
        return Err(bad(format!(
            "offsets must start at 0 and end at {}, the number of tokens",
            tokens.len()
        )));
    }
    ends.windows(2)
        .enumerate()
        .map(|(i, w)| {
            tokens
                .get(w[0]..w[1])
                .ok_or_else(|| bad(format!("offsets of unit {i} go backwards")))
        })
        .collect()
}

/// Adds the class to the module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Engine>()
}
