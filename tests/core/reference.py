"""Python source in, tokens and units out: the readable reference that the Rust core is checked against.

Written apart from the core, recursively and on the tree-sitter Python package; the two share only the
vocabulary table and the grammar.
"""

from __future__ import annotations

import codecs
import contextlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import tree_sitter_python
from tree_sitter import Language, Node, Parser

TABLE = Path(__file__).parents[2] / "rust" / "core" / "vocab" / "python-v1.tsv"
# Real files hold binary operators nested hundreds deep; each level takes two of our frames.
sys.setrecursionlimit(max(sys.getrecursionlimit(), 20_000))
DEFINITIONS = ("function_definition", "class_definition", "decorated_definition")
# Nodes whose children may be definitions.
CONTAINERS = frozenset(
    [
        "block",
        "if_statement",
        "elif_clause",
        "else_clause",
        "try_statement",
        "except_clause",
        "finally_clause",
        "with_statement",
        "for_statement",
        "while_statement",
        "match_statement",
        "case_clause",
        "ERROR",
    ]
)


def decoded(source: bytes) -> bytes:
    """A source as UTF-8, by the rules of `decode.rs` but for UTF-16 and UTF-32."""
    source = source.removeprefix(b"\xef\xbb\xbf")
    try:
        source.decode("utf-8")
    except UnicodeDecodeError:
        for line in source.splitlines()[:2]:
            cookie = re.match(rb"[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", line)
            if cookie:
                with contextlib.suppress(LookupError):
                    return source.decode(cookie[1].decode("ascii"), "replace").encode("utf-8")
            if re.match(rb"[ \t\f]*(?:[#\r\n]|$)", line) is None:
                break
        return source.decode("utf-8", "codewm-latin-1").encode("utf-8")
    return source


def _as_latin_1(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error("codewm-latin-1", _as_latin_1)


def _fnv1a(data: bytes) -> int:
    h = 0x811C9DC5
    for byte in data:
        h = ((h ^ byte) * 0x01000193) & 0xFFFFFFFF
    return h


class Table:
    """The vocabulary table, read afresh."""

    def __init__(self) -> None:
        self.ids: dict[str, int] = {}
        self.rule: dict[str, str] = {}
        self.operators: set[str] = set()
        self.sizes: dict[str, int] = {}
        self.first: dict[str, int] = {}
        for line in TABLE.read_text("utf-8").splitlines():
            if line.startswith("#"):
                continue
            number, cls, name = line.split("\t", 2)
            if number != "-":
                self.first.setdefault(cls, int(number))
                self.sizes[cls] = self.sizes.get(cls, 0) + 1
            if cls == "op":
                self.operators.add(name)
            if cls in ("op", "special") or number != "-":
                self.ids[f"op:{name}" if cls == "op" else name] = int(number)
            if cls not in ("op", "special", "depth", "identifier", "string", "number"):
                self.rule[name] = cls

    def bucket(self, cls: str, data: bytes) -> int:
        return self.first[cls] + _fnv1a(data) % self.sizes[cls]


@dataclass
class ReferenceUnit:
    """What the reference says of one unit."""

    name: str
    kind: str
    tokens: list[int]


class Reference:
    """One source, tokenised by the book."""

    table = Table()

    def __init__(self, source: bytes) -> None:
        self.source = source = decoded(source)
        self.root = Parser(Language(tree_sitter_python.language())).parse(source).root_node

    def text(self, node: Node) -> bytes:
        return self.source[node.start_byte : node.end_byte]

    def emit(
        self, node: Node, parents: list[Node], depth: int, nested: bool, own: tuple[int, ...]
    ) -> list[int]:
        """Tokens of a node and everything below it."""
        t = self.table
        if node.is_missing:
            return [t.ids["<error>"]]
        if node.is_error:
            return [t.ids["<error>"], *self.children(node, parents, depth, nested, own)]
        if node.type in DEFINITIONS and not nested and node.id not in own:
            return []
        if not node.is_named:
            suffix = (
                t.rule.get(parents[-1].type, "").partition("+")[2] if parents and parents[-1].is_named else ""
            )
            shown = suffix == "ops" or suffix == node.type
            return [t.ids[f"op:{node.type}"]] if shown and node.type in t.operators else []
        rule = t.rule.get(node.type, "").partition("+")[0]
        marker = t.ids[f"<depth-{min(depth, 15)}>"]
        inner = depth + 1 if node.type == "block" else depth
        if rule == "skip":
            return []
        if rule == "hashed-identifier":
            return [t.bucket("identifier", self.text(node))]
        if rule == "hashed-number":
            return [t.bucket("number", self.text(node).replace(b"_", b"").lower())]
        below = lambda: self.children(node, parents, inner, nested, own)  # noqa: E731
        if rule == "hashed-string":
            return [t.bucket("string", self.string(node)), *below()]
        if rule == "bare":
            return [marker, t.ids["<docstring>"]] if self.is_docstring(node) else [marker, *below()]
        if rule == "transparent":
            return below()
        if rule == "stmt":
            return [marker, t.ids[node.type], *below()]
        if rule == "kind":
            return [t.ids[node.type], *below()]
        if rule == "bracket":
            return [t.ids[node.type], *below(), t.ids["<end>"]]
        return [t.ids["<unknown>"], *below()]

    def children(
        self, node: Node, parents: list[Node], depth: int, nested: bool, own: tuple[int, ...]
    ) -> list[int]:
        out: list[int] = []
        for child in node.children:
            out += self.emit(child, [*parents, node], depth, nested, own)
        return out

    def string(self, node: Node) -> bytes:
        out = b""
        for child in node.children:
            if child.type == "string_start":
                out += bytes(
                    b for b in self.text(child).lower() if chr(b).isalpha() and b < 128 and b != ord("u")
                )
            elif child.type == "string_content":
                out += b":" + self.text(child)
        return out

    def is_docstring(self, node: Node) -> bool:
        """First statement of a module, class or function, made of one plain string."""
        only = node.named_children
        if len(only) != 1 or only[0].type not in ("string", "concatenated_string"):
            return False
        parent = node.parent
        if parent is None:
            return False
        statements = [c for c in parent.named_children if c.type != "comment"]
        if not statements or statements[0].id != node.id:
            return False
        if parent.type == "module":
            return True
        owner = parent.parent
        return parent.type == "block" and owner is not None and owner.type in DEFINITIONS[:2]

    def tokens(self) -> list[int]:
        """The whole source as one sequence."""
        return self.emit(self.root, [], 0, True, ())

    def units(self) -> list[ReferenceUnit]:
        """Units in order of their first byte."""
        found: list[tuple[int, int, str, str, list[int]]] = []
        seen: dict[str, int] = {}

        def add(nodes: list[Node], name: str, kind: str) -> None:
            tokens: list[int] = []
            for node in nodes:
                own = (node.id,)
                inner = (
                    node.child_by_field_name("definition") if node.type == "decorated_definition" else None
                )
                if inner is not None:
                    own = (node.id, inner.id)
                tokens += self.emit(node, [], 0, kind in ("function", "method"), own)
            if not tokens:
                return
            seen[name] = seen.get(name, 0) + 1
            numbered = name if seen[name] == 1 else f"{name}#{seen[name]}"
            found.append((nodes[0].start_byte, nodes[-1].end_byte, numbered, kind, tokens))

        def name_of(node: Node) -> str:
            inner = node.child_by_field_name("definition") if node.type == "decorated_definition" else node
            name = inner.child_by_field_name("name") if inner is not None else None
            return (self.text(name).decode("utf-8", "replace") if name is not None else "") or "?"

        def search(node: Node, prefix: str, in_class: bool) -> None:
            if node.type in DEFINITIONS:
                inner = (
                    node.child_by_field_name("definition") if node.type == "decorated_definition" else node
                )
                if inner is None:
                    return
                name = prefix + name_of(node)
                if inner.type == "class_definition":
                    add([node], name, "class")
                    body = inner.child_by_field_name("body")
                    if body is not None:
                        search(body, f"{name}.", True)
                else:
                    add([node], name, "method" if in_class else "function")
            elif node.type in CONTAINERS or node.is_error:
                for child in node.named_children:
                    search(child, prefix, in_class)

        run: list[Node] = []
        run_name = "<module>"
        for child in self.root.children:
            if child.is_extra and not child.is_error:
                continue
            if child.type in DEFINITIONS:
                if run:
                    add(run, run_name, "module")
                run, run_name = [], f"<module after {name_of(child)}>"
            else:
                run.append(child)
            search(child, "", False)
        if run:
            add(run, run_name, "module")
        return [ReferenceUnit(n, k, t) for _, _, n, k, t in sorted(found, key=lambda u: u[:2])]
