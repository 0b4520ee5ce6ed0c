//! `codewm_core.NgramCache`: states to bits, with the GIL released while it works.

use codewm_core::ngram::{self, Cost};
use codewm_core::vocab::vocabulary;
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use crate::engine::{owned, split};
use crate::error::to_py;

/// Flat tokens and offsets of states.
type States<'py> = (PyReadonlyArray1<'py, u16>, PyReadonlyArray1<'py, i64>);
/// Position and bits of each token, and the offsets of each edit in them.
type Costs<'py> = (
    Bound<'py, PyArray1<i32>>,
    Bound<'py, PyArray1<f32>>,
    Bound<'py, PyArray1<i64>>,
);
/// N-grams, and how often each occurs or the offsets of each edit in them.
type Grams<'py, T> = (Bound<'py, PyArray1<u64>>, Bound<'py, PyArray1<T>>);

/// What a repository's code looks like, token by token; see `_core.pyi`.
#[pyclass(module = "codewm_core")]
struct NgramCache {
    inner: ngram::Cache,
}

#[pymethods]
impl NgramCache {
    #[new]
    #[pyo3(signature = (order, fold = None))]
    fn new(order: usize, fold: Option<PyReadonlyArray1<'_, u16>>) -> PyResult<Self> {
        let fold = fold.as_ref().map(owned).unwrap_or_default();
        let inner = ngram::Cache::new(order, vocabulary().names().len(), fold).map_err(to_py)?;
        Ok(NgramCache { inner })
    }

    /// Counts n-grams.
    #[pyo3(signature = (keys, counts = None))]
    fn add(
        &mut self,
        py: Python<'_>,
        keys: PyReadonlyArray1<'_, u64>,
        counts: Option<PyReadonlyArray1<'_, u32>>,
    ) -> PyResult<()> {
        let keys = keys.as_slice()?;
        let counts = counts.as_ref().map(|c| c.as_slice()).transpose()?;
        if counts.is_some_and(|c| c.len() != keys.len()) {
            return Err(to_py(codewm_core::Error::InvalidInput(
                "n-grams and their counts differ in length".to_owned(),
            )));
        }
        py.detach(|| {
            let times = |i: usize| counts.map_or(1, |c| c[i]);
            self.inner
                .add(keys.iter().enumerate().map(|(i, &k)| (k, times(i))));
        });
        Ok(())
    }

    /// Bits of added and of removed tokens.
    fn costs<'py>(
        &self,
        py: Python<'py>,
        before: States<'py>,
        after: States<'py>,
        own: u32,
        beyond: usize,
    ) -> PyResult<(Costs<'py>, Costs<'py>)> {
        let (b, a) = (
            (owned(&before.0), owned(&before.1)),
            (owned(&after.0), owned(&after.1)),
        );
        let found = py
            .detach(|| {
                let pairs = pairs(split(&b.0, &b.1)?, split(&a.0, &a.1)?)?;
                Ok(self.inner.costs(&pairs, own, beyond))
            })
            .map_err(to_py)?;
        let (added, removed): (Vec<Cost>, Vec<Cost>) = found.into_iter().unzip();
        Ok((flat(py, &added), flat(py, &removed)))
    }

    /// N-grams that edits bring.
    fn gained<'py>(
        &self,
        py: Python<'py>,
        before: States<'py>,
        after: States<'py>,
    ) -> PyResult<Grams<'py, i64>> {
        let (b, a) = (
            (owned(&before.0), owned(&before.1)),
            (owned(&after.0), owned(&after.1)),
        );
        let cache = &self.inner;
        let (keys, offsets) = py
            .detach(|| {
                let (mut keys, mut offsets) = (Vec::new(), vec![0]);
                for (before, after) in pairs(split(&b.0, &b.1)?, split(&a.0, &a.1)?)? {
                    cache.gained(before, after, &mut keys);
                    offsets.push(keys.len() as i64);
                }
                Ok((keys, offsets))
            })
            .map_err(to_py)?;
        Ok((keys.into_pyarray(py), offsets.into_pyarray(py)))
    }

    /// N-grams of whole sources.
    fn count<'py>(
        &self,
        py: Python<'py>,
        sources: Vec<PyBackedBytes>,
    ) -> PyResult<Grams<'py, u32>> {
        let cache = &self.inner;
        let (keys, counts) = py
            .detach(|| {
                let sources: Vec<&[u8]> = sources.iter().map(|s| &s[..]).collect();
                cache.count(&sources)
            })
            .map_err(to_py)?;
        Ok((keys.into_pyarray(py), counts.into_pyarray(py)))
    }
}

fn pairs<'a>(
    before: Vec<&'a [u16]>,
    after: Vec<&'a [u16]>,
) -> codewm_core::Result<Vec<ngram::Pair<'a>>> {
    if before.len() != after.len() {
        return Err(codewm_core::Error::InvalidInput(format!(
            "{} states before and {} after are not of the same edits",
            before.len(),
            after.len()
        )));
    }
    Ok(before.into_iter().zip(after).collect())
}

fn flat<'py>(py: Python<'py>, costs: &[Cost]) -> Costs<'py> {
    let mut offsets = vec![0];
    let (mut positions, mut bits) = (Vec::new(), Vec::new());
    for cost in costs {
        positions.extend_from_slice(&cost.position);
        bits.extend_from_slice(&cost.bits);
        offsets.push(bits.len() as i64);
    }
    (
        positions.into_pyarray(py),
        bits.into_pyarray(py),
        offsets.into_pyarray(py),
    )
}

/// Adds the class to the module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<NgramCache>()
}
