//! Modules of a crate import each other in one direction.
//!
//! A module may import from its parents and children: the tree of files shows that already. Any other circle hides an
//! order that a reader would need.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{Item, ItemMod, ItemUse, UseTree};

use crate::source::{CRATES, is_test, production};

/// Path of a module from the root of its crate, which is empty.
type Module = Vec<String>;

/// Collects the paths that a file names, as modules and what is in them, from the root of the crate.
struct Paths {
    module: Module,
    found: BTreeSet<Module>,
}

impl Paths {
    /// Notes a path that starts with `crate`, `self` or `super`.
    fn note(&mut self, path: &[String]) {
        let mut base = self.module.clone();
        let mut rest = path;
        match path.first().map(String::as_str) {
            Some("crate") => {
                base.clear();
                rest = path.get(1..).unwrap_or_default();
            }
            Some("self") => rest = path.get(1..).unwrap_or_default(),
            Some("super") => {}
            _ => return,
        }
        while rest.first().is_some_and(|part| part == "super") {
            base.pop();
            rest = rest.get(1..).unwrap_or_default();
        }
        base.extend(rest.iter().cloned());
        self.found.insert(base);
    }

    fn tree(&mut self, tree: &UseTree, before: &mut Vec<String>) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.tree(&path.tree, before);
                before.pop();
            }
            UseTree::Name(name) => self.end(before, &name.ident.to_string()),
            UseTree::Rename(rename) => self.end(before, &rename.ident.to_string()),
            UseTree::Glob(_) => self.note(before),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(tree, before)),
        }
    }

    fn end(&mut self, before: &[String], name: &str) {
        let mut whole = before.to_vec();
        if name != "self" {
            whole.push(name.to_owned());
        }
        self.note(&whole);
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.tree(&item.tree, &mut Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Vec<_> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        self.note(&parts);
        visit::visit_path(self, path);
    }
}

/// Returns the module that a file is, from its path below `src`.
fn module_of(path: &Path) -> Module {
    let mut parts: Module =
        path.with_extension("").iter().skip(2).map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| ["lib", "main", "mod"].contains(&last.as_str())) {
        parts.pop();
    }
    parts
}

/// Returns the imports between the modules of a crate, without those between parents and children.
fn imports(sources: &[(PathBuf, String)]) -> BTreeMap<Module, BTreeSet<Module>> {
    let modules: BTreeSet<Module> = sources.iter().map(|(path, _)| module_of(path)).collect();
    let mut imports: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
    for (path, text) in sources {
        let module = module_of(path);
        let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut paths = Paths { module: module.clone(), found: BTreeSet::new() };
        paths.visit_file(&file);
        // The longest beginning of a path that is a file.
        let files = paths.found.iter().filter_map(|found| {
            (0..=found.len()).rev().filter_map(|length| found.get(..length)).find(|part| modules.contains(*part))
        });
        let others = files.filter(|other| !other.starts_with(&module) && !module.starts_with(other));
        imports.insert(module.clone(), others.map(<[String]>::to_vec).collect());
    }
    imports
}

/// Returns the modules that `from` reaches by imports.
fn reached(imports: &BTreeMap<Module, BTreeSet<Module>>, from: &Module) -> BTreeSet<Module> {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(module) = open.pop() {
        for next in imports.get(module).into_iter().flatten() {
            if seen.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    seen
}

/// Returns each circle of modules, as the names of those in it.
fn circles(sources: &[(PathBuf, String)]) -> BTreeSet<String> {
    let imports = imports(sources);
    let reaches: BTreeMap<_, _> = imports.keys().map(|module| (module, reached(&imports, module))).collect();
    let circle = |module: &Module, there: &BTreeSet<Module>| {
        let back = |other: &&Module| reaches.get(other).is_some_and(|back| back.contains(module));
        there.iter().filter(back).map(|module| module.join("::")).collect::<Vec<_>>().join(", ")
    };
    reaches.iter().map(|(module, there)| circle(module, there)).filter(|names| !names.is_empty()).collect()
}

#[test]
fn no_modules_import_each_other_in_a_circle() {
    let found = CRATES.map(|name| (name, circles(&production(name))));
    let wrong: Vec<_> = found
        .iter()
        .flat_map(|(name, circles)| circles.iter().map(move |circle| format!("{name}: {circle}")))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_circle_is_found_however_it_is_written() {
    let source = |path: &str, text: &str| (PathBuf::from(path), text.to_owned());
    let straight = [
        source("a/src/lib.rs", "mod b; mod c;"),
        source("a/src/b.rs", "use crate::c::{self, C}; mod d;"),
        source("a/src/b/d.rs", "use super::B; fn f() { crate::c::g() }"),
        source("a/src/c.rs", "#[cfg(test)] mod tests { use crate::b::B; }"),
    ];
    assert_eq!(circles(&straight), BTreeSet::new());
    for back in ["use crate::b::B;", "use super::b::{d::D, B};", "fn f(b: &crate::b::B) {}", "type B = super::b::B;"] {
        let mut round = straight.to_vec();
        round.push(source("a/src/c.rs", back));
        assert_ne!(circles(&round), BTreeSet::new(), "{back}");
    }
}
