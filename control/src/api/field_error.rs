//! Messages for fields of a request that could not be deserialized, in terms of JSON and not of a library.

/// Longest input that a message repeats, in characters.
const MAX_REPEATED: usize = 60;

/// Returns `text`, cut to [`MAX_REPEATED`].
pub(crate) fn shortened(text: &str) -> String {
    let mut chars = text.chars();
    let short: String = chars.by_ref().take(MAX_REPEATED).collect();
    if chars.next().is_some() { format!("{short}…") } else { short }
}

/// Returns the message for the field `at` (empty for the whole), from the `error` of the deserializer.
pub(crate) fn message(at: &str, error: &str) -> String {
    let below = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
    if let Some(name) = quoted(error, "missing field ") {
        return format!("{}: is required", below(name));
    }
    if let Some(name) = quoted(error, "duplicate field ") {
        return format!("{}: may be given only once", below(name));
    }
    let what = rephrase(error).unwrap_or_else(|| error.to_owned());
    if at.is_empty() { what } else { format!("{at}: {what}") }
}

/// Rephrases an error about a value or a type; `None` if it is in plain words already.
fn rephrase(error: &str) -> Option<String> {
    if let Some(got) = quoted(error, "unknown variant ") {
        let (_, list) = error.rsplit_once(", expected ")?;
        let list = list.trim_start_matches("one of ").replace('`', "").replace(" or ", ", ");
        return Some(format!("must be one of {list}, not {}", shortened(got)));
    }
    let rest = error.strip_prefix("invalid type: ").or_else(|| error.strip_prefix("invalid value: "))?;
    let (got, wanted) = rest.rsplit_once(", expected ")?;
    Some(format!("must be {}, not {}", kind(wanted), value(got)))
}

fn quoted<'a>(error: &'a str, beginning: &str) -> Option<&'a str> {
    error.strip_prefix(beginning)?.strip_prefix('`')?.split('`').next()
}

/// Returns the JSON name of the type that `serde` expected.
fn kind(wanted: &str) -> &str {
    match wanted {
        "f32" | "f64" => "a number",
        "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "usize" | "isize" => "a whole number",
        "a string" | "string" | "string or map" => "a string",
        "a boolean" | "bool" => "true or false",
        "a sequence" | "sequence" => "an array",
        "a map" | "map" => "an object",
        other if other.starts_with("struct ") => "an object",
        other if other.starts_with("enum ") => "a string",
        other => other,
    }
}

/// Returns the JSON name of the value that `serde` found.
fn value(got: &str) -> String {
    match got {
        "sequence" => return "an array".to_owned(),
        "map" => return "an object".to_owned(),
        "null" | "unit value" | "Option value" => return "null".to_owned(),
        _ => {}
    }
    match got.split_once(' ') {
        Some(("string", text)) => format!("the string {}", shortened(text)),
        Some(("boolean" | "integer", text)) => text.trim_matches('`').to_owned(),
        _ => shortened(got.trim_start_matches("floating point ").trim_matches('`')),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Choice {
        One,
        Two,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)] // Only the errors are used.
    struct Inner {
        must: u32,
        choice: Option<Choice>,
        flag: Option<bool>,
        part: Option<f64>,
        list: Option<Vec<String>>,
        inner: Option<Box<Inner>>,
    }

    fn message_for(json: &str) -> String {
        let error =
            serde_path_to_error::deserialize::<_, Inner>(serde_json::from_str::<serde_json::Value>(json).unwrap());
        let error = error.unwrap_err();
        let path = error.path().to_string();
        message(if path == "." { "" } else { &path }, &error.into_inner().to_string())
    }

    #[test]
    fn a_message_names_the_field_and_the_json_type_and_no_rust_type() {
        for (json, expected) in [
            ("{}", "must: is required"),
            (r#"{"must": 1, "inner": {}}"#, "inner.must: is required"),
            (r#"{"must": "x"}"#, "must: must be a whole number, not the string \"x\""),
            (r#"{"must": -1}"#, "must: must be a whole number, not -1"),
            (r#"{"must": 1.5}"#, "must: must be a whole number, not 1.5"),
            (r#"{"must": null}"#, "must: must be a whole number, not null"),
            (r#"{"must": 1, "flag": 1}"#, "flag: must be true or false, not 1"),
            (r#"{"must": 1, "part": true}"#, "part: must be a number, not true"),
            (r#"{"must": 1, "part": []}"#, "part: must be a number, not an array"),
            (r#"{"must": 1, "list": {}}"#, "list: must be an array, not an object"),
            (r#"{"must": 1, "list": [1]}"#, "list[0]: must be a string, not 1"),
            (r#"{"must": 1, "inner": "x"}"#, "inner: must be an object, not the string \"x\""),
            (r#"{"must": 1, "choice": "three"}"#, "choice: must be one of one, two, not three"),
            (r#"{"must": 1, "choice": 3}"#, "choice: must be a string, not 3"),
        ] {
            assert_eq!(message_for(json), expected, "{json}");
        }
        let long = message_for(&format!(r#"{{"must": "{}"}}"#, "x".repeat(5_000)));
        assert!(long.len() < 200, "{long}");
    }
}
