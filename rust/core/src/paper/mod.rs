//! Python source in, the papers' 662-entry tokens of the whole file out.
//!
//! The layout is that of CodeWM's published data, restated from facts: 102 node types in alphabetical order (those of
//! CPython 3.9's `ast`), 512 identifier buckets from 100, five controls, 16 depth markers, 29 operators. The buckets'
//! first two ids are those of the last two node types (`YieldFrom` and `slice`): that collision is kept, because
//! moving either would be another layout; `slice` occurs in no tree, so what is lost is `yield from` against the one
//! identifier in 512 whose hash is 0. Identifiers are hashed by FNV-1a, where the published training data had
//! Python's salted `hash`.
//!
//! Where this departs from CPython's `ast`, by design: a file is a parse error wherever the grammar recovered from
//! one, and for syntax that is not Python 3.9's; a few errors that only CPython's compiler finds are not found; nesting
//! from 200 on is an error; and `a & b ^ c` is read with the grammar's precedence, which binds `^` before `&`.

mod table;
mod tree;

use std::collections::VecDeque;
use std::sync::LazyLock;

use crate::decode::decode;
use crate::error::Result;
use crate::vocab::fnv1a_32;
use table::{BUCKETS, DEPTHS, NODES, OPERATORS};
use tree::Ast;

/// Entries of the layout.
pub const VOCAB_SIZE: u16 = 662;
/// Padding; never part of what is returned.
pub const PAD: u16 = 612;
/// First token of every file.
pub const BOS: u16 = 613;
/// Last token of every file.
pub const EOS: u16 = 614;
/// A node whose type the layout leaves out.
pub const UNK: u16 = 615;
/// All there is of a file that does not parse.
pub const PARSE_ERROR: u16 = 616;
/// Tokens of a file at most, first and last included, in the papers.
pub const WINDOW: usize = 512;
const FIRST_BUCKET: u16 = 100;
const FIRST_DEPTH: u16 = 617;
const FIRST_OPERATOR: u16 = 633;
/// Raised whenever anything else is emitted for the same source.
const ALGORITHM_VERSION: u8 = 1;

/// Breadth first, as every published model was trained; or depth first, as the text says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As `ast.walk` yields nodes.
    BreadthFirst,
    /// Each node before its children.
    DepthFirst,
}

/// What a layout, an order and a version are told from: 16 hex digits.
pub fn id(order: Order) -> &'static str {
    static IDS: LazyLock<[String; 2]> = LazyLock::new(|| {
        [Order::BreadthFirst, Order::DepthFirst].map(|order| {
            let text = format!("{ALGORITHM_VERSION} {order:?} {NODES:?} {OPERATORS:?}");
            let hash = blake2b_simd::Params::new()
                .hash_length(8)
                .hash(text.as_bytes());
            format!("paper-{}", hash.to_hex())
        })
    });
    &IDS[usize::from(order == Order::DepthFirst)]
}

/// The bucket of an identifier.
pub fn bucket(name: &[u8]) -> u16 {
    // Below 512: it fits.
    FIRST_BUCKET + (fnv1a_32(name) % u32::from(BUCKETS)) as u16
}

/// The tokens of a whole file, cut at `window` without a mark, as published.
pub fn tokens(source: &[u8], order: Order, window: usize) -> Result<Vec<u16>> {
    let mut text = decode(source).into_owned();
    text.retain(|&b| b != 0);
    let mut out = vec![BOS];
    if !text.iter().all(u8::is_ascii_whitespace) {
        match tree::build(&text)? {
            Some(ast) => emit(&ast, order, window.saturating_sub(1), &mut out),
            None => out.push(PARSE_ERROR),
        }
    }
    out.push(EOS);
    Ok(out)
}

/// Type, depth marker, and what the node carries, for each node until there are `most` tokens.
fn emit(ast: &Ast, order: Order, most: usize, out: &mut Vec<u16>) {
    let depths = depths(ast);
    let mut waiting = VecDeque::from([ast.root]);
    while out.len() < most {
        let next = match order {
            Order::BreadthFirst => waiting.pop_front(),
            Order::DepthFirst => waiting.pop_back(),
        };
        let Some(at) = next else { break };
        let node = &ast.nodes[at];
        let depth = match node.shared {
            true => depths.shared[usize::from(node.kind)],
            false => depths.own[at],
        };
        out.extend([node.kind, FIRST_DEPTH + depth.min(DEPTHS - 1)]);
        out.extend(node.carries);
        match order {
            Order::BreadthFirst => waiting.extend(&node.children),
            Order::DepthFirst => waiting.extend(node.children.iter().rev()),
        }
    }
    out.truncate(most);
}

struct Depths {
    own: Vec<u16>,
    shared: Vec<u16>,
}

/// How deep each node lies.
///
/// CPython has one `Load`, one `Add` and so on for all of a tree, and the published depths are kept by node: the last
/// one visited, each node before its children, decides for all of them.
fn depths(ast: &Ast) -> Depths {
    let mut depths = Depths {
        own: vec![0; ast.nodes.len()],
        shared: vec![0; NODES.len()],
    };
    let mut waiting = vec![(ast.root, 0u16)];
    while let Some((at, depth)) = waiting.pop() {
        let node = &ast.nodes[at];
        if node.shared {
            depths.shared[usize::from(node.kind)] = depth;
        }
        depths.own[at] = depth;
        waiting.extend(node.children.iter().rev().map(|&c| (c, depth + 1)));
    }
    depths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(source: &str) -> Vec<u16> {
        tokens(source.as_bytes(), Order::BreadthFirst, WINDOW).expect("short")
    }

    #[test]
    fn the_layout_has_the_published_ids() {
        let id = |name: &str| table::node(name);
        assert_eq!(
            [
                id("Add"),
                id("FunctionDef"),
                id("Module"),
                id("Name"),
                id("slice")
            ],
            [0, 39, 65, 67, 101]
        );
        assert_eq!(FIRST_BUCKET + BUCKETS, PAD);
        assert_eq!(
            usize::from(FIRST_OPERATOR) + OPERATORS.len(),
            usize::from(VOCAB_SIZE)
        );
        assert_eq!(FIRST_DEPTH + DEPTHS, FIRST_OPERATOR);
    }

    #[test]
    fn blank_broken_and_newer_files() {
        assert_eq!(all(" \n\t"), [BOS, EOS]);
        for broken in [
            "def f(:",
            "print 1",
            "match x:\n    case 1: pass",
            "type A = int",
            "0777",
        ] {
            assert_eq!(all(broken), [BOS, PARSE_ERROR, EOS], "{broken}");
        }
    }

    #[test]
    fn a_name_by_hand() {
        let [module, expr, name, load] = ["Module", "Expr", "Name", "Load"].map(table::node);
        let d = FIRST_DEPTH;
        let expected = [
            BOS,
            module,
            d,
            expr,
            d + 1,
            name,
            d + 2,
            bucket(b"x"),
            load,
            d + 3,
            EOS,
        ];
        assert_eq!(all("x"), expected);
    }

    #[test]
    fn long_files_are_cut_without_a_mark() {
        let long = all(&"x = 1\n".repeat(500));
        assert_eq!((long.len(), long.last()), (WINDOW, Some(&EOS)));
    }

    #[test]
    fn deep_nesting_is_a_parse_error_and_no_crash() {
        let deep = format!("{}x{}", "(".repeat(5_000), ")".repeat(5_000));
        assert_eq!(all(&deep), [BOS, PARSE_ERROR, EOS]);
        let sum = vec!["x"; 5_000].join("+");
        assert_eq!(all(&sum), [BOS, PARSE_ERROR, EOS]);
    }
}
