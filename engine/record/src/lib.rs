//! The stored form of events: versioned, hash-chained, converted on read.
