//! The routing table: request to release to replica, pure.
