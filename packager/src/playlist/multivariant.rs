//! The multivariant playlist.

use std::fmt::Write;

use media::Kind;
use media::id::{BroadcastId, PlaybackId};

use super::VERSION;
use crate::uri::{File, Query};
use crate::window::{Rendition, Segment, Window};

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
/// [`Window::is_playable`].
pub fn multivariant(window: &Window, options: &MultivariantOptions<'_>) -> String {
    let ready = |kind| window.renditions().find(move |r| r.format().kind == kind && r.listed().any(Segment::is_closed));
    let (video, audio) = (ready(Kind::Video), ready(Kind::Audio));
    let mut out = format!("#EXTM3U\n#EXT-X-VERSION:{VERSION}\n");
    if window.renditions().flat_map(Rendition::listed).all(|s| s.independent() || s.is_gap()) {
        out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    // Writing to a String cannot fail.
    let _ = match (video, audio) {
        (Some(video), Some(audio)) => {
            audio_group(&mut out, audio, options).and_then(|()| variant(&mut out, video, Some(audio), options))
        }
        (Some(only), None) | (None, Some(only)) => variant(&mut out, only, None, options),
        (None, None) => Ok(()),
    };
    out
}

fn audio_group(out: &mut String, audio: &Rendition, options: &MultivariantOptions<'_>) -> std::fmt::Result {
    out.push_str("#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"Audio\",DEFAULT=YES,AUTOSELECT=YES");
    if let Some(channels) = audio.format().channels {
        write!(out, ",CHANNELS=\"{channels}\"")?;
    }
    out.push_str(",URI=\"");
    child(out, audio, options)?;
    out.push_str("\"\n");
    Ok(())
}

fn variant(
    out: &mut String,
    main: &Rendition,
    audio: Option<&Rendition>,
    options: &MultivariantOptions<'_>,
) -> std::fmt::Result {
    let peak = main.bandwidth() + audio.map_or(0, Rendition::bandwidth);
    let average = main.average_bandwidth() + audio.map_or(0, Rendition::average_bandwidth);
    write!(out, "#EXT-X-STREAM-INF:BANDWIDTH={peak},AVERAGE-BANDWIDTH={average},CODECS=\"{}", main.format().codec)?;
    if let Some(audio) = audio {
        write!(out, ",{}", audio.format().codec)?;
    }
    out.push('"');
    if let Some((width, height)) = main.format().resolution {
        write!(out, ",RESOLUTION={width}x{height}")?;
        if let Some(rate) = main.millihertz() {
            write!(out, ",FRAME-RATE={}.{:03}", rate / 1_000, rate % 1_000)?;
        }
    }
    if audio.is_some() {
        out.push_str(",AUDIO=\"audio\"");
    }
    out.push('\n');
    child(out, main, options)?;
    out.push('\n');
    Ok(())
}

fn child(out: &mut String, rendition: &Rendition, options: &MultivariantOptions<'_>) -> std::fmt::Result {
    let MultivariantOptions { playback, broadcast, query } = options;
    write!(out, "{playback}/{broadcast}/{}{query}", File::Playlist(rendition.id()))
}
