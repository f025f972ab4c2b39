//! The text of a multivariant playlist.
//!
//! Audio renditions are in one group for each codec, and each group has a variant of its own. `CODECS` therefore names
//! what a player really needs, and one that cannot decode AC-3 still plays the AAC next to it. The first rendition of
//! each group is its default. A smaller encoding of the same audio (its *tier*) is in a group of its own under the same
//! names, so that players change over without a discontinuity.
//!
//! Each video rendition is a variant with every audio codec: the small ones with the smallest tier of it, the others
//! with the best. Players begin with the first variant, so that is one of a size that most links carry and that looks
//! good; the others follow by falling bandwidth.

use std::cmp::Reverse;
use std::fmt::{self, Write};

use media::Kind;
use media::id::{BroadcastId, PlaybackId};

use super::audio_groups::{Group, Member, groups};
use super::model::{MultivariantPlaylist, RenditionInfo};
use super::{VERSION, language};
use crate::uri::{File, Query};

/// Video of fewer bits per second than this is paired with the smallest audio tier, because the best one would be a
/// large share of the whole.
const SLOW_LINK: u64 = 1_000_000;
/// Players begin with the largest video of at most this many pixels, a little more than 1280x720.
const MAX_START_PIXELS: u64 = 1_000_000;

/// Inputs to the text of a [`MultivariantPlaylist`] besides the model.
#[derive(Clone, Copy, Debug)]
pub struct MultivariantOptions<'a> {
    /// The playback id of the request.
    pub playback: &'a PlaybackId,
    /// The broadcast that is listed.
    pub broadcast: &'a BroadcastId,
    /// The query that the URIs of media playlists carry on.
    pub query: Query<'a>,
}

impl MultivariantPlaylist<'_> {
    /// Renders the playlist.
    ///
    /// `EXT-X-INDEPENDENT-SEGMENTS` is written in media playlists only: players read this playlist once, and the
    /// promise would have to hold for everything to come, but an encoder's next GOP may be longer than a segment can
    /// be.
    pub fn render(&self, options: &MultivariantOptions<'_>) -> String {
        let of = |kind| self.renditions.iter().filter(move |r| r.format.kind == kind).collect();
        let (mut videos, mut audio): (Vec<&RenditionInfo<'_>>, Vec<&RenditionInfo<'_>>) =
            (of(Kind::Video), of(Kind::Audio));
        audio.sort_by_key(|rendition| (rendition.format.tier, rendition.format.place));
        videos.sort_by_key(|rendition| Reverse(rendition.peak_bandwidth));
        if let Some(start) = start_of(&videos) {
            videos.get_mut(..=start).into_iter().for_each(|before| before.rotate_right(1));
        }
        let out = format!("#EXTM3U\n#EXT-X-VERSION:{VERSION}\n");
        let mut text = Text { captions: self.captions, options, out };
        // Writing to a String cannot fail.
        let _ = text.write(&videos, &groups(&audio));
        text.out
    }
}

/// The position of the video that players begin with: the largest of a moderate size, or the smallest if all are
/// larger. Of equal sizes the one with the lowest bandwidth is taken.
fn start_of(videos: &[&RenditionInfo<'_>]) -> Option<usize> {
    let pixels = |r: &RenditionInfo<'_>| r.format.resolution.map_or(0, |(w, h)| u64::from(w) * u64::from(h));
    let sized = videos.iter().enumerate().map(|(n, r)| (n, pixels(r)));
    let moderate =
        sized.clone().filter(|(_, pixels)| *pixels <= MAX_START_PIXELS).max_by_key(|(n, pixels)| (*pixels, *n));
    moderate.or_else(|| sized.min_by_key(|(n, pixels)| (*pixels, Reverse(*n)))).map(|(n, _)| n)
}

/// A playlist that is being written.
struct Text<'a> {
    captions: bool,
    options: &'a MultivariantOptions<'a>,
    out: String,
}

impl Text<'_> {
    fn write(&mut self, videos: &[&RenditionInfo<'_>], groups: &[Group<'_>]) -> fmt::Result {
        if videos.is_empty() {
            return groups.iter().try_for_each(|group| self.audio_only(group));
        }
        for group in groups {
            group.members.iter().enumerate().try_for_each(|(n, m)| self.media(&group.id, m, n == 0, true))?;
        }
        if groups.is_empty() {
            return videos.iter().try_for_each(|video| self.variant(video, None, &[]));
        }
        for group in groups.iter().filter(|group| group.is_best(groups)) {
            let smallest = groups.iter().filter(|other| other.codec == group.codec).max_by_key(|other| other.tier);
            for video in videos {
                let group = smallest.filter(|_| video.peak_bandwidth < SLOW_LINK).unwrap_or(group);
                self.variant(video, Some(&group.id), &group.members)?;
            }
        }
        Ok(())
    }

    /// Writes a group of a broadcast without video. Its first rendition is the variant itself, and needs no URI in
    /// the group.
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
        let Member { rendition, name, autoselect } = member;
        write!(self.out, "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"{group}\",NAME=\"{name}\"")?;
        if let Some(language) = &rendition.format.language {
            write!(self.out, ",LANGUAGE=\"{}\"", language::tag(language))?;
        }
        let yes = |it| if it { "YES" } else { "NO" };
        write!(self.out, ",DEFAULT={},AUTOSELECT={}", yes(default), yes(*autoselect))?;
        if let Some(channels) = rendition.format.channels {
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

    /// Writes a variant. It needs as much bandwidth as its main rendition and the most demanding member of the group
    /// together, and every codec in them.
    fn variant(&mut self, main: &RenditionInfo<'_>, group: Option<&str>, members: &[Member<'_>]) -> fmt::Result {
        let of_members = || members.iter().map(|member| member.rendition);
        let peak = main.bandwidth + of_members().map(|r| r.bandwidth).max().unwrap_or(0);
        let average = main.average_bandwidth + of_members().map(|r| r.average_bandwidth).max().unwrap_or(0);
        let codecs = codecs(std::iter::once(main).chain(of_members()));
        write!(self.out, "#EXT-X-STREAM-INF:BANDWIDTH={peak},AVERAGE-BANDWIDTH={average},CODECS=\"{codecs}\"")?;
        // After a change of size the newest one is what a new player gets.
        if let Some((width, height)) = main.format.resolution {
            write!(self.out, ",RESOLUTION={width}x{height}")?;
            if let Some(rate) = main.millihertz {
                write!(self.out, ",FRAME-RATE={}.{:03}", rate / 1_000, rate % 1_000)?;
            }
        }
        if let Some(range) = main.format.range {
            write!(self.out, ",VIDEO-RANGE={}", range.as_str())?;
        }
        if let Some(group) = group {
            write!(self.out, ",AUDIO=\"{group}\"")?;
        }
        // Shaka 5.2: without this attribute it looks for captions in a segment that is not whole yet, and fails.
        if !self.captions {
            self.out.push_str(",CLOSED-CAPTIONS=NONE");
        }
        self.out.push('\n');
        self.child(main)?;
        self.out.push('\n');
        Ok(())
    }

    fn child(&mut self, rendition: &RenditionInfo<'_>) -> fmt::Result {
        let MultivariantOptions { playback, broadcast, query } = self.options;
        write!(self.out, "{playback}/{broadcast}/{}{query}", File::Playlist(rendition.id))
    }
}

/// Every codec that the listed segments of the renditions need, those of the newest ones first.
fn codecs<'a>(renditions: impl Iterator<Item = &'a RenditionInfo<'a>>) -> String {
    let mut codecs: Vec<&str> = Vec::new();
    for codec in renditions.flat_map(|rendition| &rendition.codecs) {
        if !codecs.contains(codec) {
            codecs.push(codec);
        }
    }
    codecs.join(",")
}
