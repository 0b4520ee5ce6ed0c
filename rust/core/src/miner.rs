//! Versions of files and the changes between them in, the rows of the edit table out.
//!
//! Keeps the versions that the caller has not yet told it to forget, in pieces, so that each new version costs
//! what it changed; numbers states, units and names by first appearance. The rows depend on the changes and
//! their order alone: not on what is kept, on threads, or on how the changes were batched.

use std::sync::{Arc, OnceLock};

use hashbrown::hash_map::Entry;
use hashbrown::{HashMap, HashSet};
use rayon::prelude::*;
use rayon::{Scope, ThreadPool};

use crate::decode::decode;
use crate::diff::{self, CREATED, DELETED, FileDiff, MOVED, Options, Side, UnitEdit};
use crate::error::{Error, Result};
use crate::incremental::parse_after;
use crate::units::{Kind, Parsed};

/// Shorter states are too alike to say that one unit moved to another file.
const MIN_MOVED_TOKENS: usize = 12;

/// A change of one file; versions by the keys they were given with.
#[derive(Debug, Clone, Copy)]
pub struct Change<'k> {
    /// Row of its commit; changes come in the order of commits, and units that moved are looked
    /// for within a commit's changes of one batch.
    pub commit: i32,
    /// Row of its path.
    pub path: i32,
    /// The version before, unless the file was created.
    pub before: Option<&'k str>,
    /// The version after, unless the file was deleted.
    pub after: Option<&'k str>,
}

/// What one change came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Unit edits.
    pub edits: usize,
    /// Lines added.
    pub lines_added: u32,
    /// Lines deleted.
    pub lines_deleted: u32,
}

/// New rows, column by column; names are those of the edit table.
#[derive(Debug, Default)]
#[allow(missing_docs)]
pub struct Rows {
    pub before: Vec<i32>,
    pub after: Vec<i32>,
    pub action: Vec<f32>,
    pub commit: Vec<i32>,
    pub path: Vec<i32>,
    pub unit: Vec<i32>,
    pub unit_before: Vec<i32>,
    pub kind: Vec<u8>,
    pub flags: Vec<u16>,
    pub tokens_added: Vec<i32>,
    pub tokens_removed: Vec<i32>,
    pub lines: Vec<i32>,
    pub first_changed_line: Vec<i32>,
    pub name_counts: Vec<i64>,
    pub name_ids: Vec<i32>,
    pub name_flags: Vec<u8>,
    pub name_lines: Vec<i32>,
    /// Pairs of rows that are one unit: deleted from one file, created in another.
    pub moved: Vec<(usize, usize)>,
}

/// The distinct states, in order of first appearance; only the new ones hold their tokens.
#[derive(Debug, Default)]
pub struct States {
    ids: HashMap<[u8; 16], i32>,
    /// Tokens of the new states.
    pub tokens: Vec<u16>,
    /// Length of each new state.
    pub lengths: Vec<i64>,
    /// First 8 bytes, little endian, of each new state's digest.
    pub hashes: Vec<u64>,
}

/// Distinct texts, numbered by first appearance.
#[derive(Debug, Default)]
pub struct Texts {
    ids: HashMap<Arc<str>, i32>,
    /// The texts that were not there from the start.
    pub new: Vec<Arc<str>>,
}

/// The rows so far, and what they point to.
#[derive(Debug, Default)]
pub struct Table {
    /// Rows of edits.
    pub rows: Rows,
    /// States.
    pub states: States,
    /// Qualified names of units.
    pub units: Texts,
    /// Names added by edits.
    pub names: Texts,
}

/// See the module.
pub struct Miner {
    options: Options,
    pool: Option<ThreadPool>,
    files: HashMap<String, Arc<File>>,
    table: Table,
    /// What the last changes came to, which has no rows yet: numbering takes one thread, and is done beside the next
    /// reading.
    pending: Vec<Found>,
}

/// Commit, path and edits of a change.
type Found = (i32, i32, FileDiff);

/// A version of a file.
struct File {
    source: Vec<u8>,
    parsed: Parsed,
}

impl File {
    fn new(blob: &[u8], before: Option<&File>) -> Result<Self> {
        let source = decode(blob).into_owned();
        let parsed = parse_after(&source, before.map(|f| (&f.source[..], &f.parsed)))?;
        Ok(File { source, parsed })
    }

    fn side(&self) -> Side<'_> {
        Side {
            source: &self.source,
            parsed: &self.parsed,
        }
    }
}

impl States {
    /// The number of a state. It is told from others by 128 bits of BLAKE2b.
    fn intern(&mut self, tokens: &[u16]) -> i32 {
        let digest = digest(tokens);
        let next = self.ids.len() as i32;
        match self.ids.entry(digest) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                entry.insert(next);
                self.tokens.extend_from_slice(tokens);
                self.lengths.push(tokens.len() as i64);
                let [a, b, c, d, e, f, g, h, ..] = digest;
                self.hashes
                    .push(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
                next
            }
        }
    }
}

/// BLAKE2b-128 of tokens as little-endian 16-bit numbers.
fn digest(tokens: &[u16]) -> [u8; 16] {
    let mut bytes = vec![0; 2 * tokens.len()];
    for (two, token) in bytes.chunks_exact_mut(2).zip(tokens) {
        two.copy_from_slice(&token.to_le_bytes());
    }
    let hash = blake2b_simd::Params::new().hash_length(16).hash(&bytes);
    let mut out = [0; 16];
    out.copy_from_slice(hash.as_bytes());
    out
}

impl Texts {
    fn intern(&mut self, text: &str) -> i32 {
        if let Some(&id) = self.ids.get(text) {
            return id;
        }
        let id = self.ids.len() as i32;
        let text: Arc<str> = text.into();
        self.new.push(Arc::clone(&text));
        self.ids.insert(text, id);
        id
    }
}

impl Miner {
    /// Starts without rows; `threads` 0 is one per core.
    pub fn new(options: Options, threads: usize) -> Result<Self> {
        let pool = match threads {
            0 => None,
            n => Some(
                rayon::ThreadPoolBuilder::new()
                    .num_threads(n)
                    .build()
                    .map_err(|e| Error::InvalidInput(format!("cannot start {n} threads: {e}")))?,
            ),
        };
        Ok(Miner {
            options,
            pool,
            files: HashMap::new(),
            table: Table::default(),
            pending: Vec::new(),
        })
    }

    /// Takes over the numbers of a table that new rows will follow; before the first change only.
    pub fn resume<'t>(
        &mut self,
        states: impl Iterator<Item = &'t [u16]>,
        units: impl Iterator<Item = &'t str>,
        names: impl Iterator<Item = &'t str>,
    ) {
        let states: Vec<&[u16]> = states.collect();
        let digests: Vec<[u8; 16]> = states.par_iter().map(|tokens| digest(tokens)).collect();
        let table = &mut self.table;
        table.states.ids = digests.into_iter().zip(0..).collect();
        for (texts, held) in [
            (&mut table.units, units.collect::<Vec<_>>()),
            (&mut table.names, names.collect()),
        ] {
            texts.ids = (0..).zip(held).map(|(id, t)| (t.into(), id)).collect();
        }
    }

    /// Adds the changes of whole commits. Every version that they name is among `blobs` or was given before and not
    /// forgotten since.
    pub fn add(&mut self, blobs: &[(&str, &[u8])], changes: &[Change<'_>]) -> Result<Vec<Outcome>> {
        let pending = std::mem::take(&mut self.pending);
        let (options, files, table) = (self.options, &mut self.files, &mut self.table);
        let work = || {
            rayon::join(
                || read(files, blobs, changes, options),
                || table.number(pending),
            )
        };
        let (diffs, ()) = match &self.pool {
            None => work(),
            Some(pool) => pool.install(work),
        };
        let diffs = diffs?;
        let outcomes = diffs
            .iter()
            .map(|d| Outcome {
                edits: d.edits.len(),
                lines_added: d.lines_added,
                lines_deleted: d.lines_deleted,
            })
            .collect();
        let places = changes.iter().map(|c| (c.commit, c.path));
        self.pending = places.zip(diffs).map(|((c, p), d)| (c, p, d)).collect();
        Ok(outcomes)
    }

    /// The rows of all changes so far.
    pub fn table(&mut self) -> &Table {
        self.table.number(std::mem::take(&mut self.pending));
        &self.table
    }

    /// Lets go of versions that no later change names, or that will be given again.
    pub fn forget<'k>(&mut self, keys: impl Iterator<Item = &'k str>) {
        let gone: Vec<Arc<File>> = keys.filter_map(|key| self.files.remove(key)).collect();
        // Thousands of small pieces: freed beside the next batch.
        rayon::spawn(move || drop(gone));
    }
}

impl Table {
    /// Appends the rows of whole commits, in order.
    fn number(&mut self, found: Vec<Found>) {
        let mut found = found.into_iter().peekable();
        while let Some(commit) = found.peek().map(|f| f.0) {
            let first = self.rows.commit.len();
            while let Some((_, path, diff)) = found.next_if(|f| f.0 == commit) {
                for edit in diff.edits {
                    self.push(commit, path, &edit);
                }
            }
            self.match_moved(first);
        }
    }

    fn push(&mut self, commit: i32, path: i32, edit: &UnitEdit) {
        // Counts and lines of one source stay far below 2^31: sources are capped at 64 MiB.
        let int = |n: u32| n as i32;
        let created = edit.flags & CREATED != 0;
        let deleted = edit.flags & DELETED != 0;
        let before_name = if created {
            &edit.after_name
        } else {
            &edit.before_name
        };
        let after_name = if deleted {
            &edit.before_name
        } else {
            &edit.after_name
        };
        let rows = &mut self.rows;
        rows.unit_before.push(self.units.intern(before_name));
        rows.unit.push(self.units.intern(after_name));
        rows.before.push(self.states.intern(&edit.before));
        rows.after.push(self.states.intern(&edit.after));
        rows.action.extend_from_slice(&edit.action);
        rows.commit.push(commit);
        rows.path.push(path);
        rows.kind.push(edit.kind as u8);
        rows.flags.push(edit.flags);
        rows.tokens_added.push(int(edit.tokens_added));
        rows.tokens_removed.push(int(edit.tokens_removed));
        rows.lines.extend([int(edit.lines.0), int(edit.lines.1)]);
        rows.first_changed_line.push(int(edit.first_changed_line));
        rows.name_counts.push(edit.names.len() as i64);
        for name in &edit.names {
            rows.name_ids.push(self.names.intern(&name.name));
            rows.name_flags.push(name.flags);
            rows.name_lines.push(int(name.line));
        }
    }

    /// Finds, among the rows of one commit, the functions and classes that left one file and appeared in another
    /// with the same state; by equal states, ties by order.
    fn match_moved(&mut self, first: usize) {
        let rows = &mut self.rows;
        let mut gone: HashMap<(i32, u8), Vec<usize>> = HashMap::new();
        let movable = |rows: &Rows, row: usize, flag: u16| {
            rows.flags[row] & flag != 0 && rows.kind[row] != Kind::Module as u8
        };
        let tokens = |rows: &Rows, row: usize| rows.tokens_added[row] + rows.tokens_removed[row];
        for row in first..rows.commit.len() {
            if movable(rows, row, DELETED) && tokens(rows, row) >= MIN_MOVED_TOKENS as i32 {
                let key = (
                    rows.before[row],
                    u8::from(rows.kind[row] == Kind::Class as u8),
                );
                gone.entry(key).or_default().push(row);
            }
        }
        if gone.is_empty() {
            return;
        }
        for row in first..rows.commit.len() {
            if !movable(rows, row, CREATED) {
                continue;
            }
            let key = (
                rows.after[row],
                u8::from(rows.kind[row] == Kind::Class as u8),
            );
            let Some(left) = gone.get_mut(&key) else {
                continue;
            };
            // One that kept its name is the better match than the first.
            let same_length =
                |r: usize| tokens(rows, r) == tokens(rows, row) && rows.path[r] != rows.path[row];
            let named = left
                .iter()
                .position(|&r| same_length(r) && rows.unit[r] == rows.unit[row]);
            let Some(i) = named.or_else(|| left.iter().position(|&r| same_length(r))) else {
                continue;
            };
            let from = left.remove(i);
            rows.flags[from] |= MOVED;
            rows.flags[row] |= MOVED;
            rows.moved.push((from, row));
        }
    }
}

/// Parses the new versions, each after the one that it was made from, and compares.
fn read(
    files: &mut HashMap<String, Arc<File>>,
    blobs: &[(&str, &[u8])],
    changes: &[Change<'_>],
    options: Options,
) -> Result<Vec<FileDiff>> {
    let index: HashMap<&str, usize> = blobs.iter().enumerate().map(|(i, b)| (b.0, i)).collect();
    // Versions made from each blob, and by which change: a forest, for a version that was seen earlier in this
    // batch never starts from a later one.
    let mut children: Vec<Vec<Growth>> = vec![Vec::new(); blobs.len()];
    let mut seen: HashSet<usize> = HashSet::new();
    let mut roots: Vec<(Growth, Option<&Arc<File>>)> = Vec::new();
    for (i, change) in changes.iter().enumerate() {
        let before = change.before.and_then(|key| index.get(key).copied());
        if let Some(blob) = before
            && seen.insert(blob)
        {
            roots.push((Growth { blob, change: None }, None));
        }
        let Some(&blob) = change.after.and_then(|key| index.get(key)) else {
            continue;
        };
        if !seen.insert(blob) {
            continue;
        }
        let made = Growth {
            blob,
            change: Some(i),
        };
        match (before, change.before) {
            (Some(b), _) => children[b].push(made),
            (None, None) => roots.push((made, None)),
            (None, Some(key)) => match files.get(key) {
                Some(file) => roots.push((made, Some(file))),
                None => roots.push((Growth { blob, change: None }, None)),
            },
        }
    }
    let forest = Forest {
        blobs,
        children,
        options,
        files: (0..blobs.len()).map(|_| OnceLock::new()).collect(),
        diffs: (0..changes.len()).map(|_| OnceLock::new()).collect(),
    };
    rayon::scope(|scope| {
        for (root, before) in &roots {
            let forest = &forest;
            scope.spawn(move |scope| forest.grow(*root, *before, scope));
        }
    });
    for ((key, _), file) in blobs.iter().zip(forest.files) {
        if let Some(file) = file.into_inner() {
            files.insert((*key).to_owned(), file?);
        }
    }
    let version = |key: Option<&str>| {
        let Some(key) = key else { return Ok(None) };
        match files.get(key) {
            Some(file) => Ok(Some(file)),
            None => Err(Error::InvalidInput(format!("version {key} was not given"))),
        }
    };
    changes
        .par_iter()
        .zip(forest.diffs)
        .map(|(change, done)| match done.into_inner() {
            Some(diff) => diff,
            None => {
                let (before, after) = (version(change.before)?, version(change.after)?);
                compare(before.map(|f| &**f), after.map(|f| &**f), options)
            }
        })
        .collect()
}

fn compare(before: Option<&File>, after: Option<&File>, options: Options) -> Result<FileDiff> {
    diff::diff(before.map(File::side), after.map(File::side), options)
}

/// A version to parse, and the change that made it from the one before, which can be compared then.
#[derive(Debug, Clone, Copy)]
struct Growth {
    blob: usize,
    change: Option<usize>,
}

/// The versions of one batch, each parsed once the one before it is. The versions of one file come one after the
/// other, so the comparisons are what keeps the other threads busy meanwhile.
struct Forest<'a> {
    blobs: &'a [(&'a str, &'a [u8])],
    children: Vec<Vec<Growth>>,
    options: Options,
    files: Vec<OnceLock<Result<Arc<File>>>>,
    diffs: Vec<OnceLock<Result<FileDiff>>>,
}

impl Forest<'_> {
    fn grow<'s>(&'s self, at: Growth, before: Option<&Arc<File>>, scope: &Scope<'s>) {
        let file = File::new(self.blobs[at.blob].1, before.map(|f| &**f)).map(Arc::new);
        let parsed = file.as_ref().ok().cloned();
        // Each blob has one place in the forest, so nobody else has set it.
        let _ = self.files[at.blob].set(file);
        let Some(parsed) = parsed else { return };
        if let Some(change) = at.change {
            let (before, after) = (before.cloned(), Arc::clone(&parsed));
            scope.spawn(move |_| {
                let diff = compare(before.as_deref(), Some(&after), self.options);
                let _ = self.diffs[change].set(diff);
            });
        }
        // The thread takes up first what it was given last, so the first child, with which most lines of versions go
        // on, comes before the comparison.
        for &child in self.children[at.blob].iter().rev() {
            let parsed = Arc::clone(&parsed);
            scope.spawn(move |scope| self.grow(child, Some(&parsed), scope));
        }
    }
}
