//! Makes one continuous programme out of interrupted contributions.
//!
//! A contribution brings its own clock: it starts anywhere, jumps, goes back and drifts. [`Intake`] checks it against the
//! arrival of the frames, and [`Splice`] lays them on
//! the programme's timeline, where decode time never goes back and audio stands on its sample grid without a hole.
//! What is encoded anew goes on through all gaps: [`Continuity`] decides what each moment of it shows and sounds like.

mod audio;
pub mod continuity;
pub mod default_images;
pub mod filler;
mod intake;
mod splice;

pub use continuity::Continuity;
pub use filler::Filler;
pub use intake::Intake;
pub use splice::{Item, Splice, SpliceStats, TrackEnd};
