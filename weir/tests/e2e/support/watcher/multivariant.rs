//! Reads the multivariant playlist each second: bandwidths hold, and codecs name what is in the window.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use super::super::playlist::attribute;
use super::super::resolve;
use super::{LOOK, List, Measured, Shared, media};

/// AVERAGE-BANDWIDTH may be off by this share: the newest segments may be counted or not.
const AVERAGE: f64 = 0.15;

struct Variant {
    bandwidth: f64,
    average: Option<f64>,
    codecs: Vec<String>,
    frame_rate: Option<f64>,
    main: String,
    /// The media playlists that may be played with it.
    others: Vec<String>,
}

/// Reads until the scenario is over, and has each media playlist followed that it finds.
pub(super) fn follow(shared: &Arc<Shared>) {
    let (mut threads, mut first) = (Vec::new(), None);
    while !shared.stopping() {
        let before = known(shared);
        let Some(answer) = shared.client.try_get(&shared.path) else { break };
        if answer.status == 200 {
            let text = answer.text();
            let variants = parse(&shared.path, &text);
            for path in variants.iter().flat_map(|variant| variant.others.iter().chain([&variant.main])) {
                if shared.state.lock().expect("no thread panicked").followed.insert(path.clone()) {
                    let (shared, path) = (Arc::clone(shared), path.clone());
                    threads.push(thread::spawn(move || media::follow(&shared, &path)));
                }
            }
            if text.contains("#EXT-X-INDEPENDENT-SEGMENTS") {
                shared
                    .fault("the multivariant playlist promises INDEPENDENT-SEGMENTS for all that may come".to_owned());
            }
            variants.iter().for_each(|variant| check(shared, variant, &before));
            first.get_or_insert(variants);
        }
        shared.pause(LOOK);
    }
    for thread in threads {
        if thread.join().is_err() {
            shared.fault("a reader of a media playlist failed".to_owned());
        }
    }
    let mut state = shared.state.lock().expect("no thread panicked");
    for variant in first.iter().flatten() {
        let peak = needs(variant, &state.lists, peak);
        if peak > variant.bandwidth {
            state.seen.outgrown.push(format!("{}: {} of {peak}", variant.main, variant.bandwidth));
        }
    }
}

/// The segments that were looked at before a multivariant playlist was asked for.
fn known(shared: &Shared) -> BTreeMap<String, List> {
    let state = shared.state.lock().expect("no thread panicked");
    let copy = |(path, list): (&String, &List)| {
        (path.clone(), List { newest: list.newest.clone(), segments: list.segments.clone() })
    };
    state.lists.iter().map(copy).collect()
}

fn parse(path: &str, text: &str) -> Vec<Variant> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut variants = Vec::new();
    let mut open = None;
    for line in text.lines() {
        let (tag, value) = line.split_once(':').unwrap_or((line, ""));
        let number = |name| attribute(value, name).and_then(|text| text.parse::<f64>().ok());
        if tag == "#EXT-X-MEDIA" {
            let group = groups.entry(attribute(value, "GROUP-ID").expect("a group")).or_default();
            group.extend(attribute(value, "URI").map(|uri| resolve(path, &uri)));
        } else if tag == "#EXT-X-STREAM-INF" {
            let codecs = attribute(value, "CODECS").expect("a variant names its codecs");
            open = Some(Variant {
                bandwidth: number("BANDWIDTH").expect("a variant has a bandwidth"),
                average: number("AVERAGE-BANDWIDTH"),
                codecs: codecs.split(',').map(str::to_owned).collect(),
                frame_rate: number("FRAME-RATE"),
                main: String::new(),
                others: attribute(value, "AUDIO").and_then(|group| groups.get(&group).cloned()).unwrap_or_default(),
            });
        } else if !line.is_empty()
            && !line.starts_with('#')
            && let Some(variant) = open.take()
        {
            variants.push(Variant { main: resolve(path, line), ..variant });
        }
    }
    variants
}

fn check(shared: &Shared, variant: &Variant, before: &BTreeMap<String, List>) {
    let now = known(shared);
    let (peak, average) = (needs(variant, before, peak), needs(variant, before, average));
    if peak > variant.bandwidth {
        shared.fault(format!("BANDWIDTH {} of {} is below the peak {peak:.0}", variant.bandwidth, variant.main));
    }
    let whole = before.get(&variant.main).is_some_and(|list| list.segments.len() > 5 && list.segments.contains_key(&0));
    if let Some(told) = variant.average.filter(|told| whole && (told - average).abs() > average * AVERAGE) {
        shared.fault(format!("AVERAGE-BANDWIDTH {told} of {} is not {average:.0}", variant.main));
    }
    for path in variant.others.iter().chain([&variant.main]) {
        let (Some(old), Some(new)) = (before.get(path), now.get(path)) else { continue };
        // In the window before and after the multivariant playlist was read.
        let listed = old.newest.segments.iter().filter(|segment| segment.number >= new.newest.first);
        for measured in listed.filter_map(|segment| old.segments.get(&segment.number)) {
            let named = variant.codecs.iter().any(|codec| codec.starts_with(&measured.codec));
            if !named {
                let codec = &measured.codec;
                shared.fault(format!("CODECS {:?} of {path} does not name {codec}, which is listed", variant.codecs));
            }
        }
    }
    let mut state = shared.state.lock().expect("no thread panicked");
    state.seen.frame_rate = variant.frame_rate.or(state.seen.frame_rate);
}

/// What a variant takes with the most demanding of its other renditions.
fn needs(variant: &Variant, lists: &BTreeMap<String, List>, of: fn(&List) -> f64) -> f64 {
    let one = |path: &String| lists.get(path).map_or(0.0, of);
    one(&variant.main) + variant.others.iter().map(one).fold(0.0, f64::max)
}

/// Peak segment bit rate (rfc8216bis §4.4.6.2): of any contiguous segments that last 0.5 to 1.5 target durations.
fn peak(list: &List) -> f64 {
    let target = list.newest.target_duration;
    let mut peak = 0.0_f64;
    for first in list.segments.keys() {
        let (mut bits, mut lasts) = (0.0, 0.0);
        for number in *first.. {
            let Some(Measured { bytes, duration, .. }) = list.segments.get(&number).filter(|segment| !segment.gap)
            else {
                break;
            };
            bits += *bytes as f64 * 8.0;
            lasts += duration;
            if lasts > target * 1.5 {
                break;
            }
            if lasts >= target * 0.5 {
                peak = peak.max(bits / lasts);
            }
        }
    }
    peak
}

fn average(list: &List) -> f64 {
    let there = || list.segments.values().filter(|segment| !segment.gap);
    let lasts: f64 = there().map(|segment| segment.duration).sum();
    let bits: f64 = there().map(|segment| segment.bytes as f64 * 8.0).sum();
    if lasts > 0.0 { bits / lasts } else { 0.0 }
}
