//! graven-sim
