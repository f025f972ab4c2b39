//! Folds a broadcast's packaged log into a window in memory and serves it.
