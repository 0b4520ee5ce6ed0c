//! A statement's nodes in, whether the grammar might have made others of it in another text out.
//!
//! The grammar is ambiguous in three corners, and settles them by what else is in the text: which of several trees
//! `*a.b, c` and `(*a)` get, whether a line that ends in a comma goes on in the next, and whether `[a]` or `(a).b`
//! goes on from a line with a comma in it. A piece of a source says nothing certain of them, so a source with such a
//! statement is parsed whole.

use tree_sitter::Node;

/// Whether the tree of a statement may depend on what is around it.
pub(crate) fn is_unsettled(nodes: &[Node<'_>]) -> bool {
    nodes.first().is_some_and(|&n| starts_with_bracket(n))
        || nodes.last().is_some_and(|&n| ends_in_comma(n))
        || nodes.iter().any(|&n| unpacks(n))
}

/// `[a] = b` or `(a).b`: after `c = d, e` that is a subscript of `e`, or an attribute of a call of it.
fn starts_with_bracket(statement: Node<'_>) -> bool {
    let Some(mut first) = statement.child(0) else {
        return false;
    };
    while matches!(
        first.kind(),
        "assignment" | "augmented_assignment" | "pattern_list"
    ) && let Some(left) = first.child(0)
    {
        first = left;
    }
    // What could be assigned to if it went on from there: no call, and so no tuple.
    let is_place = matches!(
        first.kind(),
        "list" | "list_pattern" | "attribute" | "subscript"
    );
    while let Some(child) = first.child(0) {
        first = child;
    }
    is_place && matches!(first.kind(), "[" | "(")
}

/// `a,` alone on a line: an assignment on the next line has two targets then.
fn ends_in_comma(node: Node<'_>) -> bool {
    let (mut node, mut statement) = (node, node);
    while let Some(last) = last_child(node) {
        statement = node;
        node = last;
    }
    if statement.kind() != "expression_statement" || node.kind() != "," {
        return false;
    }
    let mut cursor = statement.walk();
    statement.children(&mut cursor).all(|c| {
        let may_be_target = matches!(
            c.kind(),
            "," | "identifier"
                | "attribute"
                | "subscript"
                | "list"
                | "tuple"
                | "parenthesized_expression"
                | "list_splat"
        );
        may_be_target || c.is_extra()
    })
}

fn last_child(node: Node<'_>) -> Option<Node<'_>> {
    let own = (0..node.child_count())
        .rev()
        .filter_map(|i| node.child(i as u32));
    own.into_iter().find(|c| !c.is_extra())
}

/// Something is unpacked in a place where the grammar takes a star for one of several things.
fn unpacks(root: Node<'_>) -> bool {
    let mut cursor = root.walk();
    loop {
        let node = cursor.node();
        if matches!(node.kind(), "list_splat" | "list_splat_pattern") && is_odd(node) {
            return true;
        }
        if cursor.goto_first_child() {
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return false;
            }
        }
    }
}

fn is_odd(splat: Node<'_>) -> bool {
    let mut is_plain = splat
        .child(1)
        .is_some_and(|operand| operand.kind() == "identifier");
    let mut around = splat.parent();
    // What the star may or may not belong to: `(*a).b` or `*(a.b)`.
    while let Some(node) = around.filter(|n| takes_operands(n.kind())) {
        is_plain = false;
        around = node.parent();
    }
    let Some(mut node) = around else {
        return true;
    };
    let is_settled = match node.kind() {
        "parenthesized_expression" | "parenthesized_list_splat" => false,
        "tuple" => has_comma(node),
        "argument_list" | "list" | "set" => true,
        _ => is_plain,
    };
    if is_plain || !is_settled {
        return !is_settled;
    }
    loop {
        match node.kind() {
            "expression_list" | "pattern_list" => return true,
            "expression_statement" => return has_comma(node),
            _ => {}
        }
        let Some(parent) = node.parent() else {
            return false;
        };
        node = parent;
    }
}

fn takes_operands(kind: &str) -> bool {
    matches!(
        kind,
        "attribute"
            | "subscript"
            | "call"
            | "binary_operator"
            | "boolean_operator"
            | "comparison_operator"
            | "conditional_expression"
    )
}

fn has_comma(node: Node<'_>) -> bool {
    let mut cursor = node.walk();
    node.children(&mut cursor).any(|c| c.kind() == ",")
}
