//! Makes one continuous programme out of interrupted contributions.
//!
//! A contribution brings its own clock: it starts anywhere, jumps, goes back and drifts. [`Splice`] lays its frames on
//! the programme's timeline, where decode time never goes back and audio stands on its sample grid without a hole.
//! What is encoded anew goes on through all gaps: [`Continuity`] decides what each moment of it shows and sounds like.

mod audio;
pub mod continuity;
pub mod filler;
pub mod pictures;
mod splice;

pub use continuity::Continuity;
pub use filler::Filler;
pub use splice::{End, Item, Repairs, Splice};
