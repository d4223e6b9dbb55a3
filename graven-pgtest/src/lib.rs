//! Real PostgreSQL for tests: clusters of their own in temporary directories, which tests start, kill, restart, copy and
//! promote; and [`Proxy`], a line to one of them that is cut, held and let go.
//!
//! Plain threads, no runtime, and nothing of Graven: whoever wants to know what their code does over a line that fails
//! can use it. What goes wrong here is a panic with the server's own words: it is a test that failed.
//!
//! A cluster listens on 127.0.0.1 only, and ends with its [`Cluster`] or with the process that started it, whichever comes
//! first and however that process ends.

mod cluster;
mod programs;
mod proxy;

pub use cluster::{Cluster, PASSWORD, Replication, USER};
pub use proxy::{Proxy, Way};

use std::time::{Duration, Instant};

/// No start, no end and no condition of a test takes longer.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer.
///
/// # Panics
/// If there is none within [`PATIENCE`]; `what` says what was waited for.
pub fn wait_until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not after {PATIENCE:?}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
