//! Tests of `annexb`.

use super::*;
use proptest::prelude::*;

/// Collected output: parameter sets, units with their times, the number of drops.
#[derive(Debug, Default, PartialEq, Eq)]
struct Got {
    sets: Vec<Vec<u8>>,
    units: Vec<(Vec<u8>, Option<u32>)>,
    dropped: u32,
}

impl Got {
    fn take(&mut self, output: Output<'_, u32>) {
        match output {
            Output::Parameters(set) => self.sets.push(set.to_vec()),
            Output::Unit(unit, time) => self.units.push((unit.to_vec(), time)),
            Output::Dropped => self.dropped += 1,
        }
    }
}

/// Pushes each piece after its time, if it has one.
fn run(codec: Codec, pieces: &[(Option<u32>, &[u8])]) -> Got {
    let (mut assembler, mut got) = (Assembler::new(codec, 256, 1_000), Got::default());
    for (time, piece) in pieces {
        if time.is_some() {
            assembler.set_time(*time);
        }
        assembler.push(piece, &mut |output| got.take(output));
    }
    assembler.flush(&mut |output| got.take(output));
    got
}

proptest! {
    #[test]
    fn pieces_known_to_be_plain_are_taken_alike(cuts in proptest::collection::vec(1_usize..12, 1..30)) {
        let (mut assembler, mut got) = (Assembler::new(Codec::Avc, 256, 1_000), Got::default());
        let mut rest = STREAM;
        for cut in cuts.into_iter().chain([STREAM.len()]) {
            let (piece, tail) = rest.split_at(cut.min(rest.len()));
            match assembler.find(piece) {
                Some(_) => assembler.push(piece, &mut |output| got.take(output)),
                None => assembler.push_plain(piece, &mut |output| got.take(output)),
            }
            rest = tail;
        }
        assembler.flush(&mut |output| got.take(output));
        prop_assert_eq!(got, run(Codec::Avc, &[(None, STREAM)]));
    }
}

const STREAM: &[u8] = &[
    0, 0, 0, 1, 0x09, 0xf0, 0, 0, 0, 1, 0x67, 1, 2, 0, 0, 0, 1, 0x68, 3, 0, 0, 1, 0x06, 5, 0, 0, 1, 0x65, 0x80, 7, 7,
    0, 0, 1, 0x65, 0x40, 8, 0, 0, 0, 1, 0x0c, 0xff, 0xff, 0x80, 0, 0, 0, 1, 0x09, 0xf0, 0, 0, 1, 0x41, 0x9a, 9, 0, 0,
    3, 1, 0x80,
];
const FIRST: &[u8] = &[0, 0, 0, 2, 6, 5, 0, 0, 0, 4, 0x65, 0x80, 7, 7, 0, 0, 0, 3, 0x65, 0x40, 8];
const SECOND: &[u8] = &[0, 0, 0, 8, 0x41, 0x9a, 9, 0, 0, 3, 1, 0x80];

#[test]
fn any_cut_gives_the_same_units() {
    for at in 0..=STREAM.len() {
        let (head, tail) = STREAM.split_at(at);
        let got = run(Codec::Avc, &[(Some(1), head), (None, tail)]);
        assert_eq!(got.sets, [&[0x67, 1, 2][..], &[0x68, 3]], "cut at {at}");
        assert_eq!(got.units, [(FIRST.to_vec(), Some(1)), (SECOND.to_vec(), None)], "cut at {at}");
        assert_eq!(got.dropped, 0);
    }
    let single: Vec<_> = STREAM.chunks(1).map(|byte| (None, byte)).collect();
    assert_eq!(run(Codec::Avc, &single).units.len(), 2);
}

#[test]
fn a_time_goes_to_the_first_unit_that_begins_after_it() {
    let second = STREAM.len() - 16;
    for at in 1..=second {
        let (head, tail) = STREAM.split_at(at);
        let got = run(Codec::Avc, &[(Some(1), head), (Some(2), tail)]);
        let times: Vec<_> = got.units.iter().map(|unit| unit.1).collect();
        // A start code whose third byte comes later begins after the time.
        let expected = if at < 4 { [Some(2), None] } else { [Some(1), Some(2)] };
        assert_eq!(times, expected, "cut at {at}");
    }
}

#[test]
fn without_delimiters_slices_and_headers_separate_the_frames() {
    let stream = [&[0, 0, 1, 0x65, 0x80, 1][..], &[0, 0, 1, 0x41, 0x80, 2], &[0, 0, 1, 6, 9, 0, 0, 1, 0x41, 0x80, 3]];
    let got = run(Codec::Avc, &[(Some(1), stream[0]), (Some(2), stream[1]), (Some(3), stream[2])]);
    assert_eq!(got.units.iter().map(|unit| unit.1).collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
    assert_eq!(got.units[2].0, [0, 0, 0, 2, 6, 9, 0, 0, 0, 3, 0x41, 0x80, 3]);
}

#[test]
fn hevc_frames_are_separated() {
    let stream: Vec<u8> = [
        &[0, 0, 1, 0x46, 1, 0x50][..],
        &[0, 0, 1, 0x40, 1, 1],
        &[0, 0, 1, 0x42, 1, 2],
        &[0, 0, 1, 0x44, 1, 3],
        &[0, 0, 1, 0x26, 1, 0x80, 4],
        &[0, 0, 1, 0x26, 1, 0x40, 5],
        &[0, 0, 1, 0x50, 1, 6],
        &[0, 0, 1, 0x02, 1, 0x80, 7],
    ]
    .concat();
    let got = run(Codec::Hevc, &[(Some(1), &stream)]);
    assert_eq!(got.sets, [&[0x40, 1, 1][..], &[0x42, 1, 2], &[0x44, 1, 3]]);
    let first = [0, 0, 0, 4, 0x26, 1, 0x80, 4, 0, 0, 0, 4, 0x26, 1, 0x40, 5, 0, 0, 0, 3, 0x50, 1, 6];
    assert_eq!(got.units, [(first.to_vec(), Some(1)), (vec![0, 0, 0, 4, 2, 1, 0x80, 7], None)]);
}

#[test]
fn a_loss_costs_the_current_unit_and_one_without_its_beginning() {
    let (mut assembler, mut got) = (Assembler::new(Codec::Avc, 256, 1_000), Got::default());
    assembler.push(&[0, 0, 1, 0x65, 0x80, 1, 1], &mut |output| got.take(output));
    assert!(assembler.lose());
    assert!(!assembler.lose(), "there was no current unit");
    assembler.push(&[1, 1, 0, 0, 1, 0x65, 0x40, 1, 0, 0, 1, 0x41, 0x80, 2], &mut |output| got.take(output));
    assembler.flush(&mut |output| got.take(output));
    assert_eq!(got.units, [(vec![0, 0, 0, 3, 0x41, 0x80, 2], None)]);
    let got = run(Codec::Avc, &[(None, &[0, 0, 1, 9, 0xf0, 0, 0, 1, 0x65, 0x40, 1])]);
    assert_eq!((got.units.len(), got.dropped), (0, 1), "a delimiter, then a slice that is not the first");
}

#[test]
fn a_unit_of_the_limit_is_taken_and_a_longer_one_dropped() {
    let stream = |len: usize| [&[0, 0, 1, 0x65, 0x80][..], &vec![5; len - 6], &[0, 0, 1, 0x41, 0x80, 2]].concat();
    let got = run(Codec::Avc, &[(None, &stream(1_000))]);
    assert_eq!((got.units.len(), got.dropped), (2, 0));
    let got = run(Codec::Avc, &[(None, &stream(1_001))]);
    assert_eq!((got.units, got.dropped), (vec![(vec![0, 0, 0, 3, 0x41, 0x80, 2], None)], 1));
}

#[test]
fn units_share_their_block() {
    let (mut assembler, mut units) = (Assembler::<()>::new(Codec::Avc, 4_096, 1_000), Vec::new());
    for n in 0..4 {
        let mut nal = vec![0, 0, 1, 0x65, 0x80];
        nal.resize(500, n + 1);
        assembler.push(&nal, &mut |output| {
            if let Output::Unit(unit, _) = output {
                units.push(unit);
            }
        });
    }
    for pair in units.windows(2) {
        assert_eq!(pair[0].as_ptr() as usize + pair[0].len(), pair[1].as_ptr() as usize, "adjacent");
    }
}

proptest! {
    #[test]
    fn anything_in_any_pieces_is_the_same(
        bytes in prop::collection::vec(prop_oneof![3 => 0u8..2, 1 => any::<u8>(), 1 => Just(0x65), 1 => Just(0x80)], 0..200),
        cuts in prop::collection::vec(0usize..200, 0..8),
        hevc in any::<bool>(),
    ) {
        let codec = if hevc { Codec::Hevc } else { Codec::Avc };
        let whole = run(codec, &[(None, &bytes)]);
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.push(bytes.len());
        cuts.sort_unstable();
        let mut from = 0;
        let pieces: Vec<_> = cuts.into_iter().map(|to| (None, &bytes[std::mem::replace(&mut from, to)..to])).collect();
        prop_assert_eq!(run(codec, &pieces), whole);
    }
}
