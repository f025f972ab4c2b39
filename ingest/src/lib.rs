//! Listeners, TLS, admission and limits; one task for each contribution.
