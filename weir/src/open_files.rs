//! The limit of open files, and how viewers and encoders share it.
//!
//! Each connection is one. Viewers come in crowds, so they get what is left when everything else has its share: however many
//! there are, an encoder can connect and the API answers.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// Files that are neither a viewer's nor an encoder's: listeners, store, timers, pipes of the encoders.
const OWN: u64 = 128;
/// Connections beyond those of viewers that the API, health and metrics are reached by.
pub(crate) const SPARE: usize = 64;
/// The part of the limit that encoders have at least, as a divisor.
const ENCODERS_SHARE: u64 = 4;

/// The files that this process may have open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OpenFiles(u64);

impl OpenFiles {
    /// Raises the limit as far as the system lets us: shells start programs with room for 1 024.
    pub(crate) fn raise() -> Self {
        let limit = getrlimit(Resource::Nofile);
        if limit.current < limit.maximum
            && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        {
            tracing::warn!(%error, "the limit of open files could not be raised");
        }
        // Without a number there is no limit.
        Self(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
    }

    /// Encoder connections at once: `rtmp.max_connections`, or a share of the limit.
    pub(crate) fn encoders(self, config: &Config) -> usize {
        config.rtmp.max_connections.min(whole(self.0 / ENCODERS_SHARE)).max(1)
    }

    /// Viewer connections at once: `http.max_connections`, or what the others leave.
    pub(crate) fn viewers(self, config: &Config) -> usize {
        let others = OWN + SPARE as u64 + self.encoders(config) as u64;
        config.http.max_connections.min(whole(self.0.saturating_sub(others))).max(1)
    }

    /// What is to be said where the limit is too low for the settings.
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

fn whole(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn viewers_get_what_the_others_leave() {
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
