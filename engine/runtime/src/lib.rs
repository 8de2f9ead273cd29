//! Makes the rules happen: decide, append, apply, reconcile.
