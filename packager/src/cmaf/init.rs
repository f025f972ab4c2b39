//! Init sections: `ftyp` and `moov`.

use bytes::Bytes;
use media::codec::Colour;
use media::{Kind, Timescale, Track};
use mp4_atom::{
    Decode, Dinf, Dref, Encode, FixedPoint, Ftyp, Hdlr, Mdhd, Mdia, Minf, Moov, Mvex, Mvhd, Smhd, Stbl, Stco, Stsd,
    Tkhd, Trak, Trex, Url, Vmhd,
};

use super::{TRACK_ID, entry, side};
use crate::Error;
use crate::log::Format;

/// The language code of a track whose language is unknown.
const UNDETERMINED: &str = "und";

/// The [`Format`] of a track, for multivariant playlists.
pub(crate) fn format(track: &Track) -> Format {
    let codec = &track.codec;
    Format {
        resolution: codec.display_size(),
        range: codec.colour().filter(Colour::is_specified).map(|colour| colour.video_range()),
        channels: codec.channels(),
        language: track.language,
        place: track.id.0,
        tier: track.tier,
        ..Format::new(track.kind(), track.codec_string())
    }
}

/// The timescale that an init section gives its track.
pub(crate) fn timescale(init: &[u8]) -> Result<Timescale, Error> {
    let mut bytes = init;
    let moov = Ftyp::decode(&mut bytes).and_then(|_| Moov::decode(&mut bytes)).map_err(Error::Init)?;
    Ok(Timescale::new(moov.trak.first().map_or(0, |trak| trak.mdia.mdhd.timescale)))
}

/// Builds the init section of a track.
pub(crate) fn init(track: &Track) -> Result<Bytes, Error> {
    let mut out = Vec::with_capacity(1_024);
    let moov = Moov {
        mvhd: Mvhd {
            timescale: track.timescale().ticks_per_second(),
            rate: 1.into(),
            volume: 1.into(),
            next_track_id: TRACK_ID + 1,
            ..Mvhd::default()
        },
        mvex: Some(Mvex {
            mehd: None,
            trex: vec![Trex { track_id: TRACK_ID, default_sample_description_index: 1, ..Trex::default() }],
        }),
        trak: vec![trak(track)?],
        ..Moov::default()
    };
    ftyp().encode(&mut out).and_then(|()| moov.encode(&mut out)).map_err(Error::Init)?;
    Ok(out.into())
}

fn ftyp() -> Ftyp {
    Ftyp { major_brand: b"iso6".into(), minor_version: 0, compatible_brands: vec![b"iso6".into(), b"cmfc".into()] }
}

fn trak(track: &Track) -> Result<Trak, Error> {
    let mut tkhd = Tkhd { track_id: TRACK_ID, enabled: true, in_movie: true, ..Tkhd::default() };
    let mut minf = Minf { dinf: Dinf { dref: Dref { entries: vec![Url::default().into()] } }, ..Minf::default() };
    let (handler, name) = match track.kind() {
        Kind::Video => {
            let (width, height) = track.codec.display_size().unwrap_or_default();
            tkhd.width = FixedPoint::from(side(width));
            tkhd.height = FixedPoint::from(side(height));
            minf.vmhd = Some(Vmhd::default());
            (b"vide", "Video")
        }
        Kind::Audio => {
            tkhd.volume = 1.into();
            minf.smhd = Some(Smhd::default());
            (b"soun", "Audio")
        }
    };
    let codecs = vec![entry::sample_entry(track)?];
    minf.stbl = Stbl { stsd: Stsd { codecs }, stco: Some(Stco::default()), ..Stbl::default() };
    let language = track.language.as_ref().map_or(UNDETERMINED, media::Language::as_str).to_owned();
    let mdhd = Mdhd { timescale: track.timescale().ticks_per_second(), language, ..Mdhd::default() };
    let hdlr = Hdlr { handler: handler.into(), name: name.to_owned() };
    Ok(Trak { tkhd, mdia: Mdia { mdhd, hdlr, minf }, ..Trak::default() })
}
