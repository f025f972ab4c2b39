//! Frames in, CMAF parts and segments out; the live window and its playlists.
//!
//! A [`Packager`] turns the frames of a programme into [`log::Event`]s, and a [`log::LogWriter`] these into the entries of a
//! log. A [`window::Window`] folds the log into the media that viewers can request now, and makes the models that
//! [`playlist`] renders. No part of this crate reads a clock or opens a socket.

mod cmaf;
#[doc(hidden)]
pub mod fuzz;
pub mod log;
mod packager;
pub mod playlist;
pub mod uri;
pub mod window;

pub use packager::{Config, Packager};

/// Failures of the packager. All but [`Error::LongGop`] are about boxes that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The encoder makes key frames so rarely that no viewer could tune in.
    #[error("no key frame for more than {secs} s")]
    LongGop {
        /// The longest GOP that is carried.
        secs: i64,
    },
    /// The decoder configuration record of a track cannot be written as a box.
    #[error("decoder configuration record: {0}")]
    Record(#[source] mp4_atom::Error),
    /// An init section cannot be written.
    #[error("init section: {0}")]
    Init(#[source] mp4_atom::Error),
    /// A fragment cannot be written.
    #[error("fragment: {0}")]
    Fragment(#[source] mp4_atom::Error),
}
