//! The colours of the output.

use gstreamer_video as video;

use crate::video::tone_map;

/// Returns the colours that a broadcast keeps: those of its first frame if they are of standard dynamic range, or else
/// those of HD.
pub(crate) fn output_colorimetry(first: Option<&video::VideoInfo>) -> video::VideoColorimetry {
    let own = first.map_or_else(bt709, video::VideoInfo::colorimetry);
    let standard = matches!(own.matrix(), video::VideoColorMatrix::Bt601 | video::VideoColorMatrix::Bt709);
    let limited = own.range() == video::VideoColorRange::Range16_235;
    if standard && limited && !tone_map::is_needed(&own) { own } else { bt709() }
}

/// Returns the colours of HD (ITU-R BT.709), in limited range.
pub(crate) fn bt709() -> video::VideoColorimetry {
    video::VideoColorimetry::new(
        video::VideoColorRange::Range16_235,
        video::VideoColorMatrix::Bt709,
        video::VideoTransferFunction::Bt709,
        video::VideoColorPrimaries::Bt709,
    )
}
