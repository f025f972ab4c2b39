//! Frames in, CMAF parts and segments out; the live window and its playlists.

pub mod log;
pub mod playlist;
pub mod uri;
pub mod window;
