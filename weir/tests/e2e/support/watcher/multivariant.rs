//! Reads the multivariant playlist each second, and checks that bandwidths are not exceeded and that CODECS names all
//! codecs of the window.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use super::super::playlist::attribute;
use super::super::resolve;
use super::{List, Measured, POLL_INTERVAL, Shared, media};

/// Tolerance of AVERAGE-BANDWIDTH as a share, because the newest segments may or may not be counted.
const AVERAGE_TOLERANCE: f64 = 0.15;

struct Variant {
    bandwidth: f64,
    average: Option<f64>,
    codecs: Vec<String>,
    frame_rate: Option<f64>,
    main: String,
    /// Media playlists of its audio group.
    others: Vec<String>,
}

/// Reads until the watcher stops, and starts a thread for each media playlist.
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
                shared.fault(
                    "the multivariant playlist promises INDEPENDENT-SEGMENTS for all future segments".to_owned(),
                );
            }
            variants.iter().for_each(|variant| check(shared, variant, &before));
            first.get_or_insert(variants);
        }
        shared.pause(POLL_INTERVAL);
    }
    for thread in threads {
        if thread.join().is_err() {
            shared.fault("a reader of a media playlist failed".to_owned());
        }
    }
    let mut state = shared.state.lock().expect("no thread panicked");
    for variant in first.iter().flatten() {
        let peak = bit_rate(variant, &state.lists, peak);
        if peak > variant.bandwidth {
            state.seen.outgrown.push(format!("{}: {} of {peak}", variant.main, variant.bandwidth));
        }
    }
}

/// Returns the segments that were checked before a multivariant playlist is requested.
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
    let (peak, average) = (bit_rate(variant, before, peak), bit_rate(variant, before, average));
    if peak > variant.bandwidth {
        shared.fault(format!("BANDWIDTH {} of {} is below the peak {peak:.0}", variant.bandwidth, variant.main));
    }
    let whole = before.get(&variant.main).is_some_and(|list| list.segments.len() > 5 && list.segments.contains_key(&0));
    if let Some(declared) =
        variant.average.filter(|declared| whole && (declared - average).abs() > average * AVERAGE_TOLERANCE)
    {
        shared.fault(format!("AVERAGE-BANDWIDTH {declared} of {} is not {average:.0}", variant.main));
    }
    for path in variant.others.iter().chain([&variant.main]) {
        let (Some(old), Some(new)) = (before.get(path), now.get(path)) else { continue };
        // Segments that were in the window both before and after the multivariant playlist was read.
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

/// Returns the bit rate of a variant together with that of its largest audio rendition.
fn bit_rate(variant: &Variant, lists: &BTreeMap<String, List>, of: fn(&List) -> f64) -> f64 {
    let one = |path: &String| lists.get(path).map_or(0.0, of);
    one(&variant.main) + variant.others.iter().map(one).fold(0.0, f64::max)
}

/// Returns the peak segment bit rate (rfc8216bis §4.4.6.2): the maximum over contiguous segments of 0.5 to 1.5 target
/// durations.
fn peak(list: &List) -> f64 {
    let target = list.newest.target_duration;
    let mut peak = 0.0_f64;
    for first in list.segments.keys() {
        let (mut bits, mut duration_sum) = (0.0, 0.0);
        for number in *first.. {
            let Some(Measured { bytes, duration, .. }) = list.segments.get(&number).filter(|segment| !segment.gap)
            else {
                break;
            };
            bits += *bytes as f64 * 8.0;
            duration_sum += duration;
            if duration_sum > target * 1.5 {
                break;
            }
            if duration_sum >= target * 0.5 {
                peak = peak.max(bits / duration_sum);
            }
        }
    }
    peak
}

fn average(list: &List) -> f64 {
    let with_media = || list.segments.values().filter(|segment| !segment.gap);
    let duration: f64 = with_media().map(|segment| segment.duration).sum();
    let bits: f64 = with_media().map(|segment| segment.bytes as f64 * 8.0).sum();
    if duration > 0.0 { bits / duration } else { 0.0 }
}
