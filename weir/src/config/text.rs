//! Renders the table of settings as an example file and as the end of `--help`.

use std::fmt::Write;

use figment::value::{Num, Value};

use super::load::{default_of, variable};
use super::table::{Key, SECTIONS, Section};

const BEGINNING: &str = "\
# Every setting of Weir with its default. A setting that is left out keeps its default. A name that Weir does not know is an
# error. Each setting has an environment variable WEIR_<SECTION>_<KEY> (http.listen: WEIR_HTTP_LISTEN), which overrides the file.
#
#   weir config > weir.toml           write this file
#   weir check --config weir.toml     check whether this machine can run the server with it
#   weir serve --config weir.toml     run the server
";

impl Section {
    /// Returns the name of a setting with that of its section.
    pub(crate) fn full(&self, key: &Key) -> String {
        if self.name.is_empty() { key.name.to_owned() } else { format!("{}.{}", self.name, key.name) }
    }
}

/// Renders a configuration file with every setting at its default.
pub(crate) fn example() -> String {
    let mut out = BEGINNING.to_owned();
    for section in SECTIONS {
        out.push('\n');
        comment(&mut out, "#", section.text);
        if !section.name.is_empty() {
            let _ = writeln!(out, "[{}]", section.name);
        }
        for key in section.keys {
            comment(&mut out, "#", key.text);
            let _ = writeln!(out, "{} = {}", key.name, literal(&section.full(key)));
        }
    }
    out
}

/// Renders the text that `--help` prints after the options.
pub(crate) fn help() -> String {
    let mut out = "\
Settings, with their defaults. Every key of the configuration file has an environment variable, which overrides the file.
`weir config` prints all of them as a file.
"
    .to_owned();
    for section in SECTIONS {
        out.push('\n');
        comment(&mut out, "", section.text);
        for key in section.keys {
            let full = section.full(key);
            let _ = writeln!(out, "  {full} = {}   {}", literal(&full), variable(&full));
            comment(&mut out, "     ", key.text);
        }
    }
    out
}

fn comment(out: &mut String, before: &str, lines: &[&str]) {
    for line in lines {
        let line = if before.is_empty() { line.trim_start() } else { line };
        let _ = writeln!(out, "{}", format!("{before}{line}").trim_end_matches(' '));
    }
}

/// Formats the default of a setting as TOML.
fn literal(key: &str) -> String {
    match default_of(key) {
        Some(Value::Bool(_, value)) => value.to_string(),
        Some(Value::Num(_, Num::F64(value))) => format!("{value:?}"),
        Some(Value::Num(_, value)) => {
            value.to_i128().or(value.to_u128().map(|n| n as i128)).unwrap_or_default().to_string()
        }
        Some(Value::String(_, text)) => format!("{text:?}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_file_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/weir.example.toml");
        let file = std::fs::read_to_string(path).unwrap();
        assert!(
            file == example(),
            "deploy/weir.example.toml is not up to date: weir config > deploy/weir.example.toml"
        );
    }

    #[test]
    fn lines_are_short_and_every_setting_is_described() {
        for line in example().lines().chain(help().lines()) {
            assert!(line.chars().count() <= 132, "{line}");
        }
        for section in SECTIONS {
            for key in section.keys {
                let full = section.full(key);
                assert!(!key.text.is_empty() && default_of(&full).is_some(), "{full}");
                assert!(help().contains(&format!("  {full} = ")) && help().contains(&variable(&full)), "{full}");
            }
        }
    }

    #[test]
    fn shipped_files_use_only_variables_that_exist() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let known: Vec<_> = SECTIONS.iter().flat_map(|s| s.keys.iter().map(|key| variable(&s.full(key)))).collect();
        for file in [
            "README.md",
            "docs/operations.md",
            "deploy/weir.service",
            "deploy/compose.yaml",
            "deploy/Dockerfile",
            "deploy/demo.sh",
        ] {
            let text = std::fs::read_to_string(format!("{root}/{file}")).unwrap();
            let words = text.split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
            for word in words.filter(|word| word.starts_with("WEIR_") && !word.ends_with('_')) {
                let of_tests = word.starts_with("WEIR_E2E_");
                assert!(of_tests || word == "WEIR_CONFIG" || known.iter().any(|name| name == word), "{file}: {word}");
            }
        }
    }
}
