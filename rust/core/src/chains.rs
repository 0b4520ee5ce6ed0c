//! Edits and file renames in commit order in, the chain and the step of every edit out.
//!
//! A chain is the life of one unit along first-parent history: it follows the unit when it is renamed inside its
//! file, when its file is renamed, and when it moves to another file in one commit (`links`). A creation starts
//! a chain and a deletion ends one; an edit of a unit that was never seen starts one too (history may begin in
//! the middle).

use hashbrown::HashMap;

use crate::diff::{CREATED, DELETED};

/// What a chain needs to know of an edit; ids as in the edit table.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    /// Row of its commit.
    pub commit: i32,
    /// The file after the edit, or before it if it was deleted.
    pub path: i32,
    /// The unit after the edit, or before it if it was deleted.
    pub unit: i32,
    /// The unit before the edit, or after it if it was created.
    pub unit_before: i32,
    /// Flags of `diff`.
    pub flags: u16,
}

/// Chain and step.
pub type Place = (i32, i32);

/// A file's rename: commit, path before, path after.
pub type Rename = (i32, i32, i32);

/// Living units: path, then unit, to the place of the last edit.
type Living = HashMap<i32, HashMap<i32, Place>>;

/// Places of all edits. `known` are those of the first edits, from a harvest before this one; `moved` are pairs
/// of edits (deleted here, created there) that are one unit, in the order of the second.
pub fn assign(
    edits: &[Link],
    known: &[Place],
    renames: &[Rename],
    moved: &[(usize, usize)],
) -> Vec<Place> {
    let source: HashMap<usize, usize> = moved.iter().map(|&(from, to)| (to, from)).collect();
    let mut places: Vec<Place> = vec![(-1, 0); edits.len()];
    let mut living = Living::new();
    let mut next = known.iter().map(|k| k.0 + 1).max().unwrap_or(0);
    let mut renames = renames.iter().peekable();
    let mut at = 0;
    while at < edits.len() {
        let commit = edits[at].commit;
        let end = at + edits[at..].partition_point(|e| e.commit == commit);
        // Those of commits without edits, too, in order.
        while let Some(&&(of, _, _)) = renames.peek() {
            if of > commit {
                break;
            }
            let mut all = Vec::new();
            while let Some(&&(_, from, to)) = renames.peek().filter(|r| r.0 == of) {
                all.push((from, to));
                renames.next();
            }
            move_files(&mut living, &all);
        }
        // Every edit of a commit looks at the state before it: two units may have swapped names.
        for row in at..end {
            places[row] = if let Some(&place) = known.get(row) {
                place
            } else if source.contains_key(&row) {
                continue;
            } else {
                let e = edits[row];
                let last = living
                    .get(&e.path)
                    .and_then(|units| units.get(&e.unit_before));
                match last.filter(|_| e.flags & CREATED == 0) {
                    Some(&(chain, step)) => (chain, step + 1),
                    None => {
                        next += 1;
                        (next - 1, 0)
                    }
                }
            };
        }
        for row in at..end {
            if let Some(&from) = source.get(&row)
                && row >= known.len()
            {
                let (chain, step) = places[from];
                places[row] = (chain, step + 1);
            }
        }
        for e in &edits[at..end] {
            if e.flags & CREATED == 0
                && let Some(units) = living.get_mut(&e.path)
            {
                units.remove(&e.unit_before);
            }
        }
        for (e, &place) in edits[at..end].iter().zip(&places[at..end]) {
            if e.flags & DELETED == 0 {
                living.entry(e.path).or_default().insert(e.unit, place);
            }
        }
        at = end;
    }
    places
}

/// Carries the living units of renamed files over, all at once: two files may have swapped names.
fn move_files(living: &mut Living, renames: &[(i32, i32)]) {
    let taken: Vec<_> = renames
        .iter()
        .map(|&(from, to)| (to, living.remove(&from).unwrap_or_default()))
        .collect();
    living.extend(taken);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(commit: i32, path: i32, before: i32, unit: i32, flags: u16) -> Link {
        Link {
            commit,
            path,
            unit,
            unit_before: before,
            flags,
        }
    }

    #[test]
    fn a_chain_follows_renames_swaps_and_moves() {
        let edits = [
            edit(0, 0, 0, 0, CREATED),
            edit(0, 0, 1, 1, CREATED),
            edit(1, 0, 0, 1, 0),
            edit(1, 0, 1, 0, 0),
            edit(3, 5, 0, 0, 0),
            edit(4, 5, 1, 1, DELETED),
            edit(4, 6, 1, 1, CREATED),
            edit(5, 6, 1, 1, 0),
            edit(6, 6, 1, 1, CREATED),
        ];
        let expected = [
            (0, 0),
            (1, 0),
            (0, 1),
            (1, 1),
            (1, 2),
            (0, 2),
            (0, 3),
            (0, 4),
            (2, 0),
        ];
        let renames = [(2, 0, 5)];
        assert_eq!(assign(&edits, &[], &renames, &[(5, 6)]), expected);
        for known in 0..=edits.len() {
            let moved = if known > 6 { &[][..] } else { &[(5, 6)][..] };
            assert_eq!(
                assign(&edits, &expected[..known], &renames, moved),
                expected
            );
        }
    }
}
