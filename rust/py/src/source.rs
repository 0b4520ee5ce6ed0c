//! Python source bytes in, tokens, units and unit edits as numpy arrays out.

use std::collections::HashMap;

use codewm_core::decode::decode;
use codewm_core::diff::{FileDiff, Options};
use codewm_core::units::KIND_NAMES;
use codewm_core::vocab::{self, IdRange, vocabulary};
use codewm_core::{action, batch, diff, paper, place, tokens, units};
use numpy::{IntoPyArray, PyArray1, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, ToPyArray};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyDict, PyTuple};

use crate::engine::{owned, split};
use crate::error::to_py;

/// Two-dimensional arrays travel flat with their number of columns.
pub(crate) fn rows<'py, T: numpy::Element>(
    py: Python<'py>,
    flat: Vec<T>,
    columns: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let n = flat.len().checked_div(columns).unwrap_or(0);
    Ok(flat.into_pyarray(py).reshape([n, columns])?.into_any())
}

/// Flat tokens and the offsets of each sequence in them.
#[derive(Default)]
struct Ragged {
    flat: Vec<u16>,
    offsets: Vec<i64>,
}

impl Ragged {
    fn new() -> Self {
        Ragged {
            flat: Vec::new(),
            offsets: vec![0],
        }
    }

    fn push(&mut self, tokens: &[u16]) {
        self.flat.extend_from_slice(tokens);
        self.offsets.push(self.flat.len() as i64);
    }
}

#[pyfunction]
fn vocabulary_names() -> Vec<String> {
    vocabulary().names().to_vec()
}

/// Flat tokens and the offsets of each source in them.
type Tokens<'py> = (Bound<'py, PyArray1<u16>>, Bound<'py, PyArray1<i64>>);

#[pyfunction]
fn tokenize<'py>(py: Python<'py>, sources: Vec<PyBackedBytes>) -> PyResult<Tokens<'py>> {
    let out = py
        .detach(|| {
            let sources: Vec<&[u8]> = sources.iter().map(|s| &s[..]).collect();
            batch::tokenize_all(&sources).map(|all| {
                let mut ragged = Ragged::new();
                all.iter().for_each(|t| ragged.push(t));
                ragged
            })
        })
        .map_err(to_py)?;
    Ok((out.flat.into_pyarray(py), out.offsets.into_pyarray(py)))
}

/// A whole file in the papers' layout.
#[pyfunction]
#[pyo3(signature = (source, *, depth_first=false, window=paper::WINDOW))]
fn paper_tokens<'py>(
    py: Python<'py>,
    source: PyBackedBytes,
    depth_first: bool,
    window: usize,
) -> PyResult<Bound<'py, PyArray1<u16>>> {
    check_window(window)?;
    let found = py
        .detach(|| paper::tokens(&source, order(depth_first), window))
        .map_err(to_py)?;
    Ok(found.into_pyarray(py))
}

#[pyfunction]
fn paper_tokenizer_id(depth_first: bool) -> &'static str {
    paper::id(order(depth_first))
}

fn order(depth_first: bool) -> paper::Order {
    match depth_first {
        true => paper::Order::DepthFirst,
        false => paper::Order::BreadthFirst,
    }
}

#[pyfunction]
fn identifiers<'py>(
    py: Python<'py>,
    sources: Vec<PyBackedBytes>,
) -> PyResult<(Vec<String>, Bound<'py, PyArray1<i32>>)> {
    let found = py
        .detach(|| {
            let sources: Vec<&[u8]> = sources.iter().map(|s| &s[..]).collect();
            batch::identifiers(&sources)
        })
        .map_err(to_py)?;
    let (names, counts): (Vec<String>, Vec<i32>) = found
        .into_iter()
        .map(|(n, c)| (n, i32::try_from(c).unwrap_or(i32::MAX)))
        .unzip();
    Ok((names, counts.into_pyarray(py)))
}

/// Name, kind, start and end line, start and end byte, tokens.
type UnitRow<'py> = (
    String,
    &'static str,
    u32,
    u32,
    usize,
    usize,
    Bound<'py, PyArray1<u16>>,
);

#[pyfunction]
fn unit_rows<'py>(py: Python<'py>, source: PyBackedBytes) -> PyResult<Vec<UnitRow<'py>>> {
    let parsed = py
        .detach(|| units::parse(&decode(&source)))
        .map_err(to_py)?;
    Ok(parsed
        .units
        .iter()
        .map(|u| {
            let kind = KIND_NAMES[u.kind as usize];
            let tokens = u.stream().tokens.to_pyarray(py);
            (
                u.name.to_string(),
                kind,
                u.start_line,
                u.end_line,
                u.start_byte,
                u.end_byte,
                tokens,
            )
        })
        .collect())
}

/// Refuses windows that are too short to show a change or too long for 16 bits.
pub(crate) fn check_window(window: usize) -> PyResult<()> {
    if (8..=65_535).contains(&window) {
        return Ok(());
    }
    Err(to_py(codewm_core::Error::InvalidInput(format!(
        "window of {window} tokens; it must be 8 to 65535"
    ))))
}

#[pyfunction]
#[pyo3(signature = (pairs, *, window, action, threads))]
fn diff_units<'py>(
    py: Python<'py>,
    pairs: Vec<(Option<PyBackedBytes>, Option<PyBackedBytes>)>,
    window: usize,
    action: &str,
    threads: usize,
) -> PyResult<Bound<'py, PyDict>> {
    check_window(window)?;
    let version = action::Version::parse(action).map_err(to_py)?;
    let options = Options {
        window,
        action: version,
    };
    let columns = py
        .detach(|| {
            // The same Python object on several sides is one source, parsed once.
            let mut index: HashMap<(*const u8, usize), usize> = HashMap::new();
            let mut sources: Vec<&[u8]> = Vec::new();
            let mut indexed: Vec<(Option<usize>, Option<usize>)> = Vec::with_capacity(pairs.len());
            for (before, after) in &pairs {
                let [b, a] = [before, after].map(|side| {
                    let bytes: &[u8] = side.as_ref()?;
                    Some(
                        *index
                            .entry((bytes.as_ptr(), bytes.len()))
                            .or_insert_with(|| {
                                sources.push(bytes);
                                sources.len() - 1
                            }),
                    )
                });
                indexed.push((b, a));
            }
            batch::on_threads(threads, || batch::diff_pairs(&sources, &indexed, options))
                .map(Columns::from_diffs)
        })
        .map_err(to_py)?;
    columns.into_dict(py, version.dim())
}

/// An `EditBatch`, column by column.
#[derive(Default)]
struct Columns {
    pair: Vec<i32>,
    kind: Vec<u8>,
    flags: Vec<u16>,
    before_unit: Vec<String>,
    after_unit: Vec<String>,
    before: Ragged,
    after: Ragged,
    action: Vec<f32>,
    tokens_added: Vec<i32>,
    tokens_removed: Vec<i32>,
    lines: Vec<i32>,
    first_changed_line: Vec<i32>,
    name_offsets: Vec<i64>,
    name_ids: Vec<i32>,
    name_flags: Vec<u8>,
    name_lines: Vec<i32>,
    names: Vec<String>,
    pair_lines: Vec<i32>,
    pair_errors: Vec<bool>,
}

impl Columns {
    fn from_diffs(diffs: Vec<FileDiff>) -> Self {
        let mut c = Columns {
            before: Ragged::new(),
            after: Ragged::new(),
            name_offsets: vec![0],
            ..Columns::default()
        };
        let mut name_index: HashMap<String, i32> = HashMap::new();
        // Counts and lines of one source stay far below 2^31: sources are capped at 64 MiB.
        let int = |n: u32| n as i32;
        for (i, file) in diffs.into_iter().enumerate() {
            c.pair_lines
                .extend([int(file.lines_added), int(file.lines_deleted)]);
            c.pair_errors.push(file.has_error);
            for e in file.edits {
                c.pair.push(i as i32);
                c.kind.push(e.kind as u8);
                c.flags.push(e.flags);
                c.before_unit.push(e.before_name);
                c.after_unit.push(e.after_name);
                c.before.push(&e.before);
                c.after.push(&e.after);
                c.action.extend(e.action);
                c.tokens_added.push(int(e.tokens_added));
                c.tokens_removed.push(int(e.tokens_removed));
                c.lines.extend([int(e.lines.0), int(e.lines.1)]);
                c.first_changed_line.push(int(e.first_changed_line));
                for n in e.names {
                    let next = c.names.len() as i32;
                    let id = *name_index.entry(n.name).or_insert_with_key(|name| {
                        c.names.push(name.clone());
                        next
                    });
                    c.name_ids.push(id);
                    c.name_flags.push(n.flags);
                    c.name_lines.push(int(n.line));
                }
                c.name_offsets.push(c.name_ids.len() as i64);
            }
        }
        c
    }

    fn into_dict(self, py: Python<'_>, action_dim: usize) -> PyResult<Bound<'_, PyDict>> {
        let d = PyDict::new(py);
        d.set_item("pair", self.pair.into_pyarray(py))?;
        d.set_item("kind", self.kind.into_pyarray(py))?;
        d.set_item("flags", self.flags.into_pyarray(py))?;
        d.set_item("before_unit", self.before_unit)?;
        d.set_item("after_unit", self.after_unit)?;
        d.set_item("before_tokens", self.before.flat.into_pyarray(py))?;
        d.set_item("before_offsets", self.before.offsets.into_pyarray(py))?;
        d.set_item("after_tokens", self.after.flat.into_pyarray(py))?;
        d.set_item("after_offsets", self.after.offsets.into_pyarray(py))?;
        d.set_item("action", rows(py, self.action, action_dim)?)?;
        d.set_item("tokens_added", self.tokens_added.into_pyarray(py))?;
        d.set_item("tokens_removed", self.tokens_removed.into_pyarray(py))?;
        d.set_item("lines", rows(py, self.lines, 2)?)?;
        d.set_item(
            "first_changed_line",
            self.first_changed_line.into_pyarray(py),
        )?;
        d.set_item("name_offsets", self.name_offsets.into_pyarray(py))?;
        d.set_item("name_ids", self.name_ids.into_pyarray(py))?;
        d.set_item("name_flags", self.name_flags.into_pyarray(py))?;
        d.set_item("name_lines", self.name_lines.into_pyarray(py))?;
        d.set_item("names", self.names)?;
        d.set_item("pair_lines", rows(py, self.pair_lines, 2)?)?;
        d.set_item("pair_errors", self.pair_errors.into_pyarray(py))?;
        Ok(d)
    }
}

/// Actions [N, A] of modified units, from the states of both sides and the unit's kind.
#[pyfunction]
fn describe_states<'py>(
    py: Python<'py>,
    before: (PyReadonlyArray1<'py, u16>, PyReadonlyArray1<'py, i64>),
    after: (PyReadonlyArray1<'py, u16>, PyReadonlyArray1<'py, i64>),
    kinds: PyReadonlyArray1<'py, u8>,
    action: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let version = action::Version::parse(action).map_err(to_py)?;
    let (b, a) = (
        (owned(&before.0), owned(&before.1)),
        (owned(&after.0), owned(&after.1)),
    );
    let kinds = owned(&kinds);
    let flat = py
        .detach(|| {
            let (b, a) = (split(&b.0, &b.1)?, split(&a.0, &a.1)?);
            batch::describe_all(&b, &a, &kinds, version)
        })
        .map_err(to_py)?;
    rows(py, flat, version.dim())
}

/// Which tokens of the states before are read where edits happen: [n, RANGES, 2].
#[pyfunction]
fn places<'py>(
    py: Python<'py>,
    lengths: PyReadonlyArray1<'py, i64>,
    actions: PyReadonlyArray2<'py, f32>,
    action: &str,
    window: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let version = action::Version::parse(action).map_err(to_py)?;
    let lengths = owned(&lengths);
    let actions: Vec<f32> = actions.as_array().iter().copied().collect();
    let flat = place::ranges_of(&lengths, &actions, version, window).map_err(to_py)?;
    let array = PyArray1::from_vec(py, flat);
    Ok(array.reshape([lengths.len(), place::RANGES, 2])?.into_any())
}

/// Adds functions and constants to the module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(vocabulary_names, m)?)?;
    m.add_function(wrap_pyfunction!(tokenize, m)?)?;
    m.add_function(wrap_pyfunction!(identifiers, m)?)?;
    m.add_function(wrap_pyfunction!(paper_tokens, m)?)?;
    m.add_function(wrap_pyfunction!(paper_tokenizer_id, m)?)?;
    m.add_function(wrap_pyfunction!(unit_rows, m)?)?;
    m.add_function(wrap_pyfunction!(diff_units, m)?)?;
    m.add_function(wrap_pyfunction!(describe_states, m)?)?;
    m.add_function(wrap_pyfunction!(places, m)?)?;
    let v = vocabulary();
    m.add("TOKENIZER_ID", v.id())?;
    m.add("VOCAB_SIZE", v.names().len())?;
    m.add("KINDS", PyTuple::new(m.py(), KIND_NAMES)?)?;
    let actions = PyDict::new(m.py());
    for name in ["v7", "v15"] {
        let version = action::Version::parse(name).map_err(to_py)?;
        actions.set_item(name, PyTuple::new(m.py(), version.names())?)?;
    }
    m.add("ACTIONS", actions)?;
    m.add("RANGES", place::RANGES)?;
    for (name, id) in [
        ("PAPER_VOCAB_SIZE", paper::VOCAB_SIZE),
        ("PAPER_PAD", paper::PAD),
        ("PAD", vocab::PAD),
        ("EMPTY", vocab::EMPTY),
        ("MASK", vocab::MASK),
        ("TRUNC", vocab::TRUNC),
        ("FLAG_CREATED", diff::CREATED),
        ("FLAG_DELETED", diff::DELETED),
        ("FLAG_MOVED", diff::MOVED),
        ("FLAG_NOOP", diff::NOOP),
        ("FLAG_WINDOWED", diff::WINDOWED),
        ("FLAG_SYNTAX_ERROR", diff::SYNTAX_ERROR),
        ("NAME_CALL", u16::from(tokens::NAME_CALL)),
        ("NAME_IMPORT", u16::from(tokens::NAME_IMPORT)),
        ("NAME_ATTRIBUTE", u16::from(tokens::NAME_ATTRIBUTE)),
        ("NAME_IN_UNIT", u16::from(tokens::NAME_IN_UNIT)),
        ("NAME_IN_MODULE", u16::from(tokens::NAME_IN_MODULE)),
        ("NAME_BOUND", u16::from(tokens::NAME_BOUND)),
        ("NAME_KEYWORD", u16::from(tokens::NAME_KEYWORD)),
    ] {
        m.add(name, id)?;
    }
    for (name, IdRange { first, last }) in [
        ("DEPTH", v.depth),
        ("IDENT", v.identifier),
        ("STRING", v.string),
        ("NUMBER", v.number),
        ("OP", v.operator),
    ] {
        m.add(format!("{name}_FIRST"), first)?;
        m.add(format!("{name}_LAST"), last)?;
    }
    Ok(())
}
