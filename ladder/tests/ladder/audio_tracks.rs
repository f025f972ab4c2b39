//! Several sounds in one programme, each of them unbroken.

use ladder::Output;
use ladder::plan::Level;
use media::{LatencyMode, TimeDelta};

use crate::support::{Bench, Programme, clip};

/// A picture and sounds, each of a volume and a language, of three seconds.
fn clip_of(bench: &Bench, codec: &str, sounds: &[(&str, &str)]) -> Vec<wire::Item> {
    let inputs: String = sounds.iter().map(|_| " -f lavfi -i sine=440:r=48000".to_owned()).collect();
    let told = (1..).zip(sounds).map(|(n, (volume, language))| {
        let at = n - 1;
        format!(" -map {n} -filter:a:{at} volume={volume} -metadata:s:a:{at} language={language}")
    });
    let told: String = told.collect();
    let video = "-f lavfi -i testsrc2=s=320x180:r=30";
    let coded = format!("-t 3 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 30 -c:a {codec} -ac 2");
    clip(bench.folder.path(), &format!("{video}{inputs} -map 0{told} {coded}"))
}

/// The language and the tier of each encoding, as they were announced.
fn announced(programme: &Programme) -> Vec<(String, u8)> {
    let told = programme
        .sounds
        .iter()
        .map(|(track, _)| (track.language.map_or("-".to_owned(), |language| language.as_str().to_owned()), track.tier));
    told.collect()
}

/// The loudness in the middle of the second that begins `from` behind the start.
fn heard(bench: &Bench, programme: &Programme, n: usize, from: i64) -> f32 {
    let all = programme.loudness_of(bench.folder.path(), n);
    let at = all[0].0 + TimeDelta::from_millis(from);
    all.iter()
        .filter(|(pts, _)| *pts >= at && *pts < at + TimeDelta::from_millis(800))
        .map(|(_, peak)| *peak)
        .sum::<f32>()
        / 800.0
}

#[test]
fn each_sound_is_heard_and_those_of_another_encoder_find_theirs() {
    let mut bench = Bench::new(Level::Premium, LatencyMode::Low);
    let first = clip_of(&bench, "aac", &[("1", "eng"), ("4", "deu")]);
    // Another order, another codec; the third one finds a place of its own.
    let second = clip_of(&bench, "ac3", &[("4", "deu"), ("1", "eng"), ("2", "fra")]);
    let third = clip_of(&bench, "aac", &[("4", "deu")]);
    [&first, &second, &third].into_iter().for_each(|items| bench.contribute(items));
    bench.wait("all", |programme| programme.rungs.first().is_some_and(|(.., frames)| frames.len() >= 265));
    let (programme, figures) = (bench.programme(), bench.ladder.stats());
    programme.assert_sound(30, figures.skipped_frames);
    let told = announced(&programme);
    let told: Vec<_> = told.iter().map(|(language, tier)| (language.as_str(), *tier)).collect();
    assert_eq!(told[..4], [("eng", 0), ("deu", 0), ("eng", 1), ("deu", 1)]);
    assert!(told.contains(&("fra", 0)) && told.contains(&("fra", 1)) && told.len() == 6, "{told:?}");
    let french = told.iter().position(|told| *told == ("fra", 0)).unwrap();
    let begun = programme.sounds[french].1[0].pts - programme.sound[0].pts;
    assert!(begun.as_millis() > 2_000, "it joins in the middle: {begun:?}");
    for n in [0, 2] {
        let (one, other, gone) = (
            heard(&bench, &programme, n, 1_000),
            heard(&bench, &programme, n, 4_500),
            heard(&bench, &programme, n, 7_500),
        );
        assert!((0.05..0.15).contains(&one) && (0.05..0.15).contains(&other) && gone < 0.01, "{one} {other} {gone}");
    }
    for from in [1_000, 4_500, 7_500] {
        let loud = heard(&bench, &programme, 1, from);
        assert!((0.25..0.55).contains(&loud), "{loud} at {from}");
    }
    assert!((0.12..0.3).contains(&heard(&bench, &programme, french, 1_500)));
    assert_eq!(figures.bad_frames, 0, "{figures:?}");
}

#[test]
fn more_sounds_than_there_is_room_for_are_left_out() {
    let mut bench = Bench::new(Level::Premium, LatencyMode::Low);
    let sounds: Vec<_> = ["eng", "deu", "fra", "ita", "spa", "por", "dan", "swe", "nor"].map(|code| ("1", code)).into();
    let items = clip_of(&bench, "aac", &sounds);
    bench.contribute(&items);
    bench.wait("three seconds", |programme| programme.rungs.first().is_some_and(|(.., frames)| frames.len() >= 75));
    let (programme, figures) = (bench.programme(), bench.ladder.stats());
    // All of the room is for sounds: none has a second rate.
    let told = announced(&programme);
    assert!(
        told.len() == 8 && told.iter().zip(&sounds).all(|((one, tier), (_, other))| one == other && *tier == 0),
        "{told:?}"
    );
    programme.assert_sound(30, figures.skipped_frames);
    assert!(figures.bad_frames == 0 && figures.refused_frames == 0, "{figures:?}");
    assert!(!programme.others.iter().any(|other| matches!(other, Output::Stopped(_))));
}
