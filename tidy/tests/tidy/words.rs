//! Comments, names and documentation use the terms of the field.

use std::path::{Path, PathBuf};

use crate::source::{CRATES, production, read, root, with_extension};

/// Words that a doc comment must not begin with, because a reader then has to guess its subject.
const BAD_STARTS: [&str; 18] = [
    "as", "how", "if", "it", "its", "none", "nothing", "so", "that", "there", "they", "those", "what", "when", "where",
    "which", "who", "whose",
];
/// Share of doc comments that may begin with one of [`BAD_STARTS`], in percent.
const MAX_BAD_STARTS: usize = 5;
/// Links between items for each hundred doc comments.
const MIN_LINKS: usize = 12;
/// Words and turns of a private language, with the terms to use instead.
const BANNED: [(&str, &str); 26] = [
    ("anew", "again, re-encoded"),
    ("by heart", "built in"),
    ("for ever", "permanently"),
    ("in hand", "buffered, current"),
    ("nobody", "no one"),
    ("none where", "`None` if"),
    ("passed through", "passthrough, forwarded"),
    ("encoded anew", "transcoded"),
    ("sounds", "audio tracks"),
    ("the sound", "the audio"),
    ("told", "signalled, reported"),
    ("tells", "reports, signals"),
    ("voice", "audio output"),
    ("voices", "audio outputs"),
    ("follower", "dependent rendition"),
    ("followers", "dependent renditions"),
    ("leader", "reference rendition"),
    ("what comes", "input"),
    ("stands still", "stalls, repeats"),
    ("lies behind", "follows"),
    ("for good", "permanently"),
    ("hole", "gap"),
    ("holes", "gaps"),
    ("lane", "track, rendition"),
    ("lanes", "tracks, renditions"),
    ("patience", "timeout"),
];

/// Splits text and identifiers into lower-case words.
fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|letter: char| !letter.is_ascii_alphabetic()).flat_map(|word| {
        // An identifier in camel case is several words.
        let mut parts = vec![String::new()];
        let mut after_lower = false;
        for letter in word.chars() {
            if letter.is_ascii_uppercase() && after_lower {
                parts.push(String::new());
            }
            after_lower = letter.is_ascii_lowercase();
            if let Some(part) = parts.last_mut() {
                part.push(letter.to_ascii_lowercase());
            }
        }
        parts
    })
}

/// Returns the doc comments of a file, one string each.
fn doc_comments(text: &str) -> Vec<String> {
    let (mut blocks, mut open) = (Vec::new(), false);
    for line in text.lines().map(str::trim_start) {
        let Some(comment) = line.strip_prefix("///").or_else(|| line.strip_prefix("//!")) else {
            open = false;
            continue;
        };
        if !open {
            blocks.push(String::new());
        }
        open = true;
        if let Some(block) = blocks.last_mut() {
            block.push_str(comment.trim());
            block.push(' ');
        }
    }
    blocks
}

/// Returns the comments of a file of code, or all of one of documentation, in lower case and on one line.
fn prose(path: &Path, text: &str) -> String {
    let all = path.extension().is_some_and(|extension| extension == "md");
    let comment = |line: &str| {
        line.find("//").map(|at| line.get(at..).unwrap_or_default().trim_start_matches(['/', '!']).to_owned())
    };
    let lines: Vec<_> =
        text.lines().filter_map(|line| if all { Some(line.to_owned()) } else { comment(line) }).collect();
    format!(
        " {} ",
        lines.iter().flat_map(|line| words(line)).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    )
}

#[test]
fn doc_comments_begin_with_their_subject_and_link() {
    let mut wrong = Vec::new();
    for name in CRATES {
        let (mut blocks, mut links, mut bad) = (0, 0, Vec::new());
        for (path, text) in production(name) {
            for block in doc_comments(&text) {
                blocks += 1;
                links += block.matches("[`").count();
                let first = block.split(|letter: char| !letter.is_ascii_alphabetic()).next().unwrap_or_default();
                if BAD_STARTS.contains(&first.to_ascii_lowercase().as_str()) {
                    bad.push(format!("{}: {}", path.display(), block.chars().take(80).collect::<String>()));
                }
            }
        }
        if bad.len() * 100 > blocks * MAX_BAD_STARTS {
            wrong.push(format!("{name}: {} of {blocks} doc comments begin badly:\n  {}", bad.len(), bad.join("\n  ")));
        }
        if links * 100 < blocks * MIN_LINKS {
            wrong.push(format!("{name}: {links} links in {blocks} doc comments, fewer than {MIN_LINKS} in 100"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_word_of_a_private_language_is_used() {
    let mut texts: Vec<(PathBuf, String)> = CRATES.iter().flat_map(|name| production(name)).collect();
    let public = with_extension("md")
        .into_iter()
        .filter(|(path, _)| path.file_name().is_some_and(|name| name != "CHANGELOG.md"));
    texts.extend(public);
    let mut wrong = Vec::new();
    for (path, text) in texts {
        let prose = prose(&path, &text);
        for (word, term) in BANNED {
            let times = prose.matches(&format!(" {word} ")).count();
            if times > 0 {
                wrong.push(format!("{}: {times} times \"{word}\": {term}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_terms_of_the_field_prevail() {
    let mut texts: Vec<String> = with_extension("rs").into_iter().map(|(_, text)| text).collect();
    texts.extend(["README.md", "docs/architecture.md", "docs/glossary.md"].map(|name| read(&root().join(name))));
    let all: Vec<_> = texts.iter().flat_map(|text| words(text)).collect();
    let count = |names: &[&str]| all.iter().filter(|word| names.contains(&word.as_str())).count();
    let (audio, sound) = (count(&["audio"]), count(&["sound", "sounds"]));
    assert!(audio >= 10 * sound, "audio {audio} times, sound {sound} times");
    let (frames, pictures) = (count(&["video", "frame", "frames"]), count(&["picture", "pictures"]));
    assert!(frames >= 5 * pictures, "video and frame {frames} times, picture {pictures} times");
}
