//! Makes one continuous programme out of interrupted contributions.
//!
//! A contribution brings its own clock: it starts anywhere, jumps, goes back and drifts. [`Splice`] lays its frames on
//! the programme's timeline, where decode time never goes back and audio stands on its sample grid without a hole.

mod audio;
mod splice;

pub use splice::{Item, Repairs, Splice};
