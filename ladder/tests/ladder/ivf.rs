//! Reads IVF, for codecs that a transport stream does not carry: VP9 and AV1.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use media::codec::{av1, vp9};
use media::{CodecConfig, Frame, Timescale, Track, TrackId};
use wire::Item as Demuxed;

use crate::support::ffmpeg;

/// Makes an IVF file by ffmpeg's `arguments`, and returns its frames, `fps` per second.
pub(crate) fn read(folder: &Path, arguments: &str, fps: u32) -> Vec<Demuxed> {
    ffmpeg(folder, &format!("{arguments} clip.ivf"));
    let file = Bytes::from(fs::read(folder.join("clip.ivf")).unwrap());
    let is_av1 = &file[8..12] == b"AV01";
    let (mut at, mut items, mut codec) = (32, Vec::new(), None);
    while at + 12 <= file.len() {
        let size = u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
        let number = u64::from_le_bytes(file[at + 4..at + 12].try_into().unwrap());
        let unit = file.slice(at + 12..at + 12 + size);
        at += 12 + size;
        let payload = if is_av1 { av1::without_delimiters(unit) } else { unit };
        let config = codec.get_or_insert_with(|| {
            let config = if is_av1 {
                CodecConfig::Av1(av1::Config::from_sample(&payload).unwrap())
            } else {
                CodecConfig::Vp9(vp9::Config::from_key_frame(&payload).unwrap())
            };
            items.push(Demuxed::Track(Track::new(TrackId(1), config.clone())));
            config
        });
        let (pts, access) = (Timescale::new(fps).timestamp(number as i64), config.access(&payload));
        items.push(Demuxed::Frame(Frame { track: TrackId(1), dts: pts, pts, access, payload }));
    }
    items
}
