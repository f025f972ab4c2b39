//! The amount of memory that this process can use.

use std::fs;

/// Assumed if the kernel does not report it.
const GUESS: u64 = 2 << 30;

/// Returns the bytes that this process could use: those of the machine, or the limit of its control group if that is
/// lower.
pub(crate) fn available() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let group = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    machine.into_iter().chain(group).min().unwrap_or(GUESS)
}

/// Returns `MemTotal` of `/proc/meminfo`, in bytes.
fn total(meminfo: &str) -> Option<u64> {
    let kibibytes = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.trim().strip_suffix("kB")?;
    Some(kibibytes.trim().parse::<u64>().ok()? * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mem_total_is_converted_to_bytes() {
        assert_eq!(total("MemTotal:       24685056 kB\nMemFree: 1 kB\n"), Some(25_277_497_344));
        assert_eq!(total("MemFree: 1 kB\n"), None);
        assert!(available() > 1 << 20);
    }
}
