//! Many sources in, their diffs, tokens or names out, on all cores and in input order.

use std::borrow::Cow;

use hashbrown::{HashMap, HashSet};
use rayon::prelude::*;

use crate::action::Version;
use crate::decode::decode;
use crate::diff::{FileDiff, Options, Side, describe, diff};
use crate::error::{Error, Result};
use crate::tokens::NameUse;
use crate::units::{Kind, Parsed, parse, tokenize};

/// Runs `work` on `threads` threads; 0 means all cores. The result does not depend on the number.
pub fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    if threads == 0 {
        return work();
    }
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|e| Error::InvalidInput(format!("cannot start {threads} threads: {e}")))?
        .install(work)
}

/// The unit edits of each pair of sources, by index into `sources`; each source is parsed once.
pub fn diff_pairs(
    sources: &[&[u8]],
    pairs: &[(Option<usize>, Option<usize>)],
    options: Options,
) -> Result<Vec<FileDiff>> {
    let sources: Vec<Cow<'_, [u8]>> = sources.par_iter().map(|s| decode(s)).collect();
    let parsed: Vec<Parsed> = sources
        .par_iter()
        .map(|s| parse(s))
        .collect::<Result<_>>()?;
    let side = |i: usize| match (sources.get(i), parsed.get(i)) {
        (Some(source), Some(parsed)) => Ok(Side { source, parsed }),
        _ => Err(Error::InvalidInput(format!(
            "pair names source {i} of {}",
            sources.len()
        ))),
    };
    pairs
        .par_iter()
        .map(|&(b, a)| diff(b.map(side).transpose()?, a.map(side).transpose()?, options))
        .collect()
}

/// The actions of modified units that are known by their states alone, one after the other; kinds by their number.
pub fn describe_all(
    before: &[&[u16]],
    after: &[&[u16]],
    kinds: &[u8],
    version: Version,
) -> Result<Vec<f32>> {
    if before.len() != after.len() || before.len() != kinds.len() {
        return Err(Error::InvalidInput(format!(
            "{} states before, {} after and {} kinds are not of the same edits",
            before.len(),
            after.len(),
            kinds.len()
        )));
    }
    let rows: Vec<Vec<f32>> = (before, after, kinds)
        .into_par_iter()
        .map(|(before, after, &kind)| {
            let kind = Kind::from_number(kind)
                .ok_or_else(|| Error::InvalidInput(format!("there is no kind {kind}")))?;
            let mut out = Vec::with_capacity(version.dim());
            describe(before, after, kind, version, &mut out);
            Ok(out)
        })
        .collect::<Result<_>>()?;
    Ok(rows.concat())
}

/// The tokens of each whole source.
pub fn tokenize_all(sources: &[&[u8]]) -> Result<Vec<Vec<u16>>> {
    sources.par_iter().map(|s| tokenize(&decode(s))).collect()
}

/// Distinct names over all sources, sorted, with the number of sources that hold each.
pub fn identifiers(sources: &[&[u8]]) -> Result<Vec<(String, u32)>> {
    let per_source: Vec<HashSet<String>> = sources
        .par_iter()
        .map(|source| {
            let source = decode(source);
            let parsed = parse(&source)?;
            Ok(parsed
                .units
                .iter()
                .flat_map(|u| {
                    let stream = u.stream();
                    let text =
                        |n: &NameUse| String::from_utf8_lossy(&source[n.range()]).into_owned();
                    stream.names.iter().map(text).collect::<Vec<_>>()
                })
                .collect())
        })
        .collect::<Result<_>>()?;
    let mut counts: HashMap<String, u32> = HashMap::new();
    for name in per_source.into_iter().flatten() {
        *counts.entry(name).or_insert(0) += 1;
    }
    let mut out: Vec<_> = counts.into_iter().collect();
    out.sort();
    Ok(out)
}
