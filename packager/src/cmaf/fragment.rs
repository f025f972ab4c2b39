//! Fragments: one `moof` and the header of its `mdat`, followed by payloads that are shared and never copied.

use bytes::Bytes;
use media::Access;
use mp4_atom::{Encode, Mfhd, Moof, Tfdt, Tfhd, Traf, Trun, TrunEntry, TrunSamples};

use super::TRACK_ID;
use crate::Error;
use crate::log::Payload;

/// Sample flags (ISO/IEC 14496-12 §8.8.3.1) of a sync sample, which depends on no other sample.
const SYNC: u32 = 0x0200_0000;
/// Flags of a sample that depends on no other but is not a sync sample, because samples presented before it need
/// earlier ones (SAP type 3).
const OPEN: u32 = 0x0201_0000;
/// Flags of a sample that depends on others.
const NON_SYNC: u32 = 0x0101_0000;
/// Size of a box header without and with a 64-bit size.
const HEADER: u64 = 8;
const LARGE_HEADER: u64 = 16;

/// One sample of a fragment, in ticks of its track.
pub(crate) struct Sample {
    pub(crate) duration: u32,
    /// From decode time to presentation time.
    pub(crate) cts: i32,
    pub(crate) access: Access,
    pub(crate) payload: Bytes,
}

/// Builds a fragment that decodes at `tfdt`, after `events`. The payloads are shared, not copied. `every_key` omits the
/// flags and composition offsets, which the samples of an audio track do not need.
pub(crate) fn fragment(
    sequence: u32,
    tfdt: u64,
    samples: &[Sample],
    every_key: bool,
    events: &[u8],
) -> Result<Payload, Error> {
    let first = samples.first().map(|s| s.duration);
    let common = first.filter(|first| samples.iter().all(|s| s.duration == *first));
    let entry = |s: &Sample| TrunEntry {
        duration: if common.is_some() { None } else { Some(s.duration) },
        size: Some(u32::try_from(s.payload.len()).unwrap_or(u32::MAX)),
        flags: (!every_key).then_some(flags(s.access)),
        cts: (!every_key).then_some(s.cts.into()),
    };
    let mut entries: Vec<_> = samples.iter().map(entry).collect();
    if let [_, rest @ ..] = entries.as_mut_slice()
        && samples.iter().skip(1).all(|s| s.access == Access::Dependent)
    {
        // At most the first sample differs: the default flags of the fragment apply to the others.
        rest.iter_mut().for_each(|e| e.flags = None);
    }
    let tfhd = Tfhd {
        default_sample_duration: common,
        default_sample_flags: Some(if every_key { SYNC } else { NON_SYNC }),
        ..tfhd()
    };
    let payload_len = samples.iter().map(|s| s.payload.len() as u64).sum();
    let head = encode(sequence, tfdt, tfhd, Some(entries), payload_len)?;
    let mut pieces = Vec::with_capacity(1 + samples.len());
    pieces.push(if events.is_empty() { head } else { [events, &head].concat().into() });
    pieces.extend(samples.iter().map(|s| s.payload.clone()));
    Ok(Payload::new(pieces))
}

fn flags(access: Access) -> u32 {
    match access {
        Access::Independent => SYNC,
        Access::Open => OPEN,
        Access::Dependent => NON_SYNC,
    }
}

/// Builds a fragment without samples, for a gap in a rendition.
pub(crate) fn gap(sequence: u32, tfdt: u64, duration: u32) -> Result<Payload, Error> {
    let tfhd = Tfhd { default_sample_duration: Some(duration), duration_is_empty: true, ..tfhd() };
    Ok(Payload::new([encode(sequence, tfdt, tfhd, None, 0)?]))
}

fn tfhd() -> Tfhd {
    Tfhd { track_id: TRACK_ID, default_base_is_moof: true, ..Tfhd::default() }
}

fn encode(
    sequence: u32,
    tfdt: u64,
    tfhd: Tfhd,
    entries: Option<Vec<TrunEntry>>,
    payload_len: u64,
) -> Result<Bytes, Error> {
    let header = if payload_len + HEADER > u64::from(u32::MAX) { LARGE_HEADER } else { HEADER };
    let mut moof = Moof {
        mfhd: Mfhd { sequence_number: sequence },
        traf: vec![Traf {
            tfhd,
            tfdt: Some(Tfdt { base_media_decode_time: tfdt }),
            trun: entries
                .map(|entries| Trun { data_offset: Some(0), samples: TrunSamples::Explicit(entries) })
                .into_iter()
                .collect(),
            ..Traf::default()
        }],
    };
    let mut out = Vec::with_capacity(256);
    moof.encode(&mut out).map_err(Error::Fragment)?;
    let data_offset = i32::try_from(out.len() as u64 + header).unwrap_or(i32::MAX);
    if let Some(trun) = moof.traf.first_mut().and_then(|t| t.trun.first_mut()) {
        // The size of the boxes does not depend on the offset, so the offset is final after the second encoding.
        trun.data_offset = Some(data_offset);
        out.clear();
        moof.encode(&mut out).map_err(Error::Fragment)?;
    }
    if header == HEADER {
        out.extend_from_slice(&u32::try_from(payload_len + HEADER).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(b"mdat");
    } else {
        out.extend_from_slice(&1u32.to_be_bytes());
        out.extend_from_slice(b"mdat");
        out.extend_from_slice(&(payload_len + LARGE_HEADER).to_be_bytes());
    }
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mp4_atom::{Decode, DecodeMaybe};

    fn samples(accesses: &[Access]) -> Vec<Sample> {
        let payload = Bytes::from_static(b"0123456789");
        let sample = |access: &Access| Sample { duration: 3_000, cts: -5, access: *access, payload: payload.clone() };
        accesses.iter().map(sample).collect()
    }

    #[test]
    fn a_fragment_reads_back() {
        let payload = fragment(7, 1 << 33, &samples(&[Access::Independent, Access::Dependent]), false, &[]).unwrap();
        let bytes: Vec<u8> = payload.pieces().concat();
        assert_eq!(payload.len(), bytes.len() as u64);
        let moof = Moof::decode(&mut bytes.as_slice()).unwrap();
        let traf = &moof.traf[0];
        assert_eq!(traf.tfdt.as_ref().unwrap().base_media_decode_time, 1 << 33);
        let trun = &traf.trun[0];
        let offset = trun.data_offset.unwrap() as usize;
        assert_eq!(&bytes[offset..], b"01234567890123456789");
        let read: Vec<_> = trun.samples.iter().map(|e| (e.flags.or(traf.tfhd.default_sample_flags), e.cts)).collect();
        assert_eq!(read, [(Some(SYNC), Some(-5)), (Some(NON_SYNC), Some(-5))]);
    }

    #[test]
    fn keys_inside_keep_their_flags() {
        let payload =
            fragment(1, 0, &samples(&[Access::Dependent, Access::Independent, Access::Open]), false, &[]).unwrap();
        let moof = Moof::decode(&mut payload.pieces()[0].as_ref()).unwrap();
        let flags: Vec<_> = moof.traf[0].trun[0].samples.iter().map(|e| e.flags).collect();
        assert_eq!(flags, [Some(NON_SYNC), Some(SYNC), Some(OPEN)]);
    }

    #[test]
    fn payloads_are_shared() {
        let samples = samples(&[Access::Independent]);
        let payload = fragment(1, 0, &samples, true, &[]).unwrap();
        assert_eq!(payload.pieces()[1].as_ptr(), samples[0].payload.as_ptr());
    }

    #[test]
    fn a_gap_has_no_samples() {
        let payload = gap(1, 90, 10).unwrap();
        let mut bytes = payload.pieces()[0].as_ref();
        let moof = Moof::decode_maybe(&mut bytes).unwrap().unwrap();
        assert!(moof.traf[0].tfhd.duration_is_empty && moof.traf[0].trun.is_empty());
        assert_eq!(bytes, [0, 0, 0, 8, b'm', b'd', b'a', b't']);
    }
}
