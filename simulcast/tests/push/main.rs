//! Targets that nobody here wrote, and targets that misbehave.

mod adding;
mod auth;
mod hostile;
mod media;
mod peers;
mod programs;
mod rig;
mod servers;
mod srt;
mod tls;
