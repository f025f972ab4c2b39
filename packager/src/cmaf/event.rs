//! Timed metadata as event messages (ISO/IEC 23009-1 §5.10.3.3), written before the fragment of their time.

use media::{Metadata, MetadataKind, Timescale};
use mp4_atom::{Emsg, EmsgTimestamp, Encode};

use crate::Error;

/// The duration of an event is never signalled.
const UNKNOWN_DURATION: u32 = u32::MAX;

/// Writes an `emsg` in the timescale of its track.
pub(crate) fn event(metadata: &Metadata, id: u32, scale: Timescale) -> Result<Vec<u8>, Error> {
    let scheme = match metadata.kind {
        MetadataKind::Id3 => "https://aomedia.org/emsg/ID3",
        MetadataKind::Scte35 => "urn:scte:scte35:2013:bin",
    };
    let emsg = Emsg {
        timescale: scale.ticks_per_second(),
        presentation_time: EmsgTimestamp::Absolute(u64::try_from(scale.ticks(metadata.pts)).unwrap_or(0)),
        event_duration: UNKNOWN_DURATION,
        id,
        scheme_id_uri: scheme.to_owned(),
        value: String::new(),
        message_data: metadata.payload.to_vec(),
    };
    let mut out = Vec::with_capacity(64 + metadata.payload.len());
    emsg.encode(&mut out).map_err(Error::Fragment)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use media::{TimeDelta, Timestamp};
    use mp4_atom::Decode;

    #[test]
    fn an_event_reads_back() {
        let pts = Timestamp::ZERO + TimeDelta::from_millis(1_500);
        let metadata = Metadata { kind: MetadataKind::Id3, pts, payload: Bytes::from_static(b"ID3...") };
        let bytes = event(&metadata, 7, Timescale::NINETY_KHZ).unwrap();
        assert_eq!(bytes.get(8), Some(&1), "version 1: the time is the programme's");
        let emsg = Emsg::decode(&mut bytes.as_slice()).unwrap();
        assert_eq!(emsg.presentation_time, EmsgTimestamp::Absolute(135_000));
        assert_eq!((emsg.id, emsg.scheme_id_uri.as_str()), (7, "https://aomedia.org/emsg/ID3"));
        assert_eq!(emsg.message_data, b"ID3...");
    }
}
