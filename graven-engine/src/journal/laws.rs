//! The laws suite.
