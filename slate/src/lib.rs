//! Makes one continuous programme out of interrupted contributions.
//!
//! A contribution brings its own clock, which starts anywhere, jumps, goes back and drifts. [`Intake`] checks it against the
//! arrival of the frames. [`Splice`] maps the frames to the programme's timeline, on which decode time never goes back and
//! audio fills its sample grid without a gap. A programme that is transcoded continues through all gaps: [`Continuity`]
//! decides what each moment of it presents. In a passthrough programme
//! [`GapPolicy`] decides when the slate begins and ends, and [`Filler`] sends it. [`Programme`] is all of that for one broadcast.

pub mod continuity;
pub mod default_images;
pub mod filler;
pub mod gap;
mod intake;
mod programme;
mod sample_grid;
mod splice;

pub use continuity::Continuity;
pub use filler::Filler;
pub use gap::{ClipSpec, GapPolicy, SlateImages};
pub use intake::Intake;
pub use programme::Programme;
pub use splice::{Item, Splice, SpliceStats, TrackEnd};
