//! The real binary with real processes.
