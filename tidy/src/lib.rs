//! Nothing but tests: rules of this repository that the compiler does not check. They are a crate of their own, so that
//! they run before anything else is built.
