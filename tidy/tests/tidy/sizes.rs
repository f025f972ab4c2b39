//! Files, functions and parameter lists stay short enough to be read at once.

use std::path::Path;

use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{Block, ImplItemFn, ItemFn, Signature, TraitItemFn};

use crate::source::with_extension;

const MAX_FILE_LINES: usize = 450;
const MAX_FUNCTION_LINES: usize = 60;
const MAX_PARAMETERS: usize = 6;

/// Collects the functions of a file that are too long or take too much.
struct Functions<'a> {
    path: &'a Path,
    wrong: &'a mut Vec<String>,
}

impl Functions<'_> {
    fn check(&mut self, signature: &Signature, block: Option<&Block>) {
        let place = format!("{}:{}: {}", self.path.display(), signature.span().start().line, signature.ident);
        let parameters = signature.inputs.len();
        if parameters > MAX_PARAMETERS {
            self.wrong.push(format!("{place} has {parameters} parameters, more than {MAX_PARAMETERS}"));
        }
        let first = signature.span().start().line;
        let lines = block.map_or(0, |block| block.span().end().line + 1 - first);
        if lines > MAX_FUNCTION_LINES {
            self.wrong.push(format!("{place} has {lines} lines, more than {MAX_FUNCTION_LINES}"));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.check(&item.sig, Some(&item.block));
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.check(&item.sig, Some(&item.block));
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        self.check(&item.sig, item.default.as_ref());
        visit::visit_trait_item_fn(self, item);
    }
}

#[test]
fn files_and_functions_are_short() {
    let mut wrong = Vec::new();
    for (path, text) in with_extension("rs") {
        let lines = text.lines().count();
        if lines > MAX_FILE_LINES {
            wrong.push(format!("{}: {lines} lines, more than {MAX_FILE_LINES}", path.display()));
        }
        let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Functions { path: &path, wrong: &mut wrong }.visit_file(&file);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
