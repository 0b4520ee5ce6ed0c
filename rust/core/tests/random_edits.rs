//! Claim: as in `incremental.rs`, for random edits of a source and for every line of a pool after every other.

use proptest::prelude::*;
use versions::check;

mod versions;

/// Of every kind of line, alone.
#[test]
fn every_pool_line_after_every_other() {
    for setting in [
        "{}",
        "class C:\n    {}",
        "def f():\n    {}",
        "x\n{}",
        "class C:\n    y\n    {}",
    ] {
        for pair in POOL.windows(2) {
            let of = |line: &str| setting.replace("{}", line.trim_start());
            check(&[&of(pair[0]), &of(pair[1]), &of(pair[0])]).expect("as parsed alone");
        }
    }
}

/// Lines as in real sources, and some as in none.
const POOL: [&str; 96] = [
    "",
    "    ",
    "# comment",
    "    # comment",
    "        # comment",
    "  # odd",
    "\t# tab",
    "import os",
    "from a.b import c, d as e",
    "x = 1",
    "    x = 1",
    "        x = 1",
    "\tx = 1",
    "y = x + 2.5",
    "    self.x = y",
    "        self.x = y",
    "        return self.x",
    "    return x",
    "        return",
    "    pass",
    "        pass",
    "def f(a, b=1):",
    "    def m(self, a):",
    "    def m(self, b): return b",
    "        def inner():",
    "def f(): pass",
    "class C:",
    "class C(A, B):",
    "    class D:",
    "class C: pass",
    "@decorated",
    "    @property",
    "    @x.setter",
    "@d(1, 'a')",
    "async def f():",
    "    async def m(self):",
    "        await x",
    "if a:",
    "    if a:",
    "        if a:",
    "else:",
    "    else:",
    "        else:",
    "elif b:",
    "    elif b:",
    "try:",
    "    try:",
    "except E as e:",
    "    except E:",
    "finally:",
    "for i in range(10):",
    "    for i in x:",
    "while True:",
    "    with a as b:",
    "match x:",
    "    case 1:",
    "    case _:",
    "'''doc'''",
    "    \"\"\"doc\"\"\"",
    "        'doc'",
    "'''",
    "    \"\"\"",
    "x = '''",
    "    x = [",
    "    ]",
    ")",
    "x = (",
    "}",
    "d = {'a': 1, 'b': [2, 3]}",
    "    f(a, b=c, *d, **e)",
    "print 'a'",
    "    print(a, file=b)",
    "exec 'a'",
    "x = f'{a!r} {b:>{c}}'",
    "    x = rb'\\d' + u'a'",
    "x = 'a' 'b'",
    "x = 1e-5 + .5 + 0xFF",
    "x = 1 \\",
    "    y; z;",
    "a; b",
    "    lambda x: x",
    "x: int = 1",
    "    x += 1",
    "a < b",
    "del x",
    "    global x",
    "assert x, 'm'",
    "raise E('a') from e",
    "    yield x",
    "type = 1",
    "match = 1",
    "naïve = 'é'",
    "    break",
    "x = not y",
    "    'a' if b else 'c'",
    "...",
];

const START: &str = "\"\"\"Module.\"\"\"\nimport os\nfrom a import b\n\nLIMIT = 10\n\n\nclass Cache(dict):\n    \"\"\"Doc.\"\"\"\n\n    size = 0\n\n    def get(self, key):\n        \"\"\"Get.\"\"\"\n        if key in self:\n            return self.data[key]\n        else:\n            raise KeyError(key)\n\n    @property\n    def total(self):\n        # Sum.\n        return sum(len(v) for v in self.values())\n\n    class Entry:\n        key = None\n\n        def __init__(self, key, value=None):\n            self.key, self.value = key, value\n\n\nif LIMIT:\n    def load(path):\n        with open(path) as f:\n            return f.read()\nelse:\n    load = None\n\n\n@b.register('x', limit=LIMIT)\ndef main(args):\n    try:\n        print('%s' % args)\n    except Exception as e:\n        return 1\n    # Done.\n    return 0\n\n\nif __name__ == '__main__':\n    main(os.sys.argv)\n";

/// An edit of one version; numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Edit {
    Delete(usize, usize),
    Duplicate(usize, usize),
    Swap(usize, usize),
    Insert(usize, usize),
    Replace(usize, usize),
    /// Moves some lines right (or, by nothing, left).
    Indent(usize, usize, &'static str),
    InsertChar(usize, char),
    DeleteChar(usize),
    Cut(usize),
    Restart,
}

fn edit() -> impl Strategy<Value = Edit> {
    let n = || 0..1000_usize;
    let spaces = prop::sample::select(vec!["", " ", "    ", "\t"]);
    let chars: Vec<char> = " \n\t'\"#\\()[]{}:;,.=<>-*@!`a_1éfbrELx\r"
        .chars()
        .collect();
    prop_oneof![
        3 => (n(), 1..4_usize).prop_map(|(a, b)| Edit::Delete(a, b)),
        2 => (n(), n()).prop_map(|(a, b)| Edit::Duplicate(a, b)),
        2 => (n(), n()).prop_map(|(a, b)| Edit::Swap(a, b)),
        6 => (n(), n()).prop_map(|(a, b)| Edit::Insert(a, b)),
        3 => (n(), n()).prop_map(|(a, b)| Edit::Replace(a, b)),
        2 => (n(), 1..8_usize, spaces).prop_map(|(a, b, c)| Edit::Indent(a, b, c)),
        2 => (0..5000_usize, prop::sample::select(chars)).prop_map(|(a, c)| Edit::InsertChar(a, c)),
        2 => (0..5000_usize).prop_map(Edit::DeleteChar),
        1 => (0..5000_usize).prop_map(Edit::Cut),
        1 => Just(Edit::Restart),
    ]
}

fn apply(text: &str, edit: &Edit, start: &str) -> String {
    let mut lines: Vec<&str> = text.split('\n').collect();
    let n = lines.len();
    let indented: Vec<String>;
    match *edit {
        Edit::Delete(at, count) => {
            let at = at % n;
            lines.drain(at..(at + count).min(n));
        }
        Edit::Duplicate(from, to) => lines.insert(to % n, lines[from % n]),
        Edit::Swap(a, b) => lines.swap(a % n, b % n),
        Edit::Insert(at, line) => lines.insert(at % n, POOL[line % POOL.len()]),
        Edit::Replace(at, line) => lines[at % n] = POOL[line % POOL.len()],
        Edit::Indent(at, count, by) => {
            let at = at % n;
            let end = (at + count).min(n);
            let moved = |l: &&str| match by {
                "" => l.strip_prefix("    ").unwrap_or(l).to_owned(),
                _ => format!("{by}{l}"),
            };
            indented = lines[at..end].iter().map(moved).collect();
            lines.splice(at..end, indented.iter().map(|l| &**l));
        }
        Edit::InsertChar(at, c) => {
            let mut chars: Vec<char> = text.chars().collect();
            chars.insert(at % (chars.len() + 1), c);
            return chars.into_iter().collect();
        }
        Edit::DeleteChar(at) => {
            let mut chars: Vec<char> = text.chars().collect();
            if !chars.is_empty() {
                chars.remove(at % chars.len());
            }
            return chars.into_iter().collect();
        }
        Edit::Cut(at) => {
            let chars = text.chars().count() + 1;
            return text.chars().take(at % chars).collect();
        }
        Edit::Restart => return start.to_owned(),
    }
    lines.join("\n")
}

/// A source, then edits of it, some at once.
fn versions() -> impl Strategy<Value = Vec<String>> {
    let pool = prop::collection::vec(prop::sample::select(POOL.to_vec()), 0..14);
    let start = prop_oneof![
        Just(START.to_owned()),
        pool.prop_map(|lines| lines.join("\n"))
    ];
    let edits = prop::collection::vec(prop::collection::vec(edit(), 1..4), 1..4);
    (start, edits, any::<bool>()).prop_map(|(start, edits, crlf)| {
        let mut versions = vec![start.clone()];
        for edits in edits {
            let last = versions.last().unwrap_or(&start).clone();
            versions.push(edits.iter().fold(last, |text, e| apply(&text, e, &start)));
        }
        if crlf && start.len() % 4 == 0 {
            versions = versions.iter().map(|v| v.replace('\n', "\r\n")).collect();
        }
        versions
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_edits(versions in versions()) {
        let versions: Vec<&str> = versions.iter().map(|v| &**v).collect();
        check(&versions).map_err(TestCaseError::fail)?;
    }
}
