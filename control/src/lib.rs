//! Resources, lifecycle, the REST API and the store.
