//! The journal over a real PostgreSQL, and over a line to it that fails.

mod claims;
mod connection_cut;
mod founding;
mod laws;
mod notifications;
mod reading;
mod risks;
mod server_killed;
mod settings;
mod standby;
mod support;
mod tls;
mod trial;
