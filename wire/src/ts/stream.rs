//! One elementary stream: converts the payloads of its PID to items.

use bytes::Bytes;
use media::codec::HeaderError;
use media::{Access, CodecConfig, Frame, Language, Metadata, MetadataKind, Timestamp, Track, TrackId};

use super::audio::{self, AudioFramer};
use super::clock::Clock;
use super::framing::{Format, opus_channels};
use super::metadata;
use super::packet::{self, FULL, PACKET};
use super::pes::{self, Piece};
use super::psi::{self, Content};
use super::video::{self, Times, VideoFramer};
use super::{Limits, Stats};
use crate::Item;
use crate::annexb::Codec;

/// State that all [`Stream`]s share.
pub(super) struct Context<'a> {
    pub(super) limits: &'a Limits,
    pub(super) stats: &'a mut Stats,
    pub(super) clock: &'a mut Clock,
    pub(super) items: &'a mut Vec<Item>,
}

/// An elementary stream.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    /// [`Content`] as declared in the programme map.
    pub(super) content: Content,
    label: Label,
    pes: pes::Reader,
    body: Body,
    /// Whether the last packet was not full. The last packet of a PES packet usually is not.
    ragged: bool,
}

/// [`TrackId`] and [`Language`] of a track.
#[derive(Clone, Copy, Debug)]
struct Label {
    track: TrackId,
    language: Option<Language>,
}

#[derive(Clone, Debug)]
enum Body {
    Video(Box<VideoFramer>),
    Audio(Box<AudioFramer>),
    /// ID3 tags of a PES packet and their time.
    Id3(Vec<u8>, Option<Timestamp>),
    Scte35(psi::Assembler),
}

impl Stream {
    /// Creates a stream of `content` for `track`; `None` if its form is unsupported.
    pub(super) fn new(content: Content, track: TrackId, language: Option<Language>, limits: &Limits) -> Option<Self> {
        let audio = |format| Body::Audio(Box::new(AudioFramer::new(format, limits.block)));
        let video = |codec| Body::Video(Box::new(VideoFramer::new(codec, limits.block, limits.unit)));
        let body = match content {
            Content::Avc => video(Codec::Avc),
            Content::Hevc => video(Codec::Hevc),
            Content::Adts => audio(Format::Adts),
            Content::Latm => audio(Format::Loas),
            Content::Ac3 | Content::Eac3 => audio(Format::Dolby),
            Content::Opus(code) => audio(Format::Opus(opus_channels(code)?)),
            Content::Id3 => Body::Id3(Vec::new(), None),
            Content::Scte35 => Body::Scte35(psi::Assembler::default()),
        };
        Some(Self { content, label: Label { track, language }, pes: pes::Reader::default(), body, ragged: false })
    }

    /// Returns the [`TrackId`] of the stream.
    pub(super) const fn track(&self) -> TrackId {
        self.label.track
    }

    /// Returns whether the stream is video or audio.
    pub(super) const fn is_track(&self) -> bool {
        matches!(self.body, Body::Video(_) | Body::Audio(_))
    }

    /// Takes the payload of a packet.
    pub(super) fn push(&mut self, payload: &[u8], start: bool, cx: &mut Context<'_>) {
        self.ragged = payload.len() < FULL;
        let Self { pes, body, label, .. } = self;
        let (limit, wrong_before) = (cx.limits.pes, pes.wrong_lengths());
        match body {
            Body::Video(framer) => pes.push(payload, start, limit, &mut |piece| video_piece(framer, *label, piece, cx)),
            Body::Audio(framer) => pes.push(payload, start, limit, &mut |piece| audio_piece(framer, *label, piece, cx)),
            Body::Id3(tags, pts) => pes.push(payload, start, limit, &mut |piece| id3(tags, pts, piece, cx)),
            Body::Scte35(assembler) => {
                let over = assembler.push(payload, start, cx.limits.section, &mut |section| splice(section, cx));
                cx.stats.oversized_sections += over;
            }
        }
        cx.stats.wrong_lengths += pes.wrong_lengths() - wrong_before;
    }

    /// Takes a run of packets that consist of payload and begin nothing.
    pub(super) fn push_run(&mut self, packets: &[[u8; PACKET]], cx: &mut Context<'_>) {
        self.ragged = false;
        match &mut self.body {
            Body::Video(framer) if self.pes.advance(packets.len() * FULL, cx.limits.pes) => {
                framer.push_run(packets, &mut |output| video_output(self.label, output, cx));
            }
            _ => packets.iter().for_each(|packet| self.push(packet::body(packet), false, cx)),
        }
    }

    /// Returns why the stream cannot be used ([`AudioFramer::unusable`]), if that is known.
    pub(super) fn unusable(&self) -> Option<(TrackId, &HeaderError)> {
        match &self.body {
            Body::Audio(framer) => framer.unusable().map(|error| (self.label.track, error)),
            Body::Video(_) | Body::Id3(..) | Body::Scte35(_) => None,
        }
    }

    /// Drops the data under way, because packets are missing.
    pub(super) fn lose(&mut self, stats: &mut Stats) {
        self.pes.lose();
        let lost = match &mut self.body {
            Body::Video(framer) => framer.lose(),
            Body::Audio(framer) => framer.lose(),
            Body::Id3(tags, _) => !std::mem::take(tags).is_empty(),
            Body::Scte35(assembler) => {
                assembler.reset();
                false
            }
        };
        stats.dropped += u64::from(lost);
    }

    /// Ends the stream and outputs complete access units. If a video PES packet declares no length, only a last
    /// transport packet that is not full shows that nothing is missing.
    pub(super) fn finish(&mut self, cx: &mut Context<'_>) {
        if self.pes.is_short() || !self.ragged && self.pes.is_unbounded() {
            self.lose(cx.stats);
        }
        let Self { pes, body, label, .. } = self;
        match body {
            Body::Video(framer) => {
                pes.finish(&mut |piece| video_piece(framer, *label, piece, cx));
                framer.flush(&mut |output| video_output(*label, output, cx));
            }
            Body::Audio(framer) => pes.finish(&mut |piece| audio_piece(framer, *label, piece, cx)),
            Body::Id3(tags, pts) => pes.finish(&mut |piece| id3(tags, pts, piece, cx)),
            Body::Scte35(_) => {}
        }
    }

    /// Sets the language from a new map and announces the [`Track`] again.
    pub(super) fn set_language(&mut self, language: Option<Language>, cx: &mut Context<'_>) {
        if self.label.language == language {
            return;
        }
        self.label.language = language;
        let config = match &self.body {
            Body::Video(framer) => framer.config(),
            Body::Audio(framer) => framer.config(),
            Body::Id3(..) | Body::Scte35(_) => None,
        };
        if let Some(config) = config {
            announce(self.label, config.clone(), cx);
        }
    }
}

fn announce(Label { track, language }: Label, codec: CodecConfig, cx: &mut Context<'_>) {
    let mut track = Track::new(track, codec);
    track.language = language;
    cx.items.push(Item::Track(track));
}

fn emit(label: Label, Times { dts, pts }: Times, access: Access, payload: Bytes, cx: &mut Context<'_>) {
    cx.items.push(Item::Frame(Frame { track: label.track, dts, pts, access, payload }));
}

fn video_piece(framer: &mut VideoFramer, label: Label, piece: Piece<'_>, cx: &mut Context<'_>) {
    match piece {
        Piece::Data(bytes) => framer.push(bytes, &mut |output| video_output(label, output, cx)),
        Piece::Begin(stamp) => framer.begin(stamp.map(|stamp| {
            let dts = cx.clock.unwrap(stamp.dts);
            Times { dts, pts: cx.clock.near(stamp.pts) }
        })),
        // Only the beginning of the next access unit ends one, because it may have several PES packets.
        Piece::End => {}
        Piece::Broken => cx.stats.dropped += u64::from(framer.lose()),
    }
}

fn video_output(label: Label, output: video::Output, cx: &mut Context<'_>) {
    match output {
        video::Output::Config(config) => announce(label, config, cx),
        video::Output::Frame { payload, times, access } => emit(label, times, access, payload, cx),
        video::Output::Dropped => cx.stats.dropped += 1,
        video::Output::Early => {
            cx.stats.early += 1;
            cx.items.push(Item::VideoExpected);
        }
    }
}

fn audio_piece(framer: &mut AudioFramer, label: Label, piece: Piece<'_>, cx: &mut Context<'_>) {
    match piece {
        Piece::Data(bytes) => framer.push(bytes, &mut |output| audio_output(label, output, cx)),
        Piece::Begin(stamp) => framer.begin(stamp.map(|stamp| cx.clock.unwrap(stamp.pts))),
        Piece::End => framer.end(&mut |output| audio_output(label, output, cx)),
        Piece::Broken => cx.stats.dropped += u64::from(framer.lose()),
    }
}

fn audio_output(label: Label, output: audio::Output, cx: &mut Context<'_>) {
    match output {
        audio::Output::Config(config) => announce(label, config, cx),
        audio::Output::Frame(payload, pts) => emit(label, Times { dts: pts, pts }, Access::Independent, payload, cx),
        audio::Output::Dropped => cx.stats.dropped += 1,
    }
}

fn id3(tags: &mut Vec<u8>, pts: &mut Option<Timestamp>, piece: Piece<'_>, cx: &mut Context<'_>) {
    match piece {
        Piece::Begin(stamp) => {
            cx.stats.dropped += u64::from(!std::mem::take(tags).is_empty());
            *pts = stamp.map(|stamp| cx.clock.near(stamp.pts));
        }
        Piece::Data(bytes) if tags.len() + bytes.len() <= cx.limits.metadata => tags.extend_from_slice(bytes),
        // Too long: without a time it is dropped at its end.
        Piece::Data(_) => *pts = None,
        Piece::Broken => {
            (*tags, *pts) = (Vec::new(), None);
            cx.stats.dropped += 1;
        }
        // The tag declares more than the packet, so the rest follows.
        Piece::End if metadata::is_short_id3(tags, cx.limits.metadata) => {}
        Piece::End => match (pts.take(), std::mem::take(tags)) {
            (Some(pts), tags) if tags.starts_with(b"ID3") => metadata_item(MetadataKind::Id3, pts, tags.into(), cx),
            _ => cx.stats.dropped += 1,
        },
    }
}

fn splice(section: &[u8], cx: &mut Context<'_>) {
    if psi::checked(section).is_none() {
        cx.stats.bad_crc += 1;
        return;
    }
    let Ok(time) = metadata::splice_time(section) else { return };
    // A splice that takes effect at once gets the latest time.
    let Some(pts) = time.map(|ticks| cx.clock.near(ticks)).or(cx.clock.last()) else { return };
    metadata_item(MetadataKind::Scte35, pts, Bytes::copy_from_slice(section), cx);
}

fn metadata_item(kind: MetadataKind, pts: Timestamp, payload: Bytes, cx: &mut Context<'_>) {
    cx.items.push(Item::Metadata(Metadata { kind, pts, payload }));
}
