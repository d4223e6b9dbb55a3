//! [`Cluster`]: a PostgreSQL of a test's own.

use crate::programs::{Programs, run};
use crate::{PATIENCE, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;
use tempfile::TempDir;

/// The user of every cluster, a superuser.
pub const USER: &str = "postgres";

/// The password of [`USER`]: odd enough to be found wherever it should not be.
pub const PASSWORD: &str = "pass-Zq7w4-word";

/// When a commit on the first is acknowledged that a standby has not got yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replication {
    /// Never: commits wait for the standby.
    Synchronous,
    /// At once.
    Asynchronous,
}

/// A running PostgreSQL in a temporary directory, with one database (`postgres`).
#[derive(Debug)]
pub struct Cluster {
    programs: Programs,
    dir: TempDir,
    port: u16,
    server: Option<Child>,
    /// Ends the server and removes the directory when this process is gone.
    guard: Child,
    /// What the guard reads from: closed by the kernel when this process ends.
    _lifeline: ChildStdin,
}

impl Cluster {
    /// Makes and starts one with PostgreSQL's defaults.
    ///
    /// # Panics
    /// If PostgreSQL is not installed or does not start.
    #[must_use]
    pub fn start() -> Cluster {
        Cluster::start_with(&[])
    }

    /// Makes and starts one with these settings.
    ///
    /// # Panics
    /// If PostgreSQL is not installed or does not start.
    #[must_use]
    pub fn start_with(settings: &[(&str, &str)]) -> Cluster {
        let mut cluster = Cluster::lay_out();
        let password = cluster.dir.path().join("password");
        fs::write(&password, PASSWORD).expect("a temporary directory can be written");
        cluster.programs.own(&password);
        let mut initdb = cluster.programs.command("initdb");
        initdb.args([
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
            "--username",
            USER,
        ]);
        initdb.arg("--pwfile").arg(&password).arg("-D").arg(cluster.data());
        run(&mut initdb);
        // Small, so that many stand side by side.
        cluster.configure(&[("shared_buffers", "32MB"), ("unix_socket_directories", "")]);
        cluster.configure(settings);
        cluster.start_somewhere();
        cluster
    }

    /// One for all tests of a process: each takes a schema of its own, and none changes its settings.
    ///
    /// # Panics
    /// If PostgreSQL is not installed or does not start.
    #[must_use]
    pub fn shared() -> &'static Cluster {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(Cluster::start)
    }

    fn lay_out() -> Cluster {
        let programs = Programs::find();
        let dir = tempfile::Builder::new().prefix("graven-pgtest-").tempdir().expect("a temporary directory");
        programs.own(dir.path());
        // A static is never dropped and a killed process drops nothing: a shell that reads until this process is gone.
        let script = "read -r _; \
            id=$(head -n 1 \"$0/data/postmaster.pid\" 2>/dev/null) && kill -INT \"$id\"; \
            while [ -n \"$id\" ] && kill -0 \"$id\" 2>/dev/null; do sleep 0.1; done; rm -rf \"$0\"";
        let mut guard = Command::new("sh")
            .args(["-c", script])
            .arg(dir.path())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let lifeline = guard.stdin.take().expect("it was asked for");
        Cluster { programs, dir, port: free_port(), server: None, guard, _lifeline: lifeline }
    }

    /// Where it lies.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How it is reached.
    #[must_use]
    pub fn url(&self) -> String {
        Cluster::url_at(self.port)
    }

    /// How it is reached at another port of this machine: a [`crate::Proxy`]'s.
    #[must_use]
    pub fn url_at(port: u16) -> String {
        format!("postgresql://{USER}:{PASSWORD}@127.0.0.1:{port}/postgres")
    }

    /// Adds settings to the configuration; the next start reads them.
    ///
    /// # Panics
    /// If the configuration cannot be written.
    pub fn configure(&self, settings: &[(&str, &str)]) {
        let mut text = String::new();
        for (name, value) in settings {
            writeln!(text, "{name} = '{value}'").expect("text can be written to");
        }
        let mut file = OpenOptions::new()
            .append(true)
            .open(self.data().join("postgresql.conf"))
            .expect("a cluster has a configuration");
        file.write_all(text.as_bytes()).expect("the configuration can be written");
    }

    /// Writes a file into the data directory, readable by the server alone, and returns where it is.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn put(&self, name: &str, content: &[u8]) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.data().join(name);
        fs::write(&path, content).expect("the data directory can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a file's mode can be set");
        self.programs.own(&path);
        path
    }

    /// Runs SQL as the superuser and returns what it answers, a line a row.
    ///
    /// # Panics
    /// If it fails.
    pub fn sql(&self, text: &str) -> String {
        let mut psql = self.programs.command("psql");
        psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", USER, "-d", "postgres"])
            .args(["-p", &self.port.to_string(), "-c", text])
            .env("PGPASSWORD", PASSWORD);
        run(&mut psql).trim_end().to_owned()
    }

    /// Starts the server; one that runs is ended first, in order.
    ///
    /// # Panics
    /// If it does not become ready.
    pub fn restart(&mut self) {
        self.stop();
        if let Err(words) = self.try_start() {
            panic!("PostgreSQL does not start:\n{words}");
        }
    }

    /// Starts a new cluster, at another port if somebody was faster at its own.
    fn start_somewhere(&mut self) {
        for _ in 0..5 {
            match self.try_start() {
                Ok(()) => return,
                Err(words) if words.contains("could not create any TCP/IP sockets") => {
                    self.port = free_port()
                }
                Err(words) => panic!("PostgreSQL does not start:\n{words}"),
            }
        }
        panic!("PostgreSQL finds no free port:\n{}", self.words());
    }

    fn try_start(&mut self) -> Result<(), String> {
        let log = self.log();
        let file = File::create(&log).expect("a temporary directory can be written");
        let second = file.try_clone().expect("a file can be shared");
        let mut command = self.programs.command("postgres");
        command
            .arg("-D")
            .arg(self.data())
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .stdout(file)
            .stderr(second);
        let mut server = command.spawn().expect("PostgreSQL can be started");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let words = fs::read_to_string(&log).unwrap_or_default();
            let ready = words.contains("ready to accept"); // "… connections", "… read-only connections"
            if ready && TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                self.server = Some(server);
                return Ok(());
            }
            if server.try_wait().expect("a child can be watched").is_some() {
                return Err(fs::read_to_string(&log).unwrap_or_default());
            }
            if Instant::now() > deadline {
                let _ = server.kill();
                return Err(words);
            }
            std::thread::park_timeout(std::time::Duration::from_millis(5));
        }
    }

    /// What the server wrote since its last start.
    #[must_use]
    pub fn words(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Ends the server in order, without waiting for its clients.
    ///
    /// # Panics
    /// If it does not end.
    pub fn stop(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        signal(server.id(), Signal::INT);
        wait_until("PostgreSQL ends", || server.try_wait().expect("a child can be watched"));
    }

    /// Ends all of the server's processes at once, as a crash would.
    ///
    /// # Panics
    /// If they do not end.
    pub fn sigkill(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        // The parent first: it would take the end of a child for a crash, and restart the others.
        let children = children_of(server.id());
        signal(server.id(), Signal::KILL);
        server.wait().expect("a child can be waited for");
        for child in &children {
            signal(*child, Signal::KILL);
        }
        // As long as one of them holds the shared memory, the next server does not start.
        for child in children {
            wait_until("PostgreSQL's processes end", || {
                let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
                let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
                matches!(state, None | Some('Z')).then_some(())
            });
        }
    }

    /// Holds all of the server's processes, as a machine that hangs would, or lets them go on.
    pub fn freeze(&self, frozen: bool) {
        let Some(server) = &self.server else { return };
        let what = if frozen { Signal::STOP } else { Signal::CONT };
        signal(server.id(), what);
        for child in children_of(server.id()) {
            signal(child, what);
        }
    }

    /// A standby of this one, which gets the log over `port` of this machine: this cluster's, or a [`crate::Proxy`]'s.
    /// It is there, and connected, when this returns; with [`Replication::Synchronous`], this cluster's commits wait for
    /// it from then on.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn standby(&self, replication: Replication, port: u16) -> Cluster {
        let mut standby = Cluster::lay_out();
        let mut backup = self.programs.command("pg_basebackup");
        backup
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", USER, "-X", "stream", "-c", "fast"])
            .args(["--no-sync", "-D"])
            .arg(standby.data())
            .env("PGPASSWORD", PASSWORD);
        run(&mut backup);
        let source = format!(
            "host=127.0.0.1 port={port} user={USER} password={PASSWORD} application_name=standby sslmode=disable"
        );
        standby.configure(&[("primary_conninfo", &source), ("synchronous_standby_names", "")]);
        standby.put("standby.signal", b"");
        standby.start_somewhere();
        if replication == Replication::Synchronous {
            self.sql("ALTER SYSTEM SET synchronous_standby_names = 'standby'");
            self.sql("SELECT pg_reload_conf()");
        }
        let wanted = match replication {
            Replication::Synchronous => "sync",
            Replication::Asynchronous => "async",
        };
        wait_until("the standby is connected", || {
            let state =
                self.sql("SELECT sync_state FROM pg_stat_replication WHERE application_name = 'standby'");
            (state == wanted).then_some(())
        });
        standby
    }

    /// Makes a standby the first.
    ///
    /// # Panics
    /// If it does not become one.
    pub fn promote(&self) {
        self.sql("SELECT pg_promote(true, 60)");
        wait_until("the standby is promoted", || {
            (self.sql("SELECT pg_is_in_recovery()") == "f").then_some(())
        });
    }

    /// The directory the cluster lies in, which is removed with it: for files of a test.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.sigkill();
        // The directory goes with its TempDir; nothing is left to the guard.
        signal(self.guard.id(), Signal::KILL);
        let _ = self.guard.wait();
    }
}

fn signal(id: u32, signal: Signal) {
    if let Some(id) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        // It may have ended by itself.
        let _ = kill_process(id, signal);
    }
}

fn children_of(id: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// A port that nobody listens on, below those that outgoing connections get: one of them would keep the server from
/// starting again.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(37);
    wait_until("a port is free", || {
        let at = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 20_000 + u16::try_from(at % 12_000).expect("it is below 12,000");
        TcpListener::bind(("127.0.0.1", port)).is_ok().then_some(port)
    })
}
