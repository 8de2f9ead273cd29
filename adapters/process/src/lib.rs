//! Replicas as processes on this machine: shim, probes, restarts, logs.
