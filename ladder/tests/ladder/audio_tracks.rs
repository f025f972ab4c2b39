//! Several audio tracks in one programme, each of them continuous.

use ladder::Output;
use ladder::plan::Level;
use media::{LatencyMode, TimeDelta};

use crate::support::{Bench, Programme, clip};

/// A clip of three seconds with video and audio tracks, each of them with a volume and a language.
fn clip_of(bench: &Bench, codec: &str, tracks: &[(&str, &str)]) -> Vec<wire::Item> {
    let inputs: String = tracks.iter().map(|_| " -f lavfi -i sine=440:r=48000".to_owned()).collect();
    let options = (1..).zip(tracks).map(|(n, (volume, language))| {
        let at = n - 1;
        format!(" -map {n} -filter:a:{at} volume={volume} -metadata:s:a:{at} language={language}")
    });
    let options: String = options.collect();
    let video = "-f lavfi -i testsrc2=s=320x180:r=30";
    let coded = format!("-t 3 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 30 -c:a {codec} -ac 2");
    clip(bench.folder.path(), &format!("{video}{inputs} -map 0{options} {coded}"))
}

/// Language and tier of each encoding, in the order of announcement.
fn announced(programme: &Programme) -> Vec<(String, u8)> {
    let announced = programme
        .audio_tracks
        .iter()
        .map(|(track, _)| (track.language.map_or("-".to_owned(), |language| language.as_str().to_owned()), track.tier));
    announced.collect()
}

/// Loudness in the middle of the second that starts `from` milliseconds after the start.
fn loudness(bench: &Bench, programme: &Programme, n: usize, from: i64) -> f32 {
    let all = programme.loudness_of(bench.folder.path(), n);
    let at = all[0].0 + TimeDelta::from_millis(from);
    all.iter()
        .filter(|(pts, _)| *pts >= at && *pts < at + TimeDelta::from_millis(800))
        .map(|(_, peak)| *peak)
        .sum::<f32>()
        / 800.0
}

#[test]
fn tracks_of_another_encoder_are_assigned_by_language() {
    let mut bench = Bench::new(Level::Premium, LatencyMode::Low);
    let first = clip_of(&bench, "aac", &[("1", "eng"), ("4", "deu")]);
    // In another order and another codec. The third track is given an output of its own.
    let second = clip_of(&bench, "ac3", &[("4", "deu"), ("1", "eng"), ("2", "fra")]);
    let third = clip_of(&bench, "aac", &[("4", "deu")]);
    [&first, &second, &third].into_iter().for_each(|items| bench.contribute(items));
    bench.wait("all", |programme| programme.rungs.first().is_some_and(|(.., frames)| frames.len() >= 265));
    let (programme, stats) = (bench.programme(), bench.ladder.stats());
    programme.assert_continuous(30, stats.skipped_frames);
    let announced = announced(&programme);
    let announced: Vec<_> = announced.iter().map(|(language, tier)| (language.as_str(), *tier)).collect();
    assert_eq!(announced[..4], [("eng", 0), ("deu", 0), ("eng", 1), ("deu", 1)]);
    assert!(
        announced.contains(&("fra", 0)) && announced.contains(&("fra", 1)) && announced.len() == 6,
        "{announced:?}"
    );
    let french = announced.iter().position(|announced| *announced == ("fra", 0)).unwrap();
    let begun = programme.audio_tracks[french].1[0].pts - programme.audio[0].pts;
    assert!(begun.as_millis() > 2_000, "it joins in the middle: {begun:?}");
    for n in [0, 2] {
        let (one, other, gone) = (
            loudness(&bench, &programme, n, 1_000),
            loudness(&bench, &programme, n, 4_500),
            loudness(&bench, &programme, n, 7_500),
        );
        assert!((0.05..0.15).contains(&one) && (0.05..0.15).contains(&other) && gone < 0.01, "{one} {other} {gone}");
    }
    for from in [1_000, 4_500, 7_500] {
        let loud = loudness(&bench, &programme, 1, from);
        assert!((0.25..0.55).contains(&loud), "{loud} at {from}");
    }
    assert!((0.12..0.3).contains(&loudness(&bench, &programme, french, 1_500)));
    assert_eq!(stats.bad_frames, 0, "{stats:?}");
}

#[test]
fn tracks_without_room_are_left_out() {
    let mut bench = Bench::new(Level::Premium, LatencyMode::Low);
    let tracks: Vec<_> = ["eng", "deu", "fra", "ita", "spa", "por", "dan", "swe", "nor"].map(|code| ("1", code)).into();
    let items = clip_of(&bench, "aac", &tracks);
    bench.contribute(&items);
    bench.wait("three seconds", |programme| programme.rungs.first().is_some_and(|(.., frames)| frames.len() >= 75));
    let (programme, stats) = (bench.programme(), bench.ladder.stats());
    // All room is taken by outputs, so that none has a second bit rate.
    let announced = announced(&programme);
    assert!(
        announced.len() == 8
            && announced.iter().zip(&tracks).all(|((one, tier), (_, other))| one == other && *tier == 0),
        "{announced:?}"
    );
    programme.assert_continuous(30, stats.skipped_frames);
    assert!(stats.bad_frames == 0 && stats.refused_frames == 0, "{stats:?}");
    assert!(!programme.others.iter().any(|other| matches!(other, Output::Stopped(_))));
}
