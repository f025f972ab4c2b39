//! Validation of settings, with messages that name the field and the allowed values.

use http::Uri;

use super::{CreatePlaybackIDRequest, EmbeddedSubtitle, GeneratedSubtitle, LiveStreamMetadata, Policy};

/// Longest `passthrough`, in characters.
pub(crate) const MAX_PASSTHROUGH: usize = 255;
/// Longest title, in characters.
const MAX_TITLE: usize = 512;
/// Longest URL and longest string without a limit of its own, in characters.
pub(super) const MAX_TEXT: usize = 2_048;
/// Longest array in a request; a longer one is refused.
pub(super) const MAX_LIST: usize = 20;
/// Most errors in one response. The client sees the others after it has fixed these.
const MAX_ERRORS: usize = 20;
/// Languages that speech recognition supports.
const SPEECH_LANGUAGES: [&str; 7] = ["en", "en-US", "es", "fr", "de", "pt", "it"];

/// Errors of a request, with a message for each field.
#[derive(Debug, Default)]
pub(crate) struct FieldErrors(Vec<String>);

impl FieldErrors {
    /// Adds an error of the field `at`.
    pub(crate) fn add(&mut self, at: &str, what: &str) {
        if self.0.len() < MAX_ERRORS {
            self.0.push(format!("{at}: {what}"));
        }
    }

    /// Adds an error if an array is longer than `most`.
    pub(crate) fn at_most(&mut self, at: &str, len: usize, most: usize) {
        if len > most {
            self.add(at, &format!("must have at most {most} entries"));
        }
    }

    /// Returns the messages as an error, if there are any.
    pub(crate) fn into_result(self) -> Result<(), Vec<String>> {
        if self.0.is_empty() { Ok(()) } else { Err(self.0) }
    }
}

/// A part of a request that can be validated.
pub(crate) trait Validate {
    /// Adds errors to `errors`. `at` is the path of this part in the request, empty for the whole.
    fn validate(&self, at: &str, errors: &mut FieldErrors);
}

impl<T: Validate> Validate for Option<T> {
    fn validate(&self, at: &str, errors: &mut FieldErrors) {
        if let Some(value) = self {
            value.validate(at, errors);
        }
    }
}

impl<T: Validate> Validate for Vec<T> {
    fn validate(&self, at: &str, errors: &mut FieldErrors) {
        list(self, at, MAX_LIST, errors);
    }
}

/// Checks an array of at most `most` entries, and each of these.
pub(super) fn list<T: Validate>(values: &[T], at: &str, most: usize, errors: &mut FieldErrors) {
    errors.at_most(at, values.len(), most);
    for (n, value) in values.iter().enumerate().take(most) {
        value.validate(&format!("{at}[{n}]"), errors);
    }
}

/// Checks that a string has at most `most` characters.
pub(crate) fn text(value: Option<&str>, at: &str, most: usize, errors: &mut FieldErrors) {
    if value.is_some_and(|text| text.chars().count() > most) {
        errors.add(at, &format!("must have at most {most} characters"));
    }
}

/// Checks the form of a language tag (RFC 5646 §2.1: subtags of up to eight letters and digits).
pub(crate) fn language(code: &str, at: &str, errors: &mut FieldErrors) {
    let mut subtags = code.split('-');
    let primary =
        subtags.next().is_some_and(|t| (2..=8).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_alphabetic()));
    let rest = subtags.all(|t| (1..=8).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_alphanumeric()));
    if !(primary && rest && code.len() <= 35) {
        errors.add(at, "must be a BCP 47 language tag, such as en or pt-BR");
    }
}

/// Checks that a URL has a host and one of these schemes.
pub(crate) fn url(value: &str, schemes: &[&str], at: &str, errors: &mut FieldErrors) {
    let parsed = if value.len() <= MAX_TEXT { value.parse::<Uri>().ok() } else { None };
    let good = parsed.is_some_and(|uri| {
        uri.scheme_str().is_some_and(|s| schemes.contains(&s)) && uri.host().is_some_and(|host| !host.is_empty())
    });
    if !good {
        let list = schemes.join(", ");
        errors.add(
            at,
            &format!("must be a URL of at most {MAX_TEXT} characters with a host and one of the schemes {list}"),
        );
    }
}

impl Validate for LiveStreamMetadata {
    fn validate(&self, at: &str, errors: &mut FieldErrors) {
        text(self.title.as_deref(), &format!("{at}.title"), MAX_TITLE, errors);
    }
}

impl Validate for CreatePlaybackIDRequest {
    fn validate(&self, at: &str, errors: &mut FieldErrors) {
        let field =
            if at.is_empty() { "drm_configuration_id".to_owned() } else { format!("{at}.drm_configuration_id") };
        let drm = self.policy == Some(Policy::Drm);
        match &self.drm_configuration_id {
            Some(id) if drm && (id.is_empty() || id.chars().count() > MAX_PASSTHROUGH) => {
                errors.add(&field, "must have 1 to 255 characters");
            }
            None if drm => errors.add(&field, "is required if policy is drm"),
            Some(_) if !drm => errors.add(&field, "is only allowed if policy is drm"),
            _ => {}
        }
    }
}

impl Validate for EmbeddedSubtitle {
    fn validate(&self, at: &str, errors: &mut FieldErrors) {
        text(self.name.as_deref(), &format!("{at}.name"), MAX_PASSTHROUGH, errors);
        text(self.passthrough.as_deref(), &format!("{at}.passthrough"), MAX_PASSTHROUGH, errors);
        language(&self.language_code, &format!("{at}.language_code"), errors);
    }
}

impl Validate for GeneratedSubtitle {
    fn validate(&self, at: &str, errors: &mut FieldErrors) {
        text(self.name.as_deref(), &format!("{at}.name"), MAX_PASSTHROUGH, errors);
        text(self.passthrough.as_deref(), &format!("{at}.passthrough"), MAX_PASSTHROUGH, errors);
        if !SPEECH_LANGUAGES.contains(&self.language_code.as_str()) {
            errors.add(&format!("{at}.language_code"), &format!("must be one of {}", SPEECH_LANGUAGES.join(", ")));
        }
        if let Some(ids) = &self.transcription_vocabulary_ids {
            errors.at_most(&format!("{at}.transcription_vocabulary_ids"), ids.len(), MAX_LIST);
        }
    }
}

/// Checks embedded subtitles. A channel can carry only one language.
pub(crate) fn embedded(list: &[EmbeddedSubtitle], at: &str, errors: &mut FieldErrors) {
    let taken = |n: usize, s: &EmbeddedSubtitle| list.iter().take(n).any(|o| o.language_channel == s.language_channel);
    if list.iter().enumerate().any(|(n, s)| taken(n, s)) {
        errors.add(at, "must name each language_channel at most once");
    }
    list.to_vec().validate(at, errors);
}
