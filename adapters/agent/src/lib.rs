//! The process that acts on this machine: gateway and replicas under one wanted state.
