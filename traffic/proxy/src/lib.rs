//! The gateway: serves a watched routing table.
