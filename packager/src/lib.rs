//! Frames in, CMAF parts and segments out; the live window and its playlists.
//!
//! A [`Packager`] turns the frames of a programme into [`log::Event`]s; a [`window::Window`] folds them into what can be
//! had now; [`playlist`] renders it. Nothing here reads a clock or opens a socket.

mod cmaf;
pub mod log;
mod packager;
pub mod playlist;
pub mod uri;
pub mod window;

pub use packager::{Config, Packager};

/// What the packager cannot do. All but [`Error::LongGop`] is about what cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The encoder makes key frames too rarely: no viewer could tune in.
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
