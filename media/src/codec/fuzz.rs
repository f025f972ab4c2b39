//! The body of the fuzz target for codec headers, so that it compiles with the code that it tests.
//!
//! Every parser gets every cut of the input. A parsed header must keep its invariants, and must be the same when it is
//! written and read again. A crash that is found becomes a unit test next to the code concerned.

use bytes::Bytes;

use super::{CodecConfig, aac, ac3, av1, avc, flac, hevc, nal, opus, vp9};

/// Longest input of which each cut is tried, because the work grows with its square.
const MAX_CUT: usize = 1_024;

/// Tests every header parser with each cut of `data`, and each parsed header with all of `data` as a sample.
pub fn codec_headers(data: &[u8]) {
    let data = data.get(..MAX_CUT).unwrap_or(data);
    for end in 0..=data.len() {
        let cut = Bytes::copy_from_slice(data.get(..end).unwrap_or_default());
        video(&cut, data);
        audio(&cut, data);
        frames(&cut);
    }
}

fn video(cut: &Bytes, sample: &[u8]) {
    if let Ok(config) = avc::Config::parse(cut.clone()) {
        let (sps, pps) = config.parameter_sets();
        if let Ok(built) = avc::Config::from_parameter_sets(&sps, &pps) {
            assert_eq!(avc::Config::parse(built.record.clone()).as_ref(), Ok(&built));
            assert_eq!(built.parameter_sets(), (sps, pps));
        }
        check(CodecConfig::Avc(config), sample);
    }
    if let Ok(config) = hevc::Config::parse(cut.clone()) {
        let sets = config.parameter_sets();
        if let Ok(built) = hevc::Config::from_parameter_sets(&sets.vps, &sets.sps, &sets.pps) {
            assert_eq!(hevc::Config::parse(built.record.clone()).as_ref(), Ok(&built));
            assert_eq!(built.parameter_sets(), sets);
        }
        check(CodecConfig::Hevc(config), sample);
    }
    // The parameter sets alone, with and without the byte of their type.
    for header in [&[][..], &[0x67], &[hevc::NAL_SPS << 1, 1]] {
        let nal = [header, cut].concat();
        if let Ok(sps) = avc::Sps::parse(&nal) {
            assert!(sps.width > 0 && sps.height > 0);
        }
        if let Ok(sps) = hevc::Sps::parse(&nal) {
            assert!(sps.width > 0 && sps.height > 0);
        }
    }
    let av1 = [av1::Config::parse(cut.clone()), av1::Config::from_sample(cut), av1::Config::from_sequence_header(cut)];
    for config in av1.into_iter().flatten() {
        assert_eq!(av1::Config::parse(config.record.clone()).as_ref(), Ok(&config));
        check(CodecConfig::Av1(config), sample);
    }
    for config in [vp9::Config::parse(cut.clone()), vp9::Config::from_key_frame(cut)].into_iter().flatten() {
        check(CodecConfig::Vp9(config), sample);
    }
}

fn audio(cut: &Bytes, sample: &[u8]) {
    for config in [aac::Config::parse(cut.clone()), aac::Config::from_adts(cut)].into_iter().flatten() {
        assert_eq!(aac::Config::parse(config.raw.clone()).as_ref(), Ok(&config));
        check(CodecConfig::Aac(config), sample);
    }
    if let Ok(config) = opus::Config::parse(cut) {
        check(CodecConfig::Opus(config), sample);
    }
    if let Ok(config) = flac::Config::parse(cut) {
        assert_eq!(flac::Config::parse(&config.record).as_ref(), Ok(&config));
        check(CodecConfig::Flac(config), sample);
    }
    if let Ok(config) = ac3::Config::from_frame(cut) {
        check(CodecConfig::Ac3(config), sample);
    }
    if let Ok(config) = ac3::EnhancedConfig::from_access_unit(cut) {
        check(CodecConfig::Eac3(config), sample);
    }
}

/// Tests the functions that read frames without a configuration.
fn frames(cut: &Bytes) {
    assert!(opus::packet_samples(cut).is_none_or(|samples| (1..=5_760).contains(&samples)));
    assert!(flac::packet_samples(cut).is_none_or(|samples| (1..=65_536).contains(&samples)));
    assert!(ac3::frames(cut).map(|(_, frame)| frame.len()).sum::<usize>() <= cut.len());
    assert!(av1::obus(cut).map(|obu| obu.whole.len()).sum::<usize>() <= cut.len());
    assert!(av1::obus(&av1::without_delimiters(cut.clone())).all(|obu| obu.kind != av1::OBU_TEMPORAL_DELIMITER));
    for length_size in [1, 2, 4] {
        let units = nal::units(cut, length_size).map(|unit| unit.len() + usize::from(length_size));
        assert!(units.sum::<usize>() <= cut.len());
    }
    let _ = (avc::is_first_slice(cut), hevc::is_first_slice(cut), hevc::layer(cut));
}

/// Tests all methods of a configuration.
fn check(config: CodecConfig, sample: &[u8]) {
    assert!(!config.codec_string().is_empty() && !config.record().is_empty());
    assert!(config.display_size().is_none_or(|(width, height)| width > 0 && height > 0));
    assert_ne!(config.samples_per_frame(), Some(0));
    assert_ne!(config.packet_samples(sample), Some(0));
    assert_eq!(config.sample_rate().is_some(), config.video_range().is_none());
    let _ = (config.access(sample), config.channels(), config.frame_rate());
    // A sample that changes the configuration does so only once.
    if let Ok(Some(changed)) = config.changed_by(sample) {
        assert_ne!(changed, config);
        assert_eq!(changed.changed_by(sample), Ok(None));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_body_takes_nothing_and_little() {
        for input in [&[][..], &[3], &[0xff; 64], &[0; 64]] {
            codec_headers(input);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_body_takes_anything(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            codec_headers(&bytes);
        }
    }
}
