//! The multivariant playlist.
//!
//! Audio renditions stand in one group for each codec, and each group has a variant of its own: so `CODECS` names what a
//! player really needs, and one that cannot decode AC-3 still plays the AAC next to it. The first rendition of each
//! group is its default. A poorer encoding of the same sound (its *tier*) stands in a group of its own, under the same name, so that
//! players change over without a break.
//!
//! Each video rendition is a variant with every codec of the sound: the small ones with the poorest tier of it, the others
//! with the best. Players begin with the first one listed, so that is one of a size
//! that most links carry and that looks well; the others follow by falling bandwidth.

use std::cmp::Reverse;
use std::fmt::{self, Write};

use media::Kind;
use media::id::{BroadcastId, PlaybackId};

use super::{VERSION, language};
use crate::log::{Format, RenditionId};
use crate::uri::{File, Query};
use crate::window::{Rendition, Window};

/// The group of the first audio codec; those of others have the codec behind it, poorer ones the number of their tier.
const GROUP: &str = "audio";

/// Pictures of fewer bits a second than this come with the poorest sound: it would be a good part of the whole.
const POOR_LINK: u64 = 1_000_000;

/// Players begin with the largest picture of no more pixels than this, a little more than 1280x720.
const START_PIXELS: u64 = 1_000_000;

/// What a multivariant playlist depends on besides the window.
#[derive(Clone, Copy, Debug)]
pub struct MultivariantOptions<'a> {
    /// The id that the viewer came with.
    pub playback: &'a PlaybackId,
    /// The broadcast that is on.
    pub broadcast: &'a BroadcastId,
    /// Carried on to the media playlists.
    pub query: Query<'a>,
}

/// Renders the multivariant playlist. It lists the renditions that have a whole segment: ask only once
/// [`Window::is_playable`]. `EXT-X-INDEPENDENT-SEGMENTS` stands in the media playlists alone, because players read this one once
/// and the promise would have to hold for whatever comes: an encoder's next GOP may be longer than a segment can be.
pub fn multivariant(window: &Window, options: &MultivariantOptions<'_>) -> String {
    let ready = |kind| window.renditions().filter(move |r| r.format().kind == kind && r.is_offered()).collect();
    let (mut video, mut audio): (Vec<&Rendition>, Vec<&Rendition>) = (ready(Kind::Video), ready(Kind::Audio));
    audio.sort_by_key(|rendition| (rendition.format().tier, rendition.format().place));
    video.sort_by_key(|rendition| Reverse(rendition.peak()));
    if let Some(start) = start_of(&video) {
        video.get_mut(..=start).into_iter().for_each(|before| before.rotate_right(1));
    }
    let mut out = format!("#EXTM3U\n#EXT-X-VERSION:{VERSION}\n");
    // Writing to a String cannot fail.
    let captions = window.has_captions();
    let _ = Master { videos: video, groups: groups(&audio), captions, options, out: &mut out }.write();
    out
}

/// The place of the rendition that players are to begin with: the largest of a moderate size, else the smallest of all;
/// of equal ones that with the lowest bandwidth.
fn start_of(videos: &[&Rendition]) -> Option<usize> {
    let pixels =
        |r: &Rendition| r.format().resolution.map_or(0, |(width, height)| u64::from(width) * u64::from(height));
    let sized = videos.iter().enumerate().map(|(n, r)| (n, pixels(r)));
    let moderate = sized.clone().filter(|(_, pixels)| *pixels <= START_PIXELS).max_by_key(|(n, pixels)| (*pixels, *n));
    moderate.or_else(|| sized.min_by_key(|(n, pixels)| (*pixels, Reverse(*n)))).map(|(n, _)| n)
}

/// Audio renditions of one codec and tier.
struct Group<'a> {
    id: String,
    codec: &'a str,
    tier: u8,
    members: Vec<Member<'a>>,
    /// What the members of the best tier are called: a poorer one has the same sounds in the same order.
    names: Vec<String>,
}

/// An audio rendition and the name it goes by.
struct Member<'a> {
    rendition: &'a Rendition,
    name: String,
    /// A player may choose it by its viewer's language: the first of each language.
    auto: bool,
}

fn groups<'a>(audio: &[&'a Rendition]) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for rendition in audio {
        let (codec, tier) = (sample_entry(rendition.format()), rendition.format().tier);
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

/// The four characters in front of a codec's parameters.
fn sample_entry(format: &Format) -> &str {
    format.codec.split('.').next().unwrap_or_default()
}

impl<'a> Group<'a> {
    fn add(&mut self, rendition: &'a Rendition) {
        let language = rendition.format().language;
        let auto = self.members.is_empty()
            || language.is_some() && self.members.iter().all(|m| m.rendition.format().language != language);
        self.members.push(Member { rendition, name: self.name(rendition), auto });
    }

    /// Whether no tier of its codec is better.
    fn is_best(&self, groups: &[Self]) -> bool {
        groups.iter().all(|other| other.codec != self.codec || other.tier >= self.tier)
    }

    /// A name that no other member has, and that stays when others come.
    fn name(&self, rendition: &Rendition) -> String {
        if let Some(same) = self.names.get(self.members.len()) {
            return same.clone();
        }
        let number = rendition.id().0 - RenditionId::AUDIO.0 + 1;
        let language = rendition.format().language;
        let Some(name) = language.as_ref().and_then(language::name) else { return format!("Audio {number}") };
        let taken = self.members.iter().any(|member| member.name == name);
        if taken { format!("{name} {number}") } else { name.to_owned() }
    }
}

struct Master<'a> {
    videos: Vec<&'a Rendition>,
    groups: Vec<Group<'a>>,
    /// There may be closed captions in the pictures.
    captions: bool,
    options: &'a MultivariantOptions<'a>,
    out: &'a mut String,
}

impl Master<'_> {
    fn write(&mut self) -> fmt::Result {
        let (videos, groups) = (std::mem::take(&mut self.videos), std::mem::take(&mut self.groups));
        if videos.is_empty() {
            return groups.iter().try_for_each(|group| self.audio_only(group));
        }
        for group in &groups {
            group.members.iter().enumerate().try_for_each(|(n, m)| self.media(&group.id, m, n == 0, true))?;
        }
        if groups.is_empty() {
            return videos.iter().try_for_each(|video| self.variant(video, None, &[]));
        }
        for group in groups.iter().filter(|group| group.is_best(&groups)) {
            let poorest = groups.iter().filter(|other| other.codec == group.codec).max_by_key(|other| other.tier);
            for video in &videos {
                let group = poorest.filter(|_| video.peak() < POOR_LINK).unwrap_or(group);
                self.variant(video, Some(&group.id), &group.members)?;
            }
        }
        Ok(())
    }

    /// A group where there are no pictures: its first rendition is the variant itself, and needs no URI in the group.
    fn audio_only(&mut self, group: &Group<'_>) -> fmt::Result {
        let [main, others @ ..] = group.members.as_slice() else { return Ok(()) };
        if others.is_empty() {
            return self.variant(main.rendition, None, &[]);
        }
        self.media(&group.id, main, true, false)?;
        others.iter().try_for_each(|member| self.media(&group.id, member, false, true))?;
        self.variant(main.rendition, Some(&group.id), others)
    }

    fn media(&mut self, group: &str, member: &Member<'_>, default: bool, uri: bool) -> fmt::Result {
        let Member { rendition, name, auto } = member;
        write!(self.out, "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"{group}\",NAME=\"{name}\"")?;
        if let Some(language) = &rendition.format().language {
            write!(self.out, ",LANGUAGE=\"{}\"", language::tag(language))?;
        }
        let yes = |it| if it { "YES" } else { "NO" };
        write!(self.out, ",DEFAULT={},AUTOSELECT={}", yes(default), yes(*auto))?;
        if let Some(channels) = rendition.format().channels {
            write!(self.out, ",CHANNELS=\"{channels}\"")?;
        }
        if uri {
            self.out.push_str(",URI=\"");
            self.child(rendition)?;
            self.out.push('"');
        }
        self.out.push('\n');
        Ok(())
    }

    /// A variant needs as much as its main rendition and the most demanding of the group, and every codec in them.
    fn variant(&mut self, main: &Rendition, group: Option<&str>, members: &[Member<'_>]) -> fmt::Result {
        let most = |of: fn(&Rendition) -> u64| members.iter().map(|member| of(member.rendition)).max().unwrap_or(0);
        let peak = main.bandwidth() + most(Rendition::bandwidth);
        let average = main.average_bandwidth() + most(Rendition::average_bandwidth);
        let codecs = codecs(std::iter::once(main).chain(members.iter().map(|member| member.rendition)));
        write!(self.out, "#EXT-X-STREAM-INF:BANDWIDTH={peak},AVERAGE-BANDWIDTH={average},CODECS=\"{codecs}\"")?;
        // Behind a change of size the newest is what there is to come.
        if let Some((width, height)) = main.format().resolution {
            write!(self.out, ",RESOLUTION={width}x{height}")?;
            if let Some(rate) = main.millihertz() {
                write!(self.out, ",FRAME-RATE={}.{:03}", rate / 1_000, rate % 1_000)?;
            }
        }
        if let Some(range) = main.format().range {
            write!(self.out, ",VIDEO-RANGE={}", range.as_str())?;
        }
        if let Some(group) = group {
            write!(self.out, ",AUDIO=\"{group}\"")?;
        }
        // Said for whoever would look into segments for captions: Shaka 5.2 then asks for one that is not whole yet, and fails.
        if !self.captions {
            self.out.push_str(",CLOSED-CAPTIONS=NONE");
        }
        self.out.push('\n');
        self.child(main)?;
        self.out.push('\n');
        Ok(())
    }

    fn child(&mut self, rendition: &Rendition) -> fmt::Result {
        let MultivariantOptions { playback, broadcast, query } = self.options;
        write!(self.out, "{playback}/{broadcast}/{}{query}", File::Playlist(rendition.id()))
    }
}

/// Every codec that the listed segments of the renditions need. Those of the newest ones come first.
fn codecs<'a>(renditions: impl Iterator<Item = &'a Rendition>) -> String {
    let mut codecs: Vec<&str> = Vec::new();
    for codec in renditions.flat_map(Rendition::formats).map(|format| format.codec.as_str()) {
        if !codecs.contains(&codec) {
            codecs.push(codec);
        }
    }
    codecs.join(",")
}
