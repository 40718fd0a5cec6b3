//! What becomes of a client's events when the connection is not there, slow, or lost.
