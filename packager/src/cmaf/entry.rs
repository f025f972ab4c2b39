//! Sample entries: the coding of a track (ISO/IEC 14496-12 §8.5.2), one kind for each codec.

use bytes::Bytes;
use media::codec::{Colour, aac};
use media::{CodecConfig, Track};
use mp4_atom::esds::{DecoderConfig, DecoderSpecific, EsDescriptor};
use mp4_atom::{
    Ac3, Ac3SpecificBox, Atom, Audio, Av01, Av1c, Avc1, Avcc, Codec, Colr, Dfla, Dops, Eac3, Ec3SpecificBox, Esds,
    FixedPoint, Flac, FlacMetadataBlock, Hvc1, Hvcc, Mp4a, Opus, Pasp, Visual, Vp09, VpcC,
};

use crate::Error;

/// ISO/IEC 14496-1 §7.2.6.6: MPEG-4 audio, in an audio stream.
const OBJECT_TYPE_AAC: u8 = 0x40;
const STREAM_TYPE_AUDIO: u8 = 5;
/// Written if only the frames signal the number of channels. The field then means nothing; other packagers write 2.
const UNKNOWN_CHANNELS: u16 = 2;
/// Version and flags of the boxes that have them; `vpcC` has version 1.
const VPCC_VERSION: [u8; 4] = [1, 0, 0, 0];
const DFLA_VERSION: [u8; 4] = [0; 4];

/// The sample entry of a track.
pub(super) fn sample_entry(track: &Track) -> Result<Codec, Error> {
    let codec = &track.codec;
    let record = codec.record();
    Ok(match codec {
        CodecConfig::Avc(_) => {
            let (visual, avcc, pasp, colr) = (visual(codec), read::<Avcc>(record, &[])?, pasp(codec), colr(codec));
            Avc1 { visual, avcc, pasp, colr, ..Avc1::default() }.into()
        }
        CodecConfig::Hevc(_) => {
            let (visual, hvcc, pasp, colr) = (visual(codec), read::<Hvcc>(record, &[])?, pasp(codec), colr(codec));
            Hvc1 { visual, hvcc, pasp, colr, ..Hvc1::default() }.into()
        }
        CodecConfig::Av1(_) => {
            let (visual, av1c, pasp, colr) = (visual(codec), read::<Av1c>(record, &[])?, pasp(codec), colr(codec));
            Av01 { visual, av1c, pasp, colr, ..Av01::default() }.into()
        }
        CodecConfig::Vp9(_) => {
            let vpcc = read::<VpcC>(record, &VPCC_VERSION)?;
            let (visual, pasp, colr) = (visual(codec), pasp(codec), colr(codec));
            Vp09 { visual, vpcc, pasp, colr, ..Vp09::default() }.into()
        }
        CodecConfig::Aac(aac) => mp4a(codec, aac).into(),
        CodecConfig::Opus(_) => Opus { audio: audio(codec), dops: read::<Dops>(record, &[])?, btrt: None }.into(),
        CodecConfig::Ac3(_) => Ac3 { audio: audio(codec), dac3: read::<Ac3SpecificBox>(record, &[])? }.into(),
        CodecConfig::Eac3(_) => Eac3 { audio: audio(codec), dec3: read::<Ec3SpecificBox>(record, &[])? }.into(),
        CodecConfig::Flac(_) => {
            let mut dfla = read::<Dfla>(record, &DFLA_VERSION)?;
            // Decoders need no other block, and not all of them can be written.
            dfla.blocks.retain(|block| matches!(block, FlacMetadataBlock::StreamInfo { .. }));
            Flac { audio: audio(codec), dfla }.into()
        }
    })
}

/// Reads a decoder configuration record as the body of its box, after `version` if the box has one.
fn read<T: Atom>(record: &Bytes, version: &[u8]) -> Result<T, Error> {
    let body = [version, record].concat();
    T::decode_body(&mut body.as_slice()).map_err(Error::Record)
}

fn visual(codec: &CodecConfig) -> Visual {
    let (width, height) = codec.resolution().unwrap_or_default();
    Visual { data_reference_index: 1, width: super::side(width), height: super::side(height), ..Visual::default() }
}

fn pasp(codec: &CodecConfig) -> Option<Pasp> {
    let (h, v) = codec.pixel_aspect().filter(|(h, v)| h != v)?;
    Some(Pasp { h_spacing: h.into(), v_spacing: v.into() })
}

/// The colour description, if the stream signals one. Players choose their output by it before they decode.
fn colr(codec: &CodecConfig) -> Option<Colr> {
    let colour = codec.colour().filter(Colour::is_specified)?;
    Some(Colr::Nclx {
        colour_primaries: colour.primaries.into(),
        transfer_characteristics: colour.transfer.into(),
        matrix_coefficients: colour.matrix.into(),
        full_range_flag: colour.full_range,
    })
}

fn audio(codec: &CodecConfig) -> Audio {
    Audio {
        data_reference_index: 1,
        channel_count: codec.channels().map_or(UNKNOWN_CHANNELS, u16::from),
        sample_size: 16,
        // A rate that does not fit the field is written as 0; players read it from the codec's own box.
        sample_rate: FixedPoint::from(codec.sample_rate().and_then(|rate| u16::try_from(rate).ok()).unwrap_or(0)),
    }
}

fn mp4a(codec: &CodecConfig, aac: &aac::Config) -> Mp4a {
    let dec_specific = DecoderSpecific { raw: aac.raw.to_vec(), ..DecoderSpecific::default() };
    let dec_config = DecoderConfig {
        object_type_indication: OBJECT_TYPE_AAC,
        stream_type: STREAM_TYPE_AUDIO,
        dec_specific: Some(dec_specific),
        ..Default::default()
    };
    let esds = Esds { es_desc: EsDescriptor { dec_config, ..EsDescriptor::default() } };
    Mp4a { audio: audio(codec), esds, btrt: None, taic: None }
}
