//! `codewm_core.Miner`: changes of files to rows of the edit table, with the GIL released while it works.

use codewm_core::chains::{self, Link};
use codewm_core::diff::Options;
use codewm_core::miner::Change;
use codewm_core::{Error, action};
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1, PyReadonlyArray2, ToPyArray};
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyDict, PyList};

use crate::error::to_py;
use crate::source::{check_window, rows};

/// A history's edits so far; see `_core.pyi`.
#[pyclass(module = "codewm_core")]
struct Miner {
    inner: codewm_core::miner::Miner,
    action_dim: usize,
}

/// Commit, path, version before, version after.
type ChangeRow = (i32, i32, Option<PyBackedStr>, Option<PyBackedStr>);

/// Edits, lines added, lines deleted of each change. No arrays: numpy may still be on its way when the first versions
/// are there.
type Outcomes = (Vec<usize>, Vec<u32>, Vec<u32>);

#[pymethods]
impl Miner {
    #[new]
    #[pyo3(signature = (*, window, action, threads = 0))]
    fn new(window: usize, action: &str, threads: usize) -> PyResult<Self> {
        check_window(window)?;
        let action = action::Version::parse(action).map_err(to_py)?;
        let options = Options { window, action };
        Ok(Miner {
            inner: codewm_core::miner::Miner::new(options, threads).map_err(to_py)?,
            action_dim: action.dim(),
        })
    }

    /// Takes over the numbers of a table that the new rows will follow.
    fn resume(
        &mut self,
        tokens: PyReadonlyArray1<'_, u16>,
        offsets: PyReadonlyArray1<'_, i64>,
        units: Vec<PyBackedStr>,
        names: Vec<PyBackedStr>,
    ) -> PyResult<()> {
        let (tokens, offsets) = (tokens.as_slice()?, offsets.as_slice()?);
        let mut states = Vec::with_capacity(offsets.len());
        for bounds in offsets.windows(2) {
            let range = usize::try_from(bounds[0])
                .ok()
                .zip(usize::try_from(bounds[1]).ok());
            let state = range.and_then(|(a, b)| tokens.get(a..b));
            states.push(state.ok_or_else(|| {
                to_py(Error::InvalidInput(
                    "offsets point outside the tokens".to_owned(),
                ))
            })?);
        }
        self.inner.resume(
            states.into_iter(),
            units.iter().map(|u| &**u),
            names.iter().map(|n| &**n),
        );
        Ok(())
    }

    /// Adds the changes of whole commits.
    fn add(
        &mut self,
        py: Python<'_>,
        blobs: Vec<(PyBackedStr, PyBackedBytes)>,
        changes: Vec<ChangeRow>,
    ) -> PyResult<Outcomes> {
        let inner = &mut self.inner;
        let outcomes = py
            .detach(|| {
                let blobs: Vec<(&str, &[u8])> = blobs.iter().map(|(k, b)| (&**k, &**b)).collect();
                let changes: Vec<Change<'_>> = changes
                    .iter()
                    .map(|(commit, path, before, after)| Change {
                        commit: *commit,
                        path: *path,
                        before: before.as_deref(),
                        after: after.as_deref(),
                    })
                    .collect();
                inner.add(&blobs, &changes)
            })
            .map_err(to_py)?;
        Ok((
            outcomes.iter().map(|o| o.edits).collect(),
            outcomes.iter().map(|o| o.lines_added).collect(),
            outcomes.iter().map(|o| o.lines_deleted).collect(),
        ))
    }

    /// Lets go of versions.
    fn forget(&mut self, keys: Vec<PyBackedStr>) {
        self.inner.forget(keys.iter().map(|k| &**k));
    }

    /// The rows so far, column by column, and what is new in the tables they point to.
    fn columns<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let inner = &mut self.inner;
        let table = py.detach(|| inner.table());
        let r = &table.rows;
        let d = PyDict::new(py);
        for (name, column) in [
            ("before", &r.before),
            ("after", &r.after),
            ("commit", &r.commit),
            ("path", &r.path),
            ("unit", &r.unit),
            ("unit_before", &r.unit_before),
            ("tokens_added", &r.tokens_added),
            ("tokens_removed", &r.tokens_removed),
            ("first_changed_line", &r.first_changed_line),
            ("name_ids", &r.name_ids),
            ("name_lines", &r.name_lines),
        ] {
            d.set_item(name, column.to_pyarray(py))?;
        }
        d.set_item("action", rows(py, r.action.clone(), self.action_dim)?)?;
        d.set_item("lines", rows(py, r.lines.clone(), 2)?)?;
        d.set_item("kind", r.kind.to_pyarray(py))?;
        d.set_item("flags", r.flags.to_pyarray(py))?;
        d.set_item("name_flags", r.name_flags.to_pyarray(py))?;
        d.set_item("name_counts", r.name_counts.to_pyarray(py))?;
        // Rows of one history are counted in 32 bits everywhere.
        let moved: Vec<i32> = r
            .moved
            .iter()
            .flat_map(|&(a, b)| [a as i32, b as i32])
            .collect();
        d.set_item("moved", rows(py, moved, 2)?)?;
        let s = &table.states;
        d.set_item("state_tokens", s.tokens.to_pyarray(py))?;
        d.set_item("state_lengths", s.lengths.to_pyarray(py))?;
        d.set_item("state_hashes", s.hashes.to_pyarray(py))?;
        let texts =
            |texts: &codewm_core::miner::Texts| PyList::new(py, texts.new.iter().map(|t| &**t));
        d.set_item("units", texts(&table.units)?)?;
        d.set_item("names", texts(&table.names)?)?;
        Ok(d)
    }
}

/// Chain and step of every edit.
type Places<'py> = (Bound<'py, PyArray1<i32>>, Bound<'py, PyArray1<i32>>);

#[pyfunction]
#[allow(clippy::too_many_arguments)]
fn assign_chains<'py>(
    py: Python<'py>,
    commit: PyReadonlyArray1<'py, i32>,
    path: PyReadonlyArray1<'py, i32>,
    unit: PyReadonlyArray1<'py, i32>,
    unit_before: PyReadonlyArray1<'py, i32>,
    flags: PyReadonlyArray1<'py, u16>,
    renames: PyReadonlyArray2<'py, i32>,
    known_chain: PyReadonlyArray1<'py, i32>,
    known_step: PyReadonlyArray1<'py, i32>,
    moved: PyReadonlyArray2<'py, i32>,
) -> PyResult<Places<'py>> {
    let (commit, path, unit) = (commit.as_slice()?, path.as_slice()?, unit.as_slice()?);
    let (unit_before, flags) = (unit_before.as_slice()?, flags.as_slice()?);
    let n = commit.len();
    let bad = |what: &str| to_py(Error::InvalidInput(what.to_owned()));
    if [path.len(), unit.len(), unit_before.len(), flags.len()] != [n; 4] {
        return Err(bad("columns differ in length"));
    }
    let edits: Vec<Link> = (0..n)
        .map(|i| Link {
            commit: commit[i],
            path: path[i],
            unit: unit[i],
            unit_before: unit_before[i],
            flags: flags[i],
        })
        .collect();
    let known: Vec<_> = known_chain
        .as_slice()?
        .iter()
        .copied()
        .zip(known_step.as_slice()?.iter().copied())
        .collect();
    let renames: Vec<_> = renames
        .as_slice()?
        .chunks_exact(3)
        .map(|r| (r[0], r[1], r[2]))
        .collect();
    let moved: Vec<(usize, usize)> = moved
        .as_slice()?
        .chunks_exact(2)
        .map(|m| (m[0] as usize, m[1] as usize))
        .collect();
    if known.len() > n
        || moved
            .iter()
            .any(|&(a, b)| a >= n || b >= n || commit[a] != commit[b])
    {
        return Err(bad("known or moved edits are not among the edits"));
    }
    let (chain, step): (Vec<i32>, Vec<i32>) = chains::assign(&edits, &known, &renames, &moved)
        .into_iter()
        .unzip();
    Ok((chain.into_pyarray(py), step.into_pyarray(py)))
}

/// Adds the class and the function to the module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Miner>()?;
    m.add_function(wrap_pyfunction!(assign_chains, m)?)
}
