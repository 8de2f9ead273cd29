//! The whole agent, gateway included.
