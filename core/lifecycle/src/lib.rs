//! The story: the only place where the acts meet.
