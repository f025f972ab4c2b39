//! The tracks of a publication: how each is sent, and the metadata that describes them.

use media::{CodecConfig, Kind, Track, TrackId};

use crate::amf0::Value;
use crate::flv::Codec;
use crate::flv::mux::{self, Form};
use crate::rtmp::enhanced;
use crate::rtmp::message::Command;

/// Track or frame that cannot be sent to this target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrackError {
    /// The target does not announce the codec.
    #[error("the target does not announce support for {codec} (track {})", .track.0)]
    Codec {
        /// The track.
        track: TrackId,
        /// Name of its codec.
        codec: &'static str,
    },
    /// The target announces no support for several tracks of a kind.
    #[error("the target does not announce support for several tracks of a kind (track {})", .track.0)]
    Multitrack {
        /// The first track too many.
        track: TrackId,
    },
    /// A frame of a track that was not announced.
    #[error("track {} was not announced", .0.0)]
    Unknown(TrackId),
    /// A frame that does not fit in a message.
    #[error("a frame of {len} bytes does not fit in a message (track {})", .track.0)]
    TooLong {
        /// Track of the frame.
        track: TrackId,
        /// Bytes of the frame.
        len: usize,
    },
    /// The publication has not started, or is over.
    #[error("the publication has not started or is over")]
    NotPublishing,
}

/// Features that a server announced in its result of `connect`.
#[derive(Clone, Debug, Default)]
pub(super) struct Capabilities {
    four_ccs: Vec<String>,
    multitrack: bool,
}

impl Capabilities {
    /// Reads the properties and the information object, because the standard does not say which of the two it means.
    pub(super) fn read(result: &Command) -> Self {
        let mut capabilities = Self::default();
        for object in std::iter::once(&result.object).chain(result.arguments.first()) {
            capabilities.four_ccs.extend(enhanced::four_ccs(object));
            capabilities.multitrack |= enhanced::caps_ex(object).is_some_and(|flags| flags & enhanced::MULTITRACK != 0);
        }
        capabilities
    }

    /// Returns whether the server takes the codec by its FourCC. Case is ignored, because servers get it wrong.
    fn takes(&self, codec: Codec) -> bool {
        let Some(four_cc) = codec.four_cc() else { return false };
        let is_it = |known: &String| known == enhanced::ANY || known.as_bytes().eq_ignore_ascii_case(&four_cc);
        self.four_ccs.iter().any(is_it)
    }

    /// Returns the form of the track with this number among those of its kind.
    fn form(&self, track: &Track, number: usize, legacy_hevc: bool) -> Result<Form, TrackError> {
        let codec = Codec::of(&track.codec);
        if number > 0 {
            let number = u8::try_from(number).ok().filter(|_| self.multitrack);
            let number = number.ok_or(TrackError::Multitrack { track: track.id })?;
            if self.takes(codec) {
                return Ok(Form::Multitrack(number));
            }
        } else if matches!(codec, Codec::Avc | Codec::Aac) {
            return Ok(Form::Legacy);
        } else if self.takes(codec) {
            return Ok(Form::Enhanced);
        } else if codec == Codec::Hevc && legacy_hevc {
            return Ok(Form::Legacy);
        }
        Err(TrackError::Codec { track: track.id, codec: track.codec.name() })
    }

    /// Returns the tracks with their forms. The first track of a kind has number 0, the next one 1, and so on.
    pub(super) fn plan(&self, tracks: &[Track], legacy_hevc: bool) -> Result<Vec<Outgoing>, TrackError> {
        let (mut video, mut audio) = (0, 0);
        let mut plan = Vec::with_capacity(tracks.len());
        for track in tracks {
            let number = if track.kind() == Kind::Video { &mut video } else { &mut audio };
            let form = self.form(track, *number, legacy_hevc)?;
            *number += 1;
            plan.push(Outgoing { id: track.id, config: track.codec.clone(), form });
        }
        Ok(plan)
    }
}

/// A track as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) id: TrackId,
    pub(super) config: CodecConfig,
    pub(super) form: Form,
}

impl Outgoing {
    /// Returns the number that names the codec in `onMetaData`: the one of FLV, or the four bytes of the FourCC.
    fn codec_id(&self) -> f64 {
        match (self.form, Codec::of(&self.config)) {
            (Form::Legacy, Codec::Avc) => mux::AVC_ID.into(),
            (Form::Legacy, Codec::Hevc) => mux::HEVC_ID.into(),
            (Form::Legacy, _) => mux::AAC_ID.into(),
            (_, codec) => u32::from_be_bytes(codec.four_cc().unwrap_or_default()).into(),
        }
    }

    /// Returns the properties of the track in `onMetaData`.
    fn properties(&self) -> Vec<(String, Value)> {
        let mut properties = Vec::new();
        let mut add = |name: &str, value: Value| properties.push((name.to_owned(), value));
        if self.config.kind() == Kind::Video {
            add("videocodecid", self.codec_id().into());
            if let Some((width, height)) = self.config.resolution() {
                add("width", f64::from(width).into());
                add("height", f64::from(height).into());
            }
            if let Some((frames, seconds)) = self.config.frame_rate().filter(|(_, seconds)| *seconds > 0) {
                add("framerate", (f64::from(frames) / f64::from(seconds)).into());
            }
            return properties;
        }
        add("audiocodecid", self.codec_id().into());
        add("audiosamplesize", 16.0.into());
        if let Some(rate) = self.config.sample_rate() {
            add("audiosamplerate", f64::from(rate).into());
        }
        if let Some(channels) = self.config.channels() {
            add("audiochannels", f64::from(channels).into());
            add("stereo", Value::Boolean(channels > 1));
        }
        properties
    }
}

/// Returns the value of `onMetaData` for `tracks`. The first track of each kind is described at the top, further ones
/// under their numbers.
pub(super) fn metadata(tracks: &[Outgoing]) -> Value {
    let further = |kind| {
        let of_kind = tracks.iter().filter(move |track| track.config.kind() == kind);
        of_kind.filter_map(|track| match track.form {
            Form::Multitrack(number) => Some((number.to_string(), Value::Object(track.properties()))),
            Form::Legacy | Form::Enhanced => None,
        })
    };
    let main = tracks.iter().filter(|track| !matches!(track.form, Form::Multitrack(_)));
    let mut properties: Vec<(String, Value)> = main.flat_map(Outgoing::properties).collect();
    for (name, kind) in [("videoTrackIdInfoMap", Kind::Video), ("audioTrackIdInfoMap", Kind::Audio)] {
        let map: Vec<_> = further(kind).collect();
        if !map.is_empty() {
            properties.push((name.to_owned(), Value::Object(map)));
        }
    }
    properties.push(("encoder".to_owned(), "Weir".into()));
    Value::EcmaArray(properties)
}
