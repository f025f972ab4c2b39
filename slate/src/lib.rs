//! Makes one continuous programme out of interrupted contributions.
