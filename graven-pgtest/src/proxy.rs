//! [`Proxy`]: the line between a client and a server, in the hands of a test.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::Builder;
use std::time::Instant;

/// A direction of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// What the client sends.
    ToServer,
    /// What the server answers.
    ToClient,
}

/// Listens on a port of 127.0.0.1 and passes on what comes, both ways, until it is told otherwise.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
    over: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<Arc<Line>>,
    ways: [WayState; 2],
}

#[derive(Debug, Default)]
struct WayState {
    paused: bool,
    /// Bytes that pass before everything is cut.
    left: Option<usize>,
    /// Bytes that have arrived and wait.
    held: usize,
    passed: u64,
}

#[derive(Debug)]
struct Line {
    client: TcpStream,
    server: TcpStream,
    dead: AtomicBool,
}

impl Line {
    fn cut(&self) {
        self.dead.store(true, Ordering::SeqCst);
        // Either end may be gone already.
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}

impl Proxy {
    /// A line to a port of this machine.
    ///
    /// # Panics
    /// If no port is free.
    #[must_use]
    pub fn start(target: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let shared = Arc::new(Shared {
            target: ([127, 0, 0, 1], target).into(),
            state: Mutex::default(),
            changed: Condvar::new(),
            over: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        Builder::new().spawn(move || accepting.accept(&listener)).expect("a thread");
        Proxy { port, shared }
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts every connection there is. New ones are passed on.
    pub fn cut(&self) {
        self.shared.cut();
    }

    /// Lets so many more bytes pass this way and cuts every connection when the next one comes; then lets new ones pass.
    /// With 0, nothing of what is sent next arrives.
    pub fn cut_after_bytes(&self, way: Way, bytes: usize) {
        self.shared.lock().ways[way as usize].left = Some(bytes);
    }

    /// Holds what comes this way, on connections there are and on new ones.
    pub fn pause(&self, way: Way) {
        self.shared.lock().ways[way as usize].paused = true;
    }

    /// Lets pass what was held.
    pub fn resume(&self, way: Way) {
        self.shared.lock().ways[way as usize].paused = false;
        self.shared.changed.notify_all();
    }

    /// Waits until something is held this way.
    ///
    /// # Panics
    /// If nothing comes within [`crate::PATIENCE`].
    pub fn wait_until_held(&self, way: Way) {
        let deadline = Instant::now() + crate::PATIENCE;
        let mut state = self.shared.lock();
        while state.ways[way as usize].held == 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "nothing came {way:?}");
            state = self.shared.changed.wait_timeout(state, left).expect("no thread panics with the lock").0;
        }
    }

    /// Bytes that passed this way so far.
    #[must_use]
    pub fn passed(&self, way: Way) -> u64 {
        self.shared.lock().ways[way as usize].passed
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        self.shared.cut();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics with the lock")
    }

    fn cut(&self) {
        for line in self.lock().lines.drain(..) {
            line.cut();
        }
        self.changed.notify_all();
    }

    fn accept(self: Arc<Shared>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            // A client that is gone again, or a server that is not there: the connection ends, which tells.
            let Ok(client) = client else { continue };
            let Ok(server) = TcpStream::connect(self.target) else { continue };
            let _ = client.set_nodelay(true);
            let _ = server.set_nodelay(true);
            let line = Arc::new(Line { client, server, dead: AtomicBool::new(false) });
            self.lock().lines.push(Arc::clone(&line));
            for way in [Way::ToServer, Way::ToClient] {
                let (shared, line) = (Arc::clone(&self), Arc::clone(&line));
                Builder::new().spawn(move || shared.pump(&line, way)).expect("a thread");
            }
        }
    }

    fn pump(&self, line: &Line, way: Way) {
        let (mut from, mut to) = match way {
            Way::ToServer => (&line.client, &line.server),
            Way::ToClient => (&line.server, &line.client),
        };
        let mut buffer = vec![0; 64 << 10];
        loop {
            let came = match from.read(&mut buffer) {
                Ok(0) | Err(_) => return line.cut(),
                Ok(came) => came,
            };
            let Some(may_pass) = self.may_pass(line, way, came) else { return };
            if to.write_all(&buffer[..may_pass]).is_err() {
                return line.cut();
            }
            if may_pass < came {
                return self.cut();
            }
        }
    }

    /// How many of the bytes that came pass, after whatever holds them; `None` if the line was cut meanwhile.
    fn may_pass(&self, line: &Line, way: Way, came: usize) -> Option<usize> {
        let mut state = self.lock();
        state.ways[way as usize].held += came;
        self.changed.notify_all();
        while state.ways[way as usize].paused && !line.dead.load(Ordering::SeqCst) {
            state = self.changed.wait(state).expect("no thread panics with the lock");
        }
        let way = &mut state.ways[way as usize];
        way.held -= came;
        if line.dead.load(Ordering::SeqCst) {
            return None;
        }
        let passes = match &mut way.left {
            Some(left) if *left < came => {
                let passes = *left;
                way.left = None;
                passes
            }
            Some(left) => {
                *left -= came;
                came
            }
            None => came,
        };
        way.passed += passes as u64;
        Some(passes)
    }
}
