//! CPU time, memory, threads and open files of a process, from the kernel.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Resident pages.
    pub(crate) rss: u64,
    /// Resident pages, with shared pages counted proportionally.
    pub(crate) pss: u64,
}

/// Returns the process and all its living descendants.
pub(crate) fn tree(pid: u32) -> Vec<u32> {
    let mut pids = vec![pid];
    let mut next = 0;
    while let Some(parent) = pids.get(next).copied() {
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        pids.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        next += 1;
    }
    pids
}

/// Returns the CPU time (user and system) of the process and its descendants.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    tree(pid).into_iter().map(cpu_of_one).sum()
}

fn cpu_of_one(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} is gone"))?;
    // Only the name of the command may contain spaces and parentheses, so split after it.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |split| split.1).split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<u64>().ok()).context("/proc/PID/stat is short");
    let (user, system) = (ticks(11)?, ticks(12)?);
    Ok(Duration::from_secs_f64((user + system) as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// Returns the CPU time of this process.
pub(crate) fn own_cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Returns the memory of the process and its descendants.
pub(crate) fn memory(pid: u32) -> Result<Memory> {
    tree(pid).into_iter().try_fold(Memory::default(), |sum, pid| {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        Ok(Memory { rss: sum.rss + kilobytes(&rollup, "Rss:")?, pss: sum.pss + kilobytes(&rollup, "Pss:")? })
    })
}

/// Returns the resident memory of one process from the counter of the kernel, in bytes. [`memory`] makes the kernel
/// walk all pages instead, which costs the caller CPU time.
pub(crate) fn resident(pid: u32) -> Result<u64> {
    kilobytes(&fs::read_to_string(format!("/proc/{pid}/status"))?, "VmRSS:")
}

/// Returns a field of a `/proc` file that is in kilobytes, in bytes.
fn kilobytes(text: &str, field: &'static str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field)).context(field)?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>().context(field)? * 1024)
}

/// Returns the number of threads of the process.
pub(crate) fn threads(pid: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/task"))?.count())
}

/// Returns the number of open file descriptors of the process.
pub(crate) fn open_files(pid: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// Pins the calling thread, and those that it starts from now on, to one core.
pub(crate) fn pin_self(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).with_context(|| format!("core {core}"))
}

/// Raises the limit of open files of this process, and of those that it starts, to `wanted`.
pub(crate) fn raise_open_files(wanted: u64) -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let hard = getrlimit(Resource::Nofile).maximum;
    let maximum = hard.map(|hard| hard.max(wanted));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    raised.with_context(|| format!("{wanted} open files are needed; see `ulimit -n`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_measured() {
        let pid = std::process::id();
        assert!(tree(pid).contains(&pid));
        assert!(memory(pid).unwrap().rss > 100_000 && resident(pid).unwrap() > 100_000);
        assert!(threads(pid).unwrap() >= 1 && open_files(pid).unwrap() >= 3);
        cpu(pid).unwrap();
    }

    #[test]
    fn rollup_fields_are_kilobytes() {
        assert_eq!(kilobytes("Rss:  12 kB\nPss:   3 kB\n", "Pss:").unwrap(), 3072);
        assert!(kilobytes("", "Pss:").is_err());
    }
}
