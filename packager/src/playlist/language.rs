//! Languages as playlists name them: the tag of RFC 5646 and the name in English.

use media::Language;

/// ISO 639-2 codes (both forms if there are two), the shortest tag (ISO 639-1), and the English name. Other languages
/// are known by their code only, which is a valid tag too.
const KNOWN: [(&str, &str, &str); 68] = [
    ("afr", "af", "Afrikaans"),
    ("alb", "sq", "Albanian"),
    ("sqi", "sq", "Albanian"),
    ("amh", "am", "Amharic"),
    ("ara", "ar", "Arabic"),
    ("arm", "hy", "Armenian"),
    ("hye", "hy", "Armenian"),
    ("baq", "eu", "Basque"),
    ("eus", "eu", "Basque"),
    ("bel", "be", "Belarusian"),
    ("ben", "bn", "Bengali"),
    ("bos", "bs", "Bosnian"),
    ("bul", "bg", "Bulgarian"),
    ("cat", "ca", "Catalan"),
    ("chi", "zh", "Chinese"),
    ("zho", "zh", "Chinese"),
    ("hrv", "hr", "Croatian"),
    ("cze", "cs", "Czech"),
    ("ces", "cs", "Czech"),
    ("dan", "da", "Danish"),
    ("dut", "nl", "Dutch"),
    ("nld", "nl", "Dutch"),
    ("eng", "en", "English"),
    ("est", "et", "Estonian"),
    ("fin", "fi", "Finnish"),
    ("fre", "fr", "French"),
    ("fra", "fr", "French"),
    ("glg", "gl", "Galician"),
    ("geo", "ka", "Georgian"),
    ("kat", "ka", "Georgian"),
    ("ger", "de", "German"),
    ("deu", "de", "German"),
    ("gre", "el", "Greek"),
    ("ell", "el", "Greek"),
    ("heb", "he", "Hebrew"),
    ("hin", "hi", "Hindi"),
    ("hun", "hu", "Hungarian"),
    ("ice", "is", "Icelandic"),
    ("isl", "is", "Icelandic"),
    ("ind", "id", "Indonesian"),
    ("gle", "ga", "Irish"),
    ("ita", "it", "Italian"),
    ("jpn", "ja", "Japanese"),
    ("kor", "ko", "Korean"),
    ("lav", "lv", "Latvian"),
    ("lit", "lt", "Lithuanian"),
    ("mac", "mk", "Macedonian"),
    ("mkd", "mk", "Macedonian"),
    ("may", "ms", "Malay"),
    ("msa", "ms", "Malay"),
    ("nor", "no", "Norwegian"),
    ("per", "fa", "Persian"),
    ("fas", "fa", "Persian"),
    ("pol", "pl", "Polish"),
    ("por", "pt", "Portuguese"),
    ("rum", "ro", "Romanian"),
    ("ron", "ro", "Romanian"),
    ("rus", "ru", "Russian"),
    ("srp", "sr", "Serbian"),
    ("slo", "sk", "Slovak"),
    ("slk", "sk", "Slovak"),
    ("slv", "sl", "Slovenian"),
    ("spa", "es", "Spanish"),
    ("swe", "sv", "Swedish"),
    ("tha", "th", "Thai"),
    ("tur", "tr", "Turkish"),
    ("ukr", "uk", "Ukrainian"),
    ("vie", "vi", "Vietnamese"),
];

/// The value of `LANGUAGE`.
pub(super) fn tag(language: &Language) -> &str {
    known(language).map_or(language.as_str(), |(_, tag, _)| tag)
}

/// The English name, if it is known.
pub(super) fn name(language: &Language) -> Option<&'static str> {
    known(language).map(|(_, _, name)| name)
}

fn known(language: &Language) -> Option<(&'static str, &'static str, &'static str)> {
    KNOWN.into_iter().find(|(code, _, _)| *code == language.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_codes_of_a_language_are_one_tag() {
        let tags = [*b"ger", *b"deu", *b"GER"].map(|code| tag(&Language::new(code).unwrap()).to_owned());
        assert_eq!(tags, ["de", "de", "de"]);
        assert_eq!(name(&Language::new(*b"fra").unwrap()), Some("French"));
    }

    #[test]
    fn an_unknown_language_keeps_its_code() {
        let language = Language::new(*b"qaa").unwrap();
        assert_eq!((tag(&language), name(&language)), ("qaa", None));
    }
}
