//! Reads the settings from defaults, the TOML file and the environment. The later source overrides the earlier.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use anyhow::{Context, bail};
use figment::Figment;
use figment::error::Kind;
use figment::providers::{Format, Serialized, Toml};
use figment::value::{Num, Value};

use super::Config;
use super::table::SECTIONS;

/// The prefix of every environment variable.
const PREFIX: &str = "WEIR_";
/// Names with our prefix that are not settings: the option `--config`, and the variables of the tests in this
/// repository.
const OTHERS: [&str; 5] = ["WEIR_CONFIG", "WEIR_E2E_", "WEIR_TEST_", "WEIR_BIN", "WEIR_BINARY"];
/// Edit distance up to which a name counts as a mistyped setting.
const TYPOS: usize = 4;

/// The defaults by name.
static DEFAULTS: LazyLock<Figment> = LazyLock::new(|| Figment::from(Serialized::defaults(Config::default())));

/// Returns the default of a setting.
pub(crate) fn default_of(key: &str) -> Option<Value> {
    DEFAULTS.find_value(key).ok()
}

/// Returns the environment variable of a setting: `WEIR_API_TOKEN_ID` for `api.token_id`.
pub(crate) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_uppercase())
}

/// Returns every setting with a description of its valid values.
fn wanted() -> impl Iterator<Item = (String, &'static str)> {
    SECTIONS.iter().flat_map(|section| section.keys.iter().map(|key| (section.full(key), key.wanted)))
}

/// Reads the three sources. `vars` is the environment.
pub(super) fn layers(file: Option<&Path>, vars: impl Iterator<Item = (String, String)>) -> anyhow::Result<Config> {
    let mut figment = DEFAULTS.clone();
    if let Some(path) = file {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
        figment = figment.merge(Toml::string(&text));
    }
    let keys: BTreeMap<_, _> = wanted().map(|(key, wanted)| (variable(&key), (key, wanted))).collect();
    let (mut given, mut unknown) = (BTreeMap::new(), Vec::new());
    for (name, text) in vars.filter(|(name, _)| name.starts_with(PREFIX)) {
        match keys.get(&name) {
            Some((key, wanted)) => {
                let value =
                    typed(&text, default_of(key)).with_context(|| format!("{name} must be {wanted}, not {text:?}"))?;
                figment = figment.merge((key.as_str(), value));
                given.insert(key.clone(), name);
            }
            None if is_foreign(&name, &text) => {}
            None => unknown.push(format!("{name} is not a setting of Weir{}", hint(&name, keys.keys()))),
        }
    }
    if !unknown.is_empty() {
        bail!("{}", unknown.join("; "));
    }
    let source = |key: &str| match given.get(key) {
        Some(name) => name.clone(),
        None => key.to_owned(),
    };
    figment.extract().map_err(|error| anyhow::anyhow!("{}", describe(&error, &figment, file, source)))
}

/// Returns true for names with our prefix that other programs set: those in [`OTHERS`], and those that Docker and
/// Kubernetes set in containers for a service called weir.
fn is_foreign(name: &str, text: &str) -> bool {
    let ours = OTHERS.into_iter().any(|other| name == other || (other.ends_with('_') && name.starts_with(other)));
    let address = ["tcp://", "udp://", "sctp://"].into_iter().any(|scheme| text.starts_with(scheme));
    ours || address || ["_SERVICE_HOST", "_SERVICE_PORT", "_TCP_", "_UDP_"].into_iter().any(|part| name.contains(part))
}

/// Parses `text` as a value of the default's type.
fn typed(text: &str, default: Option<Value>) -> Option<Value> {
    Some(match default {
        Some(Value::Bool(..)) => Value::from(text.parse::<bool>().ok()?),
        Some(Value::Num(_, Num::F32(_) | Num::F64(_))) => Value::from(text.parse::<f64>().ok()?),
        Some(Value::Num(..)) => Value::from(text.parse::<u64>().ok()?),
        _ => Value::from(text),
    })
}

/// Describes an error in the terms of the configuration file. `source` returns the name under which a setting was
/// given.
fn describe(error: &figment::Error, figment: &Figment, file: Option<&Path>, source: impl Fn(&str) -> String) -> String {
    let key = error.path.join(".");
    let keys: BTreeMap<_, _> = wanted().collect();
    let file = file.map_or_else(|| "the configuration".to_owned(), |path| path.display().to_string());
    if let Kind::UnknownField(name, _) = &error.kind {
        // Some figment paths include the field, others end before it.
        let full = if error.path.last() == Some(name) || key.is_empty() {
            error.path.join(".")
        } else {
            format!("{key}.{name}")
        };
        let full = if full.is_empty() { name.clone() } else { full };
        return format!("{file}: {full} is not a setting of Weir{}", hint(&full, keys.keys()));
    }
    if let Some(wanted) = keys.get(&key) {
        let found = figment.find_value(&key).ok();
        let found = if key == "api.token_secret" { None } else { found.as_ref().and_then(shown) };
        let found = found.map(|found| format!(", not {found}")).unwrap_or_default();
        return format!("{} must be {wanted}{found}", source(&key));
    }
    if SECTIONS.iter().any(|section| section.name == key && !key.is_empty()) {
        return format!("{file}: {key} is a section and must be written as [{key}]");
    }
    format!("{file} is not valid TOML: {}", without_source(&error.kind.to_string()))
}

/// Removes from a parser error the quoted line of the file, because that line may contain a secret.
fn without_source(error: &str) -> String {
    let quotes = |line: &str| line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ').starts_with('|');
    let kept: Vec<_> = error.lines().map(str::trim_end).filter(|line| !line.is_empty() && !quotes(line)).collect();
    kept.join(", ")
}

/// Formats a value as in the configuration file.
fn shown(value: &Value) -> Option<String> {
    Some(match value {
        Value::String(_, text) => format!("{text:?}"),
        Value::Bool(_, value) => value.to_string(),
        Value::Num(_, Num::F64(number)) => format!("{number:?}"),
        Value::Num(_, number) => number.to_i128().or(number.to_u128().map(|n| n as i128))?.to_string(),
        Value::Array(..) => "a list".to_owned(),
        Value::Dict(..) => "a section".to_owned(),
        _ => return None,
    })
}

/// Suggests the setting that was probably meant.
fn hint<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> String {
    let nearest = known.map(|other| (distance(name, other), other)).min();
    match nearest {
        Some((differences, other)) if differences <= TYPOS => format!(": did you mean {other}?"),
        _ => ": see `weir --help` for all settings".to_owned(),
    }
}

/// Counts the letters to insert, delete or replace to turn one name into the other (Levenshtein distance).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_gets_the_nearest_setting_as_a_hint() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        let known = [variable("http.listen"), variable("rtmp.listen"), variable("api.token_id")];
        assert_eq!(hint("WEIR_HTP_LISTEN", known.iter()), ": did you mean WEIR_HTTP_LISTEN?");
        assert_eq!(hint("WEIR_TOKEN_ID", known.iter()), ": did you mean WEIR_API_TOKEN_ID?");
        assert_eq!(hint("WEIR_COLOUR", known.iter()), ": see `weir --help` for all settings");
    }
}
