//! REST on the control socket.
