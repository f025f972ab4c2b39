//! The limit of open files, and how viewers and encoders share it.
//!
//! Each connection is an open file. Everything else gets its share first, and viewers get the rest, because viewers
//! arrive in large numbers. However many there are, an encoder can connect and the API answers.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// Open files that belong to neither viewers nor encoders: listeners, store, timers, pipes of the encoding pipelines.
const OWN: u64 = 128;
/// Connections reserved for the API, health and metrics, beyond those of viewers.
pub(crate) const SPARE: usize = 64;
/// Divisor of the limit that gives the share of encoders.
const ENCODERS_SHARE: u64 = 4;

/// The number of files that this process may have open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OpenFiles(u64);

impl OpenFiles {
    /// Raises the limit as far as the system allows, because shells start programs with a limit of 1 024.
    pub(crate) fn raise() -> Self {
        let limit = getrlimit(Resource::Nofile);
        if limit.current < limit.maximum
            && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        {
            tracing::warn!(%error, "the limit of open files could not be raised");
        }
        // `None` means that there is no limit.
        Self(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
    }

    /// Returns the maximum of encoder connections: `rtmp.max_connections`, or a share of the limit.
    pub(crate) fn encoders(self, config: &Config) -> usize {
        config.rtmp.max_connections.min(to_usize(self.0 / ENCODERS_SHARE)).max(1)
    }

    /// Returns the maximum of viewer connections: `http.max_connections`, or the rest of the limit.
    pub(crate) fn viewers(self, config: &Config) -> usize {
        let others = OWN + SPARE as u64 + self.encoders(config) as u64;
        config.http.max_connections.min(to_usize(self.0.saturating_sub(others))).max(1)
    }

    /// Returns a warning if the limit is too low for the settings.
    pub(crate) fn warning(self, config: &Config) -> Option<String> {
        let (viewers, encoders) = (self.viewers(config), self.encoders(config));
        if viewers == config.http.max_connections && encoders == config.rtmp.max_connections {
            return None;
        }
        Some(format!(
            "the limit of open files is {}: room for {viewers} of http.max_connections = {} viewers and {encoders} of \
             rtmp.max_connections = {} encoders; raise it (LimitNOFILE, ulimit -n) or lower them",
            self.0, config.http.max_connections, config.rtmp.max_connections
        ))
    }
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn viewers_get_the_rest_of_the_limit() {
        let config = Config::default();
        let shared = |limit| (OpenFiles(limit).viewers(&config), OpenFiles(limit).encoders(&config));
        assert_eq!(shared(u64::MAX), (100_000, 1_000));
        assert_eq!(shared(262_144), (100_000, 1_000));
        assert_eq!(shared(65_536), (65_536 - 1_000 - 192, 1_000));
        assert_eq!(shared(1_024), (1_024 - 256 - 192, 256));
        assert_eq!(shared(16), (1, 4));
        for limit in [300, 1_024, 65_536] {
            let (viewers, encoders) = shared(limit);
            assert!((viewers + encoders + SPARE) as u64 + OWN <= limit, "{limit}");
        }
        assert_eq!(OpenFiles(262_144).warning(&config), None);
        let warning = OpenFiles(1_024).warning(&config).unwrap();
        assert!(
            warning.contains("576 of http.max_connections = 100000") && warning.contains("LimitNOFILE"),
            "{warning}"
        );
    }
}
