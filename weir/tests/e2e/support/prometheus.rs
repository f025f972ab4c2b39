//! The rules of `promtool check metrics` for names and types, without the need for promtool.

use std::collections::BTreeMap;

/// Units that Prometheus knows and that are not base units.
const UNITS: [&str; 16] = [
    "milliseconds",
    "microseconds",
    "nanoseconds",
    "minutes",
    "hours",
    "days",
    "weeks",
    "bits",
    "kilobytes",
    "megabytes",
    "gigabytes",
    "kibibytes",
    "mebibytes",
    "gibibytes",
    "percent",
    "fahrenheit",
];
const ABBREVIATED: [&str; 9] = ["s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb"];
const TYPES: [&str; 5] = ["counter", "gauge", "histogram", "summary", "untyped"];

/// Fails with a list of all families in `scrape` that break a rule.
pub(crate) fn assert_clean(scrape: &str) {
    let (mut helps, mut types) = (BTreeMap::new(), BTreeMap::new());
    for line in scrape.lines() {
        if let Some((name, text)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            helps.insert(name, text);
        }
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            types.insert(name, kind);
        }
    }
    assert!(types.contains_key("weir_build_info"), "{scrape}");
    let mut wrong = Vec::new();
    for (name, kind) in types {
        let words: Vec<_> = name.split('_').collect();
        let ends = |suffix: &str| name.ends_with(suffix);
        if helps.get(name).is_none_or(|help| help.is_empty()) {
            wrong.push(format!("{name}: no help"));
        }
        if (kind == "counter") != ends("_total") {
            wrong.push(format!("{name}: counters, and no others, end with _total"));
        }
        if !matches!(kind, "histogram" | "summary") && (ends("_count") || ends("_sum") || ends("_bucket")) {
            wrong.push(format!("{name}: has a suffix that is reserved for histograms"));
        }
        if name.chars().any(|c| c.is_ascii_uppercase() || c == ':') {
            wrong.push(format!("{name}: not in snake_case"));
        }
        for word in &words {
            if UNITS.contains(word) || ABBREVIATED.contains(word) || TYPES.contains(word) {
                wrong.push(format!("{name}: {word} is not a base unit, or is a type"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
