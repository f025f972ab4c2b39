//! Init sections: `ftyp` and `moov`.

use bytes::Bytes;
use media::codec::{aac, avc};
use media::{CodecConfig, Track};
use mp4_atom::esds::{DecoderConfig, DecoderSpecific, EsDescriptor};
use mp4_atom::{
    Atom, Audio, Avc1, Avcc, Codec, Dinf, Dref, Encode, Esds, FixedPoint, Ftyp, Hdlr, Mdhd, Mdia, Minf, Moov, Mp4a,
    Mvex, Mvhd, Pasp, Smhd, Stbl, Stco, Stsd, Tkhd, Trak, Trex, Url, Visual, Vmhd,
};

use super::TRACK_ID;
use crate::Error;
use crate::log::Format;

/// ISO/IEC 14496-1 §7.2.6.6: MPEG-4 audio, in an audio stream.
const OBJECT_TYPE_AAC: u8 = 0x40;
const STREAM_TYPE_AUDIO: u8 = 5;
/// No language is known of a contribution.
const UNDETERMINED: &str = "und";

/// What a multivariant playlist says of a track.
pub(crate) fn format(track: &Track) -> Format {
    let (resolution, channels) = (track.codec.display_size(), track.codec.channels());
    Format { kind: track.kind(), codec: track.codec_string(), resolution, channels }
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
    let (handler, name, codec) = match &track.codec {
        CodecConfig::Avc(avc) => {
            let (width, height) = track.codec.display_size().unwrap_or_default();
            tkhd.width = FixedPoint::from(side(width));
            tkhd.height = FixedPoint::from(side(height));
            minf.vmhd = Some(Vmhd::default());
            (b"vide", "Video", Codec::from(avc1(avc)?))
        }
        CodecConfig::Aac(aac) => {
            tkhd.volume = 1.into();
            minf.smhd = Some(Smhd::default());
            (b"soun", "Audio", Codec::from(mp4a(aac)))
        }
        other => return Err(Error::Record(mp4_atom::Error::Unsupported(other.name()))),
    };
    minf.stbl = Stbl { stsd: Stsd { codecs: vec![codec] }, stco: Some(Stco::default()), ..Stbl::default() };
    let mdhd =
        Mdhd { timescale: track.timescale().ticks_per_second(), language: UNDETERMINED.to_owned(), ..Mdhd::default() };
    let hdlr = Hdlr { handler: handler.into(), name: name.to_owned() };
    Ok(Trak { tkhd, mdia: Mdia { mdhd, hdlr, minf }, ..Trak::default() })
}

fn avc1(avc: &avc::Config) -> Result<Avc1, Error> {
    let avcc = Avcc::decode_body(&mut &avc.record[..]).map_err(Error::Record)?;
    let visual = Visual {
        data_reference_index: 1,
        width: side(avc.sps.width),
        height: side(avc.sps.height),
        ..Visual::default()
    };
    let pasp =
        avc.sps.pixel_aspect.filter(|(h, v)| h != v).map(|(h, v)| Pasp { h_spacing: h.into(), v_spacing: v.into() });
    Ok(Avc1 { visual, avcc, pasp, ..Avc1::default() })
}

fn mp4a(aac: &aac::Config) -> Mp4a {
    let dec_specific = DecoderSpecific { raw: aac.raw.to_vec(), ..DecoderSpecific::default() };
    let dec_config = DecoderConfig {
        object_type_indication: OBJECT_TYPE_AAC,
        stream_type: STREAM_TYPE_AUDIO,
        dec_specific: Some(dec_specific),
        ..Default::default()
    };
    Mp4a {
        audio: Audio {
            data_reference_index: 1,
            // Where a program config element tells the channels, the field means nothing; 2 is what others write.
            channel_count: if aac.channels == 0 { 2 } else { aac.channels.into() },
            sample_size: 16,
            // Rates that do not fit the field are written as 0, and read from the AudioSpecificConfig.
            sample_rate: FixedPoint::from(u16::try_from(aac.sample_rate).unwrap_or(0)),
        },
        esds: Esds { es_desc: EsDescriptor { dec_config, ..EsDescriptor::default() } },
        btrt: None,
        taic: None,
    }
}

fn side(pixels: u32) -> u16 {
    u16::try_from(pixels).unwrap_or(u16::MAX)
}
