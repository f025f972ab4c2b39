//! The documentation keeps up with the code.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};
use syn::{Expr, ItemConst};

use crate::source::{CRATES, production, read, root};

const MAX_ARCHITECTURE_LINES: usize = 250;

/// Constants of a crate: where each name is defined, and with which text as its value.
#[derive(Default)]
struct Constants(BTreeMap<String, BTreeSet<String>>);

impl<'ast> Visit<'ast> for Constants {
    fn visit_item_const(&mut self, item: &'ast ItemConst) {
        self.0.entry(item.ident.to_string()).or_default().extend(value(&item.expr));
        visit::visit_item_const(self, item);
    }
}

/// Returns a constant's value as the documentation writes it: `300 ms`, `2 s`, `64`.
fn value(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Lit(literal) => match &literal.lit {
            syn::Lit::Int(number) => Some(grouped(number.base10_digits())),
            syn::Lit::Float(number) => Some(number.base10_digits().to_owned()),
            _ => None,
        },
        Expr::Call(call) => {
            let Expr::Path(function) = &*call.func else { return None };
            let unit = match function.path.segments.last()?.ident.to_string().as_str() {
                "from_millis" => "ms",
                "from_secs" => "s",
                _ => return None,
            };
            let value = match call.args.first()? {
                Expr::Path(path) => path.path.get_ident()?.to_string(),
                other => value(other)?,
            };
            Some(format!("{value} {unit}"))
        }
        _ => None,
    }
}

/// Writes a number with a space between groups of three digits.
fn grouped(digits: &str) -> String {
    let first = digits.len() % 3;
    let (head, rest) = digits.split_at(if digits.len() < 5 { digits.len() } else { first });
    let groups = rest.as_bytes().chunks(3).map(|group| String::from_utf8_lossy(group).into_owned());
    let mut parts: Vec<_> = [head.to_owned()].into_iter().filter(|head| !head.is_empty()).collect();
    parts.extend(groups);
    parts.join(" ")
}

/// Returns the constants that the text names as `` `NAME` (value) ``.
fn named(text: &str) -> Vec<(String, String)> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut found = Vec::new();
    for (at, _) in text.match_indices("` (") {
        let before = text.get(..at).unwrap_or_default().rsplit('`').next().unwrap_or_default();
        let name = before.rsplit("::").next().unwrap_or_default();
        let is_constant =
            name.len() > 2 && name.chars().all(|letter| letter.is_ascii_uppercase() || "_0123456789".contains(letter));
        let value = text.get(at + 3..).unwrap_or_default().split([')', ',', ';', ':']).next().unwrap_or_default();
        if is_constant {
            found.push((name.to_owned(), value.to_owned()));
        }
    }
    found
}

/// Returns the durations in the text that no constant's name stands before.
fn unnamed_durations(text: &str) -> Vec<String> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let words: Vec<&str> = text.split(' ').collect();
    let unit = |word: &str| {
        ["ms", "s", "seconds", "milliseconds", "minutes"].contains(&word.trim_end_matches(['.', ',', ';', ':', ')']))
    };
    let number = |word: &str| word.chars().next().is_some_and(|first| first.is_ascii_digit());
    words
        .windows(3)
        .filter(|three| matches!(three, [_, value, name] if number(value) && unit(name)))
        .filter(|three| !matches!(three, [before, value, _] if before.ends_with('`') && value.starts_with('(')))
        .map(|three| three.join(" "))
        .collect()
}

#[test]
fn constants_in_the_architecture_are_those_of_the_code() {
    let text = read(&root().join("docs/architecture.md"));
    // Tables and diagrams give figures of a mode or a standard.
    let prose: String = text.lines().filter(|line| !line.starts_with('|')).map(|line| format!("{line}\n")).collect();
    let mut constants = Constants::default();
    for name in CRATES {
        for (_, text) in production(name) {
            constants.visit_file(&syn::parse_file(&text).expect("the compiler read it before"));
        }
    }
    let mut wrong = Vec::new();
    for (name, value) in named(&prose) {
        match constants.0.get(&name) {
            None => wrong.push(format!("no constant is called {name}")),
            Some(values) if !values.contains(&value) => wrong.push(format!("{name} is {values:?}, not {value:?}")),
            Some(_) => {}
        }
    }
    wrong.extend(
        unnamed_durations(&prose).into_iter().map(|words| format!("\"{words}\": name the constant, `NAME` (value)")),
    );
    assert!(wrong.is_empty(), "docs/architecture.md:\n{}", wrong.join("\n"));
    assert!(
        text.lines().count() <= MAX_ARCHITECTURE_LINES,
        "docs/architecture.md has more than {MAX_ARCHITECTURE_LINES} lines"
    );
}

#[test]
fn the_glossary_defines_each_word_once() {
    let text = read(&root().join("docs/glossary.md"));
    let mut seen = BTreeSet::new();
    let mut twice = Vec::new();
    for line in text.lines() {
        let Some((term, _)) = line.strip_prefix("**").and_then(|rest| rest.split_once(".**")) else { continue };
        twice.extend(term.split(", ").filter(|word| !seen.insert(word.to_lowercase())).map(str::to_owned));
    }
    assert!(twice.is_empty(), "docs/glossary.md defines twice: {}", twice.join(", "));
}
