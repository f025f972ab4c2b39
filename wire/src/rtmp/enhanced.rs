//! What a side of Enhanced RTMP announces in `connect` and in its result.

use crate::amf0::Value;

/// Most FourCCs kept of `fourCcList`; further ones are dropped.
pub(super) const MAX_FOUR_CCS: usize = 32;
/// FourCC that means any codec.
pub(super) const ANY: &str = "*";
/// Flag of `capsEx`: several tracks of a kind.
pub(super) const MULTITRACK: u32 = 2;

/// Returns the FourCCs of `fourCcList` and the keys of `videoFourCcInfoMap` and `audioFourCcInfoMap`, each once.
pub(super) fn four_ccs(object: &Value) -> Vec<String> {
    let list = match object.get("fourCcList") {
        Some(Value::StrictArray(list)) => list.as_slice(),
        _ => &[],
    };
    let map = |name| object.get(name).map_or(&[][..], Value::properties).iter().map(|(four_cc, _)| four_cc.as_str());
    let maps = map("videoFourCcInfoMap").chain(map("audioFourCcInfoMap"));
    let mut four_ccs: Vec<String> = Vec::new();
    for four_cc in list.iter().filter_map(Value::as_str).chain(maps) {
        if four_ccs.len() < MAX_FOUR_CCS && !four_ccs.iter().any(|known| known == four_cc) {
            four_ccs.push(four_cc.to_owned());
        }
    }
    four_ccs
}

/// Returns `capsEx`, a set of flags.
pub(super) fn caps_ex(object: &Value) -> Option<u32> {
    object.get("capsEx").and_then(Value::as_f64).map(|flags| flags as u32)
}
