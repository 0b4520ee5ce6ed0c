//! One unit's edit in, its action vector out.
//!
//! `v7` is the papers' (type x scope x location); `v15` is their richer syntax-diff descriptor, read for one unit
//! instead of a file. Both are computed from (s, s'): they describe the edit, they do not foresee it.

use crate::error::{Error, Result};
use crate::units::Kind;
use crate::vocab::vocabulary;

/// Names of the dimensions of `v15`; `v7` is the first seven.
pub const NAMES: [&str; 15] = [
    "type_add",
    "type_delete",
    "type_modify",
    "scope_function",
    "scope_class",
    "scope_module",
    "location",
    "size_delta",
    "definitions_added",
    "definitions_removed",
    "statements_changed",
    "imports_added",
    "control_flow_delta",
    "class_decorator_delta",
    "length_ratio",
];

/// Which action vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Seven dimensions.
    V7,
    /// Fifteen dimensions.
    V15,
}

impl Version {
    /// By its name, `v7` or `v15`; anything else is an error.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "v7" => Ok(Version::V7),
            "v15" => Ok(Version::V15),
            other => Err(Error::InvalidInput(format!(
                "unknown action {other:?}; there are v7 and v15"
            ))),
        }
    }

    /// Number of dimensions.
    pub fn dim(self) -> usize {
        match self {
            Version::V7 => 7,
            Version::V15 => 15,
        }
    }

    /// Names of the dimensions.
    pub fn names(self) -> &'static [&'static str] {
        &NAMES[..self.dim()]
    }
}

/// The edit of one unit, as the action encoder sees it.
pub struct EditView<'a> {
    /// The unit's kind (of the after side unless it was deleted).
    pub kind: Kind,
    /// Tokens before, unwindowed; none if the unit did not exist.
    pub before: Option<&'a [u16]>,
    /// Tokens after, unwindowed; none if the unit is gone.
    pub after: Option<&'a [u16]>,
    /// Index of the first token that differs.
    pub first_change: usize,
    /// Tokens of changed places, before side.
    pub removed: &'a [u16],
    /// Tokens of changed places, after side.
    pub added: &'a [u16],
}

/// How often certain syntax occurs in a run of tokens.
#[derive(Default)]
struct Counts {
    definitions: i32,
    statements: i32,
    imports: i32,
    control_flow: i32,
    class_decorator: i32,
}

fn count(tokens: &[u16]) -> Counts {
    let v = vocabulary();
    let mut c = Counts::default();
    for &t in tokens {
        if v.depth.contains(t) {
            c.statements += 1;
            continue;
        }
        let Some(name) = v.names().get(usize::from(t)) else {
            continue;
        };
        match name.as_str() {
            "function_definition" | "lambda" => c.definitions += 1,
            "import_statement" | "import_from_statement" | "future_import_statement" => {
                c.imports += 1
            }
            "if_statement" | "for_statement" | "while_statement" | "try_statement"
            | "with_statement" | "match_statement" => c.control_flow += 1,
            "class_definition" | "decorator" => c.class_decorator += 1,
            _ => {}
        }
    }
    c
}

/// A count capped at `cap` and scaled to [0, 1].
fn capped(n: i32, cap: i32) -> f32 {
    n.clamp(0, cap) as f32 / cap as f32
}

/// Appends the action vector, every entry in [0, 1].
pub fn encode(edit: &EditView<'_>, version: Version, out: &mut Vec<f32>) {
    let (lb, la) = (
        edit.before.map_or(0, <[u16]>::len),
        edit.after.map_or(0, <[u16]>::len),
    );
    let longest = la.max(lb).max(1) as f32;
    let flag = |b: bool| f32::from(u8::from(b));
    let (exists_before, exists_after) = (edit.before.is_some(), edit.after.is_some());
    let mut v = [0.0_f32; 15];
    v[0] = flag(!exists_before);
    v[1] = flag(!exists_after);
    v[2] = flag(exists_before && exists_after);
    v[3] = flag(matches!(edit.kind, Kind::Function | Kind::Method));
    v[4] = flag(edit.kind == Kind::Class);
    v[5] = flag(edit.kind == Kind::Module);
    v[6] = edit.first_change as f32 / longest;
    let (removed, added) = (count(edit.removed), count(edit.added));
    v[7] = 0.5 + 0.5 * (la as f32 - lb as f32) / longest;
    v[8] = capped(added.definitions - removed.definitions, 5);
    v[9] = capped(removed.definitions - added.definitions, 5);
    v[10] = capped(added.statements.max(removed.statements), 10);
    v[11] = capped(added.imports - removed.imports, 5);
    v[12] = capped((added.control_flow - removed.control_flow).abs(), 10);
    v[13] = capped((added.class_decorator - removed.class_decorator).abs(), 5);
    v[14] = (la as f32 / lb.max(1) as f32).min(3.0) / 3.0;
    out.extend_from_slice(&v[..version.dim()]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_created_function_is_an_addition_at_the_start() {
        let after = [100, 200, 300];
        let edit = EditView {
            kind: Kind::Function,
            before: None,
            after: Some(&after),
            first_change: 0,
            removed: &[],
            added: &after,
        };
        let mut v = Vec::new();
        encode(&edit, Version::V15, &mut v);
        assert_eq!(&v[..8], &[1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        assert!(v.iter().all(|x| (0.0..=1.0).contains(x)));
    }
}
