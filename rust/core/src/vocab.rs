//! The explicit, versioned vocabulary: a table in, token ids and emission rules out.
//!
//! `vocab/python-v1.tsv` lists every token id once, with its class, and after them the syntax kinds that have
//! no token of their own. The classes are the tokeniser's whole rule book:
//!
//! | class | what a node of that kind emits |
//! |---|---|
//! | `stmt` | its depth marker, its kind, then its children |
//! | `bare` | its depth marker, then its children |
//! | `kind` | its kind, then its children |
//! | `bracket` | its kind, its children, then `<end>` |
//! | `transparent` | only its children |
//! | `skip` | nothing |
//! | `op` | its token, where the parent's class carries `+ops` (or `+async`, for `async` alone) |
//! | `hashed-*` | one bucket of FNV-1a over its text |
//!
//! The tokeniser id is the hash of the table and of the algorithm's version, so a change of either is seen.

use std::collections::HashMap;
use std::sync::LazyLock;

use tree_sitter::Language;

const TABLE: &str = include_str!("../vocab/python-v1.tsv");

/// Raised whenever `tokens.rs` or `units.rs` emit anything else for the same table.
const ALGORITHM_VERSION: u8 = 1;

/// Padding; never part of a state.
pub const PAD: u16 = 0;
/// The whole state of a unit that does not exist.
pub const EMPTY: u16 = 1;
/// Masked token, used in training only.
pub const MASK: u16 = 2;
/// Stands where a window cut the unit.
pub const TRUNC: u16 = 3;
/// A syntax error or a missing token.
pub const ERROR: u16 = 4;
/// A docstring; its text is not part of the state.
pub const DOCSTRING: u16 = 5;
/// Closes a bracket.
pub const END: u16 = 6;
/// A syntax kind that the table does not know.
pub const UNKNOWN: u16 = 7;

/// What a syntax kind emits; see the table above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Depth marker, kind, children.
    Statement(u16),
    /// Depth marker, children.
    Bare,
    /// Kind, children.
    Kind(u16),
    /// Kind, children, `<end>`.
    Bracket(u16),
    /// Children only.
    Transparent,
    /// Nothing.
    Skip,
    /// An operator token, if the parent shows its operators.
    Operator(u16),
    /// A hashed identifier.
    Identifier,
    /// A hashed string.
    String,
    /// A hashed number.
    Number,
}

/// Which of its operator children a syntax kind shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operators {
    /// None.
    Hidden,
    /// The keyword `async`.
    Async,
    /// All.
    Shown,
}

/// A contiguous range of token ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    /// First id.
    pub first: u16,
    /// Last id, inclusive.
    pub last: u16,
}

impl IdRange {
    /// The id in this range for a piece of text, by FNV-1a.
    pub fn bucket(self, text: &[u8]) -> u16 {
        self.at(fnv1a_32(text))
    }

    /// The id in this range for a text with this hash.
    pub(crate) fn at(self, hash: u32) -> u16 {
        let n = u32::from(self.last - self.first) + 1;
        // The remainder is below the range's length, which fits.
        self.first + (hash % n) as u16
    }

    /// Whether an id lies in the range.
    pub fn contains(self, id: u16) -> bool {
        (self.first..=self.last).contains(&id)
    }
}

/// The parsed table, indexed by the grammar's symbol ids.
pub struct Vocabulary {
    names: Vec<String>,
    rules: Vec<Rule>,
    operators: Vec<Operators>,
    by_name: HashMap<String, u16>,
    /// Statement-depth markers.
    pub depth: IdRange,
    /// Identifier buckets.
    pub identifier: IdRange,
    /// String buckets.
    pub string: IdRange,
    /// Number buckets.
    pub number: IdRange,
    /// Operators.
    pub operator: IdRange,
    id: String,
}

static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(Vocabulary::parse);

/// The one vocabulary of this build.
pub fn vocabulary() -> &'static Vocabulary {
    &VOCABULARY
}

/// The grammar the table was made for.
pub fn language() -> Language {
    tree_sitter_python::LANGUAGE.into()
}

/// FNV-1a, 32 bits, no salt: the same bucket on every machine and in every process.
pub fn fnv1a_32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(FNV_32, |h, &b| fnv1a_32_on(h, b))
}

/// The hash of nothing, to go on from.
pub(crate) const FNV_32: u32 = 0x811c_9dc5;

/// The hash of one byte more.
pub(crate) fn fnv1a_32_on(hash: u32, byte: u8) -> u32 {
    (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
}

/// FNV-1a, 64 bits.
pub fn fnv1a_64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, &b| {
        (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl Vocabulary {
    fn parse() -> Self {
        let language = language();
        let symbols = language.node_kind_count();
        let mut names = Vec::new();
        let mut named: HashMap<&str, (Rule, Operators)> = HashMap::new();
        let mut operator_rules: HashMap<&str, Rule> = HashMap::new();
        let mut ranges: HashMap<&str, IdRange> = HashMap::new();
        for line in TABLE.lines().filter(|l| !l.starts_with('#')) {
            let mut fields = line.splitn(3, '\t');
            let (Some(id), Some(class), Some(name)) = (fields.next(), fields.next(), fields.next())
            else {
                panic!("vocabulary table: malformed line {line:?}");
            };
            let id = id.parse::<u16>().unwrap_or(UNKNOWN);
            let (class, shown) = match class.split_once('+') {
                None => (class, Operators::Hidden),
                Some((base, "ops")) => (base, Operators::Shown),
                Some((base, "async")) => (base, Operators::Async),
                Some((_, other)) => panic!("vocabulary table: unknown suffix {other:?}"),
            };
            let rule = match class {
                "stmt" => Some(Rule::Statement(id)),
                "kind" => Some(Rule::Kind(id)),
                "bracket" => Some(Rule::Bracket(id)),
                "op" => Some(Rule::Operator(id)),
                "bare" => Some(Rule::Bare),
                "transparent" => Some(Rule::Transparent),
                "skip" => Some(Rule::Skip),
                "hashed-identifier" => Some(Rule::Identifier),
                "hashed-string" => Some(Rule::String),
                "hashed-number" => Some(Rule::Number),
                _ => None,
            };
            match rule {
                Some(rule @ Rule::Operator(_)) => {
                    operator_rules.insert(name, rule);
                }
                Some(rule) => {
                    named.insert(name, (rule, shown));
                }
                None => {}
            }
            if line.starts_with('-') {
                continue;
            }
            assert_eq!(
                usize::from(id),
                names.len(),
                "vocabulary table: ids must count up"
            );
            names.push(name.to_owned());
            ranges
                .entry(class)
                .or_insert(IdRange {
                    first: id,
                    last: id,
                })
                .last = id;
        }
        let mut rules = Vec::with_capacity(symbols);
        let mut operators = Vec::with_capacity(symbols);
        for symbol in 0..symbols {
            // The grammar has at most 65,535 symbols by its own type.
            let symbol = symbol as u16;
            let kind = language.node_kind_for_id(symbol).unwrap_or("");
            if language.node_kind_is_named(symbol) {
                let (rule, shown) = named
                    .get(kind)
                    .copied()
                    .unwrap_or((Rule::Kind(UNKNOWN), Operators::Hidden));
                rules.push(rule);
                operators.push(shown);
            } else {
                rules.push(operator_rules.get(kind).copied().unwrap_or(Rule::Skip));
                operators.push(Operators::Hidden);
            }
        }
        let by_name = names
            .iter()
            .enumerate()
            .map(|(i, n)| (n.clone(), i as u16))
            .collect();
        Vocabulary {
            id: format!(
                "python-v{ALGORITHM_VERSION}-{:016x}",
                fnv1a_64(TABLE.as_bytes())
            ),
            depth: ranges["depth"],
            identifier: ranges["identifier"],
            string: ranges["string"],
            number: ranges["number"],
            operator: ranges["op"],
            names,
            rules,
            operators,
            by_name,
        }
    }

    /// The id stored in every artefact; a mismatch is refused.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Every token's name, by id.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The id of a token by its name in the table.
    pub fn token(&self, name: &str) -> Option<u16> {
        self.by_name.get(name).copied()
    }

    /// What a node with this grammar symbol emits.
    pub fn rule(&self, symbol: u16) -> Rule {
        self.rules
            .get(usize::from(symbol))
            .copied()
            .unwrap_or(Rule::Kind(UNKNOWN))
    }

    /// Which operator children of this symbol are emitted.
    pub fn operators(&self, symbol: u16) -> Operators {
        self.operators
            .get(usize::from(symbol))
            .copied()
            .unwrap_or(Operators::Hidden)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_knows_every_visible_kind_of_the_grammar() {
        let language = language();
        let v = vocabulary();
        // `ERROR` is handled before the table; supertypes never appear in a tree.
        for symbol in 0..language.node_kind_count() as u16 {
            let visible =
                language.node_kind_is_named(symbol) && language.node_kind_is_visible(symbol);
            if visible && !language.node_kind_is_supertype(symbol) {
                let kind = language.node_kind_for_id(symbol).unwrap_or("");
                assert_ne!(v.rule(symbol), Rule::Kind(UNKNOWN), "no rule for {kind}");
            }
        }
        assert!(v.names().len() <= 1536);
    }

    #[test]
    fn buckets_are_the_published_fnv1a() {
        assert_eq!(fnv1a_32(b"foobar"), 0xbf9c_f968);
        assert_eq!(fnv1a_64(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
