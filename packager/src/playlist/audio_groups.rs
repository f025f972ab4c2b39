//! The audio groups of a multivariant playlist: one for each codec and tier, with a name for each member.

use super::language;
use super::model::RenditionInfo;
use crate::log::{Format, RenditionId};

/// The group of the first audio codec. Groups of other codecs have the codec appended, those of lower tiers their tier.
const GROUP: &str = "audio";

/// Audio renditions of one codec and tier.
pub(super) struct Group<'a> {
    pub(super) id: String,
    pub(super) codec: &'a str,
    pub(super) tier: u8,
    pub(super) members: Vec<Member<'a>>,
    /// Names of the members of the best tier. A lower tier has the same audio tracks in the same order.
    names: Vec<String>,
}

/// An audio rendition and its name.
pub(super) struct Member<'a> {
    pub(super) rendition: &'a RenditionInfo<'a>,
    pub(super) name: String,
    /// A player may select it by its viewer's language: true for the first member of each language.
    pub(super) autoselect: bool,
}

/// Groups audio renditions, which are given best tier first.
pub(super) fn groups<'a>(audio: &[&'a RenditionInfo<'a>]) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for rendition in audio {
        let (codec, tier) = (sample_entry(rendition.format), rendition.format.tier);
        if let Some(group) = groups.iter_mut().find(|group| (group.codec, group.tier) == (codec, tier)) {
            group.add(rendition);
            continue;
        }
        let first = groups.first().is_none_or(|first| first.codec == codec);
        let mut id = if first { GROUP.to_owned() } else { format!("{GROUP}-{codec}") };
        if tier > 0 {
            id = format!("{id}-{tier}");
        }
        let best = groups.iter().find(|group| group.codec == codec);
        let names = best.map_or_else(Vec::new, |best| best.members.iter().map(|member| member.name.clone()).collect());
        let mut group = Group { id, codec, tier, members: Vec::new(), names };
        group.add(rendition);
        groups.push(group);
    }
    groups
}

/// The four characters before a codec's parameters.
fn sample_entry(format: &Format) -> &str {
    format.codec.split('.').next().unwrap_or_default()
}

impl<'a> Group<'a> {
    fn add(&mut self, rendition: &'a RenditionInfo<'a>) {
        let language = rendition.format.language;
        let autoselect = self.members.is_empty()
            || language.is_some() && self.members.iter().all(|m| m.rendition.format.language != language);
        self.members.push(Member { rendition, name: self.name(rendition), autoselect });
    }

    /// Whether no tier of its codec is better.
    pub(super) fn is_best(&self, groups: &[Self]) -> bool {
        groups.iter().all(|other| other.codec != self.codec || other.tier >= self.tier)
    }

    /// A name that no other member has, and that stays the same when others come.
    fn name(&self, rendition: &RenditionInfo<'_>) -> String {
        if let Some(same) = self.names.get(self.members.len()) {
            return same.clone();
        }
        let number = rendition.id.0.saturating_sub(RenditionId::AUDIO.0) + 1;
        let language = rendition.format.language;
        let Some(name) = language.as_ref().and_then(language::name) else { return format!("Audio {number}") };
        let taken = self.members.iter().any(|member| member.name == name);
        if taken { format!("{name} {number}") } else { name.to_owned() }
    }
}
