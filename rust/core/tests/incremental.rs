//! Claim: a version parsed after another (`incremental::parse_after`) has the units, tokens, positions and names of
//! the same version parsed by itself (`units::parse`), whatever came before it.

use versions::check;

mod versions;

/// Checks the versions in order, in reverse, and each before and after nothing and itself.
fn all_orders(versions: &[&str]) {
    let mut orders: Vec<Vec<&str>> = vec![versions.to_vec()];
    orders.push(versions.iter().rev().copied().collect());
    for &version in versions {
        orders.push(vec!["", version, version, ""]);
    }
    // A version before every other: the way from it need not lead through those between.
    for &a in versions {
        orders.extend(versions.iter().map(|&b| vec![a, b]));
    }
    let wrong: Vec<String> = orders.iter().filter_map(|o| check(o).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong[0]);
}

/// A comment at every indentation after every kind of last statement.
#[test]
fn comments_after_the_last_statement() {
    let bodies = [
        "def f():\n    x\n",
        "class C:\n    def m(self):\n        x\n",
        "class C:\n    x = 1\n",
        "class C:\n    class D:\n        def m(self):\n            if x:\n                y\n",
        "def f():\n    if a:\n        b\n    else:\n        c\n",
        "if a:\n    def f():\n        b\n",
        "x = 1\n",
        "def f(): pass\n",
        "class C:\n    def m(self): pass\n",
        "def f():\n    x;\n",
        "class C:\n    '''doc'''\n",
    ];
    for body in bodies {
        for after in ["", "y = 2\n", "def g(): pass\n", "\n\n"] {
            let mut versions = vec![format!("{body}{after}")];
            for indent in 0..18 {
                let space = " ".repeat(indent);
                versions.push(format!("{body}{space}# c\n{after}"));
                versions.push(format!(
                    "{body}\n{space}# c\n\n    # d\n{space}# e\n{after}"
                ));
            }
            versions.push(format!("{body}\t# c\n{after}"));
            versions.push(format!(
                "{body}        # deep\n    # less\n  # odd\n# none\n{after}"
            ));
            let versions: Vec<&str> = versions.iter().map(|v| &**v).collect();
            check(&versions).expect("as parsed alone");
            let back: Vec<&str> = versions.iter().rev().copied().collect();
            check(&back).expect("as parsed alone");
            for version in versions {
                check(&[version]).expect("as parsed alone");
                check(&[version, body]).expect("as parsed alone");
                check(&[version, version.trim_end()]).expect("as parsed alone");
            }
        }
    }
}

#[test]
fn decorators() {
    all_orders(&[
        "class C:\n    def m(self):\n        return 1\n\ndef f():\n    pass\n",
        "class C:\n    @property\n    def m(self):\n        return 1\n\n@d\ndef f():\n    pass\n",
        "@c\nclass C:\n    @property\n    @other(1,\n      2)\n    # why\n\n    def m(self):\n        return 1\n\n@d.e\n\n@(yield_)\ndef f():\n    pass\n",
        "@c\nclass C:\n    @m.setter\n    def m(self):\n        return 1\n\n# of f\n@d  # here\ndef f(): pass\n",
        "@c\n@d\nclass C:\n    @a\n    class D:\n        @b\n        async def m(self):\n            return 1\n",
        "@c\nx = 1\n",
        "@c\n",
        "class C:\n    @c\n",
        "@c @d\ndef f(): pass\n",
    ]);
}

#[test]
fn a_docstring_becomes_first_and_no_longer_is() {
    all_orders(&[
        "'doc'\nx = 1\n\nclass C:\n    'doc'\n    x = 1\n\ndef f():\n    'doc'\n    return 1\n",
        "x = 1\n'doc'\n\nclass C:\n    x = 1\n    'doc'\n\ndef f():\n    return 1\n    'doc'\n",
        "# c\n'doc'\n\nclass C:\n    # c\n    'doc'\n\ndef f():\n\n    'doc'\n",
        "import a\n'doc'\n\nclass C:\n    import a\n    'doc'\n\ndef f():\n    import a\n    'doc'\n",
        "'other'\n'doc'\n\nclass C:\n    'other'\n    'doc'\n\ndef f():\n    'other'\n    'doc'\n",
        "('doc')\nclass C:\n    ('doc')\n    x = 1\n\ndef f():\n    ('doc')\n    return 1\n",
        "'doc' 'more'\nclass C:\n    'doc' 'more'\ndef f():\n    'doc', 'more'\n",
        "r'doc'\nclass C:\n    b'doc'\ndef f():\n    u'doc'\n",
        "f'doc'\nclass C:\n    f'doc'\ndef f():\n    f'doc {x}'\n",
        "x = 1\nf'doc'\nclass C:\n    x = 1\n    f'doc'\ndef f():\n    x = 1\n    f'doc {x}'\n",
        "'doc'; x = 1\nclass C:\n    'doc'; x = 1\ndef f():\n    'doc'; return 1\n",
        "x = 1; 'doc'\nclass C:\n    x = 1; 'doc'\ndef f():\n    x = 1; 'doc'\n",
        "'doc'.x\nclass C:\n    'doc'.x\ndef f():\n    'doc' % x\n",
        "'''doc\n'''\nclass C:\n    '''doc\n    '''\ndef f():\n    '''doc\n    '''\n",
        "class C: 'doc'\ndef f(): 'doc'\n",
        "if x:\n    'doc'\nelse:\n    'doc'\n",
        "class C:\n    def m(self): pass\n    'doc'\n",
        "class C:\n    'doc'\n    def m(self): pass\n",
    ]);
}

#[test]
fn statements_that_go_on() {
    all_orders(&[
        "if a:\n    b\nc\n",
        "if a:\n    b\nelse:\n    c\n",
        "if a:\n    b\nelif d:\n    c\nelse:\n    e\n",
        "if a:\n    b\n# c\n\nelse:\n    c\n",
        "x = 1\nelse:\n    c\n",
        "else:\n    c\n",
        "for a in b:\n    c\nelse:\n    d\n",
        "while a:\n    c\nelse:\n    d\nelsewhere = 1\n",
        "try:\n    a\nexcept B:\n    c\n",
        "try:\n    a\nexcept B as e:\n    c\nexcept:\n    d\nelse:\n    e\nfinally:\n    f\n",
        "try:\n    a\nexcept* B:\n    c\nfinally:\n    f\nfinally_ = 1\n",
        "try: a\nexcept B: c\nfinally: f\n",
        "if a: b\nelse: c\n",
        "if a: b\nelif c: d\n",
        "def f():\n    if a:\n        b\n    else:\n        c\n",
        "def f():\n    if a:\n        b\n\n    else:\n        c\n    return d\n",
        "def f():\n    pass\nelse:\n    c\n",
        "class C:\n    if a:\n        x = 1\n    else:\n        x = 2\n",
        "class C:\n    try:\n        import a\n    except ImportError:\n        a = None\n    else:\n        def m(self): pass\n",
        "with a as b, c as d:\n    e\nwith (a as b,\n  c):\n    e\n",
    ]);
}

#[test]
fn strings_over_pieces() {
    all_orders(&[
        "x = 1\ny = 2\n\ndef f():\n    return 1\n\nz = '''\n'''\n",
        "x = '''1\ny = 2\n\ndef f():\n    return 1\n\nz = '''\n'''\n",
        "x = '''1\ny = 2\n\ndef f():\n    return 1\n\nz = '''\n",
        "x = 1\ny = 2\n\ndef f():\n    '''\n    return 1\n\nz = '''\n",
        "x = '1\ny = 2'\n",
        "x = '1\\\ny = 2'\n",
        "x = (1\ny = 2\n\ndef f():\n    return 1)\n",
        "x = [1,\n  2,\n# c\n]\ny = {'a': [1, (2)],\n}\n",
        "x = [1,\n  2,\n# ]\n]\ny = '''a\n# '''\n",
        "x = \"\"\"'''\"\"\"\ny = '''\"\"\"\n'''\n",
        "x = r'\\'\ny = 1\n",
        "x = r'\\' + '\ny = 1\n",
        "x = '\\\\'\ny = '\\''\nz = ''''''\nw = '' ''\n",
        "x = \"#\"  # '\ny = '#'  # \"\n",
        "x = 'a' 'b' \"c\"\\\n  'd'\n",
    ]);
}

#[test]
fn line_ends_tabs_and_control_characters() {
    let plain = "import a\n\nclass C:\n    x = 1\n\n    def m(self):\n        # c\n        return '''a\n  b'''\n    # end\n\ndef f(a,\n      b):\n    return a\\\n        + b\n";
    let crlf = plain.replace('\n', "\r\n");
    let cr = plain.replace('\n', "\r");
    let tabs = plain.replace("    ", "\t");
    let mixed = plain.replacen("\n", "\r\n", 5);
    let eights = plain.replace("    ", "        ");
    let feeds = plain.replace("\nclass", "\n\x0cclass");
    let feeds_inside = plain.replace("    x", "    \x0cx");
    let feeds_before = plain.replace("    x", "\x0c    x");
    let vertical = plain.replace("x =", "x\x0b=");
    let nul = plain.replace("x = 1", "x = 1\0");
    let mark = format!("\u{feff}{plain}");
    let lone = plain.replace("x = 1", "x = 1\r");
    let trailing = plain.replace("\n\n", "  \n\t\n");
    let no_end = plain.trim_end();
    let no_end_crlf = crlf.trim_end();
    let half_end = format!("{no_end}\r");
    let spaces = format!("{plain}   ");
    let comment = format!("{plain}   # c");
    let backslash = format!("{plain}\\");
    let backslash_line = format!("{plain}\\\n");
    let tab_then_spaces =
        "class C:\n\tx = 1\n        y = 2\n\n\tdef m(self):\n            return 1\n";
    let reindented = "class C:\n  x = 1\n  y = 2\n\n  def m(self):\n            return 1\n";
    let deeper = "class C:\n            x = 1\n            y = 2\n\n            def m(self):\n             return 1\n";
    all_orders(&[
        plain,
        &crlf,
        &cr,
        &tabs,
        &mixed,
        &eights,
        &feeds,
        &feeds_inside,
        &feeds_before,
        &vertical,
        &nul,
        &mark,
        &lone,
        &trailing,
        no_end,
        no_end_crlf,
        &half_end,
        &spaces,
        &comment,
        &backslash,
        &backslash_line,
        tab_then_spaces,
        reindented,
        deeper,
        "",
        "\n",
        "\r\n",
        "   ",
        "# c",
        "\\",
        "\\\n",
    ]);
}

#[test]
fn backslashes() {
    all_orders(&[
        "x = 1 + \\\n  2\ny = 3\n",
        "x = 1 + \\\r\n  2\ny = 3\n",
        "x = 1 + \\\n\n  2\ny = 3\n",
        "x = 1 \\\n# c\ny = 3\n",
        "x = 1  # c \\\ny = 3\n",
        "if a and \\\n   b:\n    c\n",
        "if a:\n    b\\\n\n    c\n",
        "def f(): \\\n    pass\nx\n",
        "def f():\\\n    pass\nx\n",
        "def \\\n  f():\n    pass\nx\n",
        "\\\nx = 1\ny = 3\n",
        "class C:\n\\\n    x = 1\n",
        "class C:\n    x = 1 \\\n\n    y = 2\n",
        "from a import b, \\\n    c\nfrom \\\n  d import e\n",
        "assert a, \\\n  'b'\nx \\\n= 1\n",
        "x = a \\ b\n",
        "x = 1\\\n",
        "x = 1\\",
    ]);
}

#[test]
fn one_line_definitions_and_semicolons() {
    all_orders(&[
        "def f(): pass\ndef g(): return 1\nclass C: pass\nclass D: x = 1; y = 2\n",
        "def f():\n    pass\ndef g():\n    return 1\nclass C:\n    pass\nclass D:\n    x = 1; y = 2\n",
        "def f(): pass;\ndef g(): return 1;  # c\nclass C: pass  # c\nclass D: x = 1; y = 2;\n",
        "def f():  # c\n    pass  # d\nclass C:  # c\n    pass;  # d\n",
        "x = 1; y = 2\nx = 1;\nx = 1; y = 2;\n",
        "def f():\n    x = 1; y = 2;\n",
        "def f():\n    x = 1; y = 2;\n    # c\n",
        "def f():\n    x = 1; y = 2;  # c\n",
        "def f():\n    x = 1 ;\n\n    y ; # c\nz ;\n",
        "def f(): ...\nclass C: ...\nclass D: ...;\n",
        "class C(object): x = lambda self: 1\ndef f(a, b=1, *c, d, **e) -> int: return a\n",
        "class C(): pass\nclass C:pass\nclass C(A, metaclass=B): pass\n",
        "x = 1;; y = 2\n",
        "; x\n",
        "class C: def m(self): pass\n",
        "class C:\n    def m(self): pass; x = 1\n    def n(self): x = 1;\n",
        "if a: b; c\nelse: d;\n",
        "lambda: (yield)\nx = [i for i in a if i]; del x\n",
    ]);
}

#[test]
fn nested_definitions() {
    all_orders(&[
        "class C:\n    class D:\n        x = 1\n        def m(self):\n            def inner():\n                class E: pass\n            return inner\n    def n(self): pass\n",
        "class C:\n    class D:\n        def m(self):\n            def inner():\n                pass\n            return inner\n        y = 2\n    def n(self): pass\n",
        "class C:\n    class D: pass\n    class E(D):\n        class F:\n            def m(self):\n                pass\n    z = 3\n",
        "class B:\n    class D: pass\n    class E(D):\n        class F:\n            def m(self):\n                pass\n    z = 3\n",
        "class C:\n    if a:\n        def m(self): pass\n    else:\n        def m(self): return 1\n        class D:\n            def n(self): pass\n    def m(self): pass\n",
        "if a:\n    def f():\n        pass\n    class C:\n        def m(self): pass\nelse:\n    def f(): return 1\n",
        "x = 1\nif a:\n    def f():\n        pass\n    class C:\n        def m(self): pass\nelse:\n    def f(): return 1\n",
        "try:\n    import a\nexcept ImportError:\n    def a(): pass\nwith x:\n    def f(): pass\nfor i in x:\n    class C:\n        def f(): pass\nwhile x:\n    def f(): pass\n",
        "match a:\n    case 1:\n        def f(): pass\n    case _:\n        def f(): return 1\n",
        "class C:\n    try:\n        def m(self): pass\n    finally:\n        x = 1\n    with a:\n        def m(self): pass\n",
        "def f():\n    if a:\n        def g(): pass\n        class D:\n            def m(self): pass\n    def h(): pass\n    return g\n",
        "def f():\n    def h(): pass\n    @d\n    def g(): pass\n    class D:\n        @e\n        def m(self): pass\n",
    ]);
}

#[test]
fn repeated_names_and_runs() {
    all_orders(&[
        "def f(): pass\ndef f(): pass\nif x:\n    def f(): pass\nclass C:\n    def f(self): pass\n    def f(self): pass\nclass C:\n    def f(self): pass\n",
        "def f(): pass\nif x:\n    def f(): pass\nclass C:\n    def f(self): pass\nclass C:\n    def f(self): pass\n    def f(self): pass\ndef f(): pass\n",
        "import a\nimport b\nx = 1\ndef f(): pass\ny = 2\nz = 3\ndef f(): pass\ny = 2\nz = 3\n",
        "import a\nx = 1\ndef f(): pass\nz = 3\ny = 2\ndef f(): pass\n\n# c\nz = 3\n",
        "import a\nimport b\nx = 1\ny = 2\nz = 3\n",
        "def f(): pass\n# c\n\ndef g(): pass\n# d\n",
        "pass\ndef f(): pass\npass\nclass f: pass\npass\n",
        "x\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\nx\n",
        "x\nx\nx\ny\nx\nx\nx\nx\nx\nx\nx\nx\nx\n",
    ]);
}

#[test]
fn kinds_of_statements() {
    all_orders(&[
        "async def f():\n    async with a as b:\n        await c\n    async for d in e:\n        yield d\n    return [x async for x in y]\n",
        "async  def f():\n    await c\nclass C:\n    async def m(self): await x\nasync def g(): pass\n",
        "async with a: pass\nasync for b in c: pass\nawait d\nasync = 1\n",
        "match a:\n    case 1 | 2:\n        b\n    case {'k': v, **rest} if v:\n        c\n    case [x, *y]:\n        d\n    case P(x=1):\n        e\n    case _:\n        f\n",
        "match = 1\nmatch(a)\nmatch.b\nmatch[1]\ncase = 2\ntype = 3\ntype(x)\n_ = 4\n",
        "match a, b:\n    case -1, 1.5: pass\ntype X = int\ntype Y[T] = list[T]\ndef f[T: int](a: T) -> T: return a\nclass C[T]: pass\n",
        "print 'a'\nprint >>f, 'a', 1\nexec 'a' in b\nprint\nprint('a')\nexec('a')\n",
        "print x\nexec x\nprint(x)\nprint (x), y\nprint = 1\n",
        "x = `a`\ny = `a + 'b'`\n",
        "raise E, 'a'\nexcept_ = 1\nx <> y\n0777\n",
        "try:\n    a\nexcept E, e:\n    b\n",
        "global a, b\nnonlocal c\ndel a, b[1], c.d\nassert a, b\nimport a.b as c, d\nfrom . import e\nfrom .f import *\nfrom __future__ import annotations\n",
        "x: int\nx: int = 1\nx = y = 2\nx += 1\nx, *y = z\nx[1:2, ::3] = 4\nx @= y\nx //= y\nx **= y\nx >>= y\n",
        "return 1\nyield 2\nyield from x\nawait y\nlambda *a, b=1, **c: a\nx if y else z\nnot x\nx not in y\nx is not y\n",
        "def f(a, /, b, *, c=1, **d): pass\ndef f(a: int = 1, *b: str, **c: int) -> 'x': pass\ndef f((a, b), c): pass\n",
        "f(a, *b, c=1, **d)\nf(x for x in y)\nf(c=c, d=(yield))\na.b.c(d).e[f](g)\n",
        "{**a, 'b': 1}\n{*a, 1}\n{a: b for a, b in c}\n{a for a in b}\n(a for a in b)\n()\n(a,)\n[]\n{}\n",
    ]);
}

#[test]
fn numbers() {
    all_orders(&[
        "a = 1e-5\nb = .5\nc = 1_000\nd = 0xFF\ne = 10L\nf = 1..real\ng = 1.5.real\n",
        "a = 1e+5\nb = 0.5\nc = 1000\nd = 255\ne = 10\nf = 1.real\ng = 15 .real\n",
        "a = 1E5\nb = 5.\nc = 1_0.0_1\nd = 0b11\ne = 1j\nf = 1 .real\ng = 1.e5\n",
        "a = 1e5\nb = 5.e-3\nc = 0o17\nd = 0XfF\ne = 1.5J\nf = 1.5e3j\ng = 0xe-5\n",
        "a = 1e\nb = 5..\nc = 1__0\nd = 0x\ne = 1l\nf = 1if x else 2\ng = 1or 2\n",
        "a = 1-5\nb = 1 -5\nc = x[1:2]\nd = x[.5:.5]\ne = x[1.:2.]\nf = x.5\ng = 00\n",
        "a = -1\nb = - 1\nc = ~1\nd = +.5\ne = 1--1\nf = 1 .5\ng = (.5)\n",
        "a = x1\nb = 1x\nc = _1\nd = 1_\ne = 0_0\nf = 0xg\ng = 1e5.real\n",
        "a = 12\nb = 12\nc = 12\nd = 12\ne = 12\nf = 12\ng = 12\n",
    ]);
}

#[test]
fn strings_with_prefixes() {
    all_orders(&[
        "a = 'x'\nb = \"x\"\nc = '''x'''\nd = ''\ne = \"\"\nf = ''''''\n",
        "a = b'x'\nb = r'x'\nc = u'x'\nd = rb'x'\ne = bR'x'\nf = Rb''\n",
        "a = B'x'\nb = R'x'\nc = U'x'\nd = rB'''x'''\ne = BR\"\"\nf = U''''''\n",
        "a = ub'x'\nb = ur'x'\nc = bu'x'\nd = rr'x'\ne = bbb'x'\nf = rub'x'\n",
        "a = f'x'\nb = rf'x{y}'\nc = fr'{x}{{}}'\nd = t'{x}'\ne = F'{x!r:>{w}}'\nf = fb'x'\n",
        "a = f'{x['y']}'\nb = f\"{x['y']}\"\nc = f'{f\"{1}\"}'\nd = f'{x:{y}}'\ne = f'{x=}'\nf = f'{'\n",
        "a = f'''{\nx\n}'''\nb = f'{lambda: 1}'\nc = f'a' 'b' f'{c}'\nd = f'{{}}'\ne = f'}'\nf = f'{}'\n",
        "a = '\\n\\x41\\u1234\\N{DASH}\\\\'\nb = b'\\n\\x41\\u1234'\nc = r'\\n\\x41'\nd = '\\'\\\"'\ne = '\\q'\nf = '\\777'\n",
        "a = bar'x'\nb = rub 'x'\nc = xb'x'\nd = b_'x'\ne = b1'x'\nf = br2'x'\n",
        "a = b 'x'\nb = r 'x'\nc = f 'x'\nd = u'x'u'y'\ne = 'x'b'y'\nf = 'x'if b else'y'\n",
        "a = print'x'\nb = x in'y'\nc = not'x'\nd = x or'y'\ne = lambda:'x'\nf = [b'x'for x in y]\n",
        "a = 'é'\nb = b'é'\nc = '😀'\nd = '''é\né'''\ne = r'é'\nf = u'é'\n",
        "a = 'tab\there'\nb = 'a' # 'b'\nc = '\\\n'\nd = 'a\\\nb'\ne = b'\\\n'\nf = r'\\\n'\n",
        "a = ' x '\nb = ' '\nc = '''\n x\n'''\nd = \"'\"\ne = '\"'\nf = '''''x'''\n",
    ]);
}

/// A raw string that begins with a continued line: the grammar sees no content in the shortest.
#[test]
fn raw_strings_that_begin_with_a_continued_line() {
    for prefix in ["r", "R", "rb", "bR", "b", "u", ""] {
        for quote in ["'", "\"", "'''"] {
            for text in [
                "\\\n", "\\\n\\\n", "\\\n y", "z\\\n", "\\\r\n", "\\", "\\\\", "\\n",
            ] {
                let of = |text: &str| format!("x = {prefix}{quote}{text}{quote}\n");
                check(&[&of("a"), &of(text), &of("")]).expect("as parsed alone");
                check(&[&of(""), &of(text), &of("a")]).expect("as parsed alone");
            }
        }
    }
}

/// What follows a decorator deeper or less deep is no error to the grammar.
#[test]
fn a_decorator_before_another_indentation() {
    for around in [
        "",
        "class C:\n",
        "def f():\n",
        "class C:\n    class D:\n    ",
    ] {
        for indent in ["", " ", "  ", "   ", "    ", "     ", "        ", "\t"] {
            for line in [
                "def i():",
                "def i(): pass",
                "class i:",
                "@q",
                "x",
                "async def i():",
            ] {
                for last in [
                    "    def t():\n        a\n",
                    "    def t(): a\n",
                    "    a\n",
                    "",
                ] {
                    let version = format!("{around}    @p\n{indent}{line}\n{last}");
                    check(&[around, &version, around]).expect("as parsed alone");
                    let flat = version.replace("\n    ", "\n");
                    check(&[&version, flat.trim_start()]).expect("as parsed alone");
                }
            }
        }
    }
}

/// In brackets, after a word that cannot end there, the grammar takes a line that is indented less for the end of
/// a suite; so it does with a comment.
#[test]
fn bracketed_lines_that_are_indented_less() {
    let codes = [
        "f(a for|b in c)",
        "f(a for b in|c)",
        "f(a for b,|c in d)",
        "x = [a,|b]",
        "x = (a +|b)",
        "x = {a:|b}",
        "f(a=|b)",
        "f(lambda:|b)",
        "f(lambda a,|b: c)",
        "f(not|b)",
        "f(a if|b else c)",
        "f(a if (b)|else c)",
        "f(a,|)",
        "def g(a,|b): pass",
        "def g(a=|b):\n            pass",
        "@d(a for|b in c)\n    def g(): pass",
        "f(''|'')",
        "f('''|''')",
        "f'''{|a}'''",
        "f'''{a for|b in c}'''",
        "f(a.|b)",
        "if (a and|b):\n            c",
        "from a import (b,|c)",
        "@d|\n    def g(): pass",
        "@d|\n    @e|\n    class g:\n        x",
    ];
    for around in [
        "",
        "def f():\n",
        "class C:\n",
        "class C:\n    def f(self):\n    ",
        "if a:\n",
        "def f():\n    if a:\n    ",
    ] {
        for indent in [
            "",
            " ",
            "   ",
            "    ",
            "     ",
            "       ",
            "        ",
            "         ",
        ] {
            for (comment, code) in codes.iter().flat_map(|c| [("", c), ("# c\n         ", c)]) {
                // With the same lexemes, and nothing odd.
                let plain = format!("{around}    {}\n    y\n", code.replace('|', " "));
                let code = code.replace('|', &format!("\n{indent}{comment}"));
                let version = format!("{around}    {code}\n    y\n");
                check(&[&plain, &version, &plain, around]).expect("as parsed alone");
                let flat = version.replace("\n    ", "\n");
                check(&[&version, flat.trim_start()]).expect("as parsed alone");
            }
        }
    }
}

/// Between a decorator and what it decorates the grammar looks at the indentation of comments.
#[test]
fn comments_under_a_decorator() {
    for around in [
        "def f():\n    if a:\n",
        "class C:\n    if a:\n",
        "def f():\n    def g():\n",
    ] {
        let of = |comment: &str| {
            format!("{around}        @d\n{comment}        def g(): pass\n        x\n")
        };
        for indent in 0..10 {
            let odd = of(&format!("{}# c\n", " ".repeat(indent)));
            check(&[&of(""), &odd, &of("        # c\n"), &odd]).expect("as parsed alone");
        }
    }
}

#[test]
fn operators_that_touch() {
    all_orders(&[
        "a<b\na< =b\na<=b\na< = b\na<-b\na<~b\n",
        "a<b\na<=b\na <= b\na<b>c\na<>b\na< >b\n",
        "a=b\na==b\na= =b\na=-b\na=(b)\na===b\n",
        "f(a:=b)\nf(a: =b)\n(a := b)\n(a: = b)\nx[a:=b]\nx[a:b]\n",
        "def f()->a: pass\ndef f()- >a: pass\ndef f() -> a: pass\ndef f()->a:pass\n",
        "...\n. . .\n.. .\nx[...]\nx[..., 1]\nx = ...\nx....y\n",
        "a**b\na* *b\na**-b\nf(**a)\nf(* *a)\nf(*a)\nf(*-a)\n",
        "a//b\na/ /b\na//=b\na/ /=b\na// =b\na->b\na-> b\n",
        "a@b\na@=b\na @ b\n@a\ndef f(): pass\n",
        "a>>b\na> >b\na>>=b\na> >=b\na>> =b\na!=b\na! =b\na!b\n",
        "a.b\na . b\na. b\na .b\na.\\\nb\na\\\n.b\nfrom.import a\nfrom . import a\nfrom ..import a\nfrom .. import a\nfrom ... import a\nfrom .... a import b\n",
        "a[b:c]\na[b: :c]\na[b::c]\na[::]\na[:]\na[: :]\n",
        "(a)(b)\n(a) (b)\n[a][b]\n{a}[b]\na(b)[c](d)\n-(-a)\n--a\n~-a\nnot(a)\n",
        "a if(b)else(c)\na and(b)\na in(b)\na is(not b)\na is not(b)\na not in(b)\n",
        "lambda:a\nlambda a:a\nlambda*a:a\nlambda**a:a\nlambda a,:a\n",
        "$\n?\na $ b\na?b\n!a\n",
    ]);
}

#[test]
fn names_beyond_ascii() {
    all_orders(&[
        "é = 1\ndef naïve(漢):\n    return 漢\nclass Ü:\n    def ö(self): pass\n",
        "e = 1\ndef naive(x):\n    return x\nclass U:\n    def o(self): pass\n",
        "é = 2\ndef naïve(漢, б):\n    return б\nclass Ü:\n    def ö(self): return é\n",
        "défi = 1\nelseé = 2\nclassé = 3\nasync défi\n",
        "def é(): pass\ndef éa(): pass\nclass é: pass\n",
        "x\u{a0}= 1\nx\u{3000}= 1\nx = '\u{2028}'\n# \u{85}\n😀 = 1\n",
    ]);
}

#[test]
fn syntax_errors_come_and_go() {
    let good = "import a\n\nclass C:\n    x = 1\n\n    def m(self):\n        return 1\n\ndef f():\n    return 2\n\ny = 3\n";
    let wrong = [
        good.replace("x = 1", "x = "),
        good.replace("x = 1", "x = )"),
        good.replace("import a", "import"),
        good.replace("return 1", "return return"),
        good.replace("def m(self):", "def m(self)"),
        good.replace("def m(self):", "def m(self:"),
        good.replace("def m(self):", "def (self):"),
        good.replace("class C:", "class :"),
        good.replace("class C:", "class C"),
        good.replace("        return 1", "    return 1"),
        good.replace("    return 2", "return 2"),
        good.replace("    return 2\n", ""),
        good.replace("    x = 1", "  x = 1"),
        good.replace("    x = 1", "      x = 1"),
        good.replace("    def m", "  def m"),
        good.replace("y = 3", "  y = 3"),
        good.replace("y = 3", "y = (3"),
        good.replace("y = 3", "y = 'a"),
        good.replace("y = 3", "<<<<<<< HEAD\ny = 3\n=======\ny = 4\n>>>>>>> b"),
        good.replace("import a", " import a"),
    ];
    let mut versions = vec![good];
    versions.extend(wrong.iter().map(|w| &**w));
    versions.push("");
    all_orders(&versions);
}
