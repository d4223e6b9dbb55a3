//! Evidence from outside: checkpoints go to witnesses, which cosign them, and to a timestamp authority.
//!
//! [`Anchors::start`] begins one thread a witness ([`courier`]) and one for the authority ([`authority`]). They take what
//! was signed already and never sign, and never make an append wait for the network: with [`Mode::Block`] appends are
//! refused once nothing was witnessed for too long. What comes back is kept in files that prove themselves
//! ([`cosignatures`], `timestamps/`); [`standing`] is what reports and metrics show.

pub(super) mod answer;
mod authority;
mod cosignatures;
mod courier;
mod post;
mod standing;
mod trust;

use authority::Authority;
use cosignatures::Cosignatures;
use courier::Courier;
use graven_engine::Store;
use graven_engine::env::{Env, spawn_named};
use graven_model::{Code, Error, Result, limits};
use graven_proof::Hash;
use graven_proof::checkpoint::SignedCheckpoint;
use graven_proof::control::Anchor;
use graven_proof::note::VerifierKey;
use graven_proof::policy::Policy;
use post::Post;
pub(super) use standing::Report;
use standing::Standing;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use trust::Trust;

/// File of the cosigned checkpoints in the store's directory.
const COSIGNATURES_FILE: &str = "cosignatures.log";

/// Directory of the timestamps in the store's directory.
pub(crate) const TIMESTAMPS_DIR: &str = "timestamps";

/// Longest pause after witnesses or authorities that fail again and again.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// What happens while witnesses cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Appends are refused once nothing was witnessed for too long.
    Block,
    /// The newest checkpoint is sent again and again.
    Queue,
    /// Each checkpoint is sent once at the most.
    Drop,
}

impl Mode {
    /// As it is set.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Mode::Block => "block",
            Mode::Queue => "queue",
            Mode::Drop => "drop",
        }
    }
}

/// Where evidence comes from.
#[derive(Debug, Clone)]
pub(crate) struct AnchorSettings {
    /// Witnesses and quorum; its logs are not looked at, the store knows its own keys.
    pub(crate) policy: Option<Policy>,
    /// What happens while they cannot be reached.
    pub(crate) mode: Mode,
    /// How long appends go on unwitnessed with [`Mode::Block`].
    pub(crate) patience: Duration,
    /// Pause between two checkpoints for witnesses.
    pub(crate) interval: Duration,
    /// URL of a timestamp authority.
    pub(crate) timestamp_url: Option<String>,
    /// Pause between two timestamps.
    pub(crate) timestamp_interval: Duration,
    /// Certificates (PEM) of authorities that are trusted over `https://` besides the system's.
    pub(crate) ca_file: Option<PathBuf>,
}

/// Ways to everyone who is asked.
struct Ways {
    /// With the witness's number in the policy.
    witnesses: Vec<(usize, Post)>,
    authority: Option<Post>,
}

impl AnchorSettings {
    /// Looks at everything that can be judged before a store is there.
    ///
    /// # Errors
    /// [`Code::InvalidConfig`] for a URL or certificates that cannot be used, or too many witnesses.
    pub(crate) fn check(&self) -> Result<()> {
        self.ways().map(drop)
    }

    fn ways(&self) -> Result<Ways> {
        let parties = self.policy.as_ref().map(Policy::witnesses).unwrap_or_default();
        let numbered = parties.iter().enumerate();
        let urls: Vec<(usize, &String)> =
            numbered.filter_map(|(number, party)| Some((number, party.url.as_ref()?))).collect();
        if urls.len() > limits::WITNESSES_MAX {
            return Err(Error::new(Code::InvalidConfig, "the policy has too many witnesses with a URL")
                .expected(format!("at most {}", limits::WITNESSES_MAX))
                .found(urls.len().to_string()));
        }
        let mut all = urls.iter().map(|(_, url)| *url).chain(&self.timestamp_url);
        let ca_file = self.ca_file.as_deref();
        let speaks_tls =
            |url: &String| url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"));
        let trust = match all.any(speaks_tls) {
            true => Trust::with_system(ca_file)?,
            false => Trust::own(ca_file)?,
        };
        let to_witness = |(number, url): (usize, &String)| Ok((number, Post::to_witness(url, &trust)?));
        let to_authority = |url: &String| Post::to_authority(url, &trust);
        Ok(Ways {
            witnesses: urls.into_iter().map(to_witness).collect::<Result<_>>()?,
            authority: self.timestamp_url.as_ref().map(to_authority).transpose()?,
        })
    }
}

/// The log whose checkpoints are anchored.
pub(crate) trait AnchoredLog: Send + Sync {
    /// The newest checkpoint that was handed out.
    fn latest(&self) -> Option<SignedCheckpoint>;
    /// Proof that the first `to` events begin with the first `from`.
    fn consistency(&self, from: u64, to: u64) -> Result<Vec<Hash>>;
    /// The keys checkpoints may be signed with.
    fn keys(&self) -> Result<Vec<VerifierKey>>;
    /// Notes evidence in the log itself.
    fn note(&self, anchor: Anchor) -> Result<()>;
    /// Refuses appends with this error from now on, or takes them again.
    fn hold(&self, refusal: Option<Error>);
}

impl AnchoredLog for Store {
    fn latest(&self) -> Option<SignedCheckpoint> {
        self.trail().latest()
    }

    fn consistency(&self, from: u64, to: u64) -> Result<Vec<Hash>> {
        self.trail().consistency(from, to)
    }

    fn keys(&self) -> Result<Vec<VerifierKey>> {
        self.trail().verifier_keys()
    }

    fn note(&self, anchor: Anchor) -> Result<()> {
        self.append_anchor(anchor).map(drop)
    }

    fn hold(&self, refusal: Option<Error>) {
        self.hold_appends(refusal);
    }
}

/// Witnesses and authority of one store while it is served.
pub(crate) struct Anchors {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What reports are read from while the store is served.
#[derive(Clone)]
pub(crate) struct AnchorView(Arc<Shared>);

struct Shared {
    env: Env,
    settings: AnchorSettings,
    log: Box<dyn AnchoredLog>,
    standing: Mutex<Standing>,
    stopped: Mutex<bool>,
    stop: Condvar,
}

impl Anchors {
    /// Begins to send checkpoints of the store in `dir`; `None` if neither witnesses nor an authority are set.
    ///
    /// # Errors
    /// Those of [`AnchorSettings::check`]; [`Code::Corrupted`] with file and byte; those of the disk.
    pub(crate) fn start(
        settings: &AnchorSettings,
        dir: &Path,
        log: Box<dyn AnchoredLog>,
    ) -> Result<Option<Anchors>> {
        let ways = settings.ways()?;
        let env = Env::real();
        let parties = settings.policy.as_ref().map(Policy::witnesses).unwrap_or_default();
        let mut couriers: Vec<Courier> = (ways.witnesses.into_iter())
            .map(|(number, post)| Courier::new(number, parties[number].key.clone(), post))
            .collect();
        let authority = match ways.authority {
            Some(post) => Some(Authority::open(&env, &dir.join(TIMESTAMPS_DIR), post)?),
            None => None,
        };
        if couriers.is_empty() && authority.is_none() {
            return Ok(None);
        }
        let (file, kept) = Cosignatures::open(&env, &dir.join(COSIGNATURES_FILE))?;
        let mut standing = Standing::new(settings, file, authority.as_ref().and_then(Authority::last));
        if let Some(policy) = &settings.policy {
            standing.recall(&policy.with_logs(&log.keys()?), kept, log.latest().as_ref());
        }
        for courier in &mut couriers {
            courier.remember(standing.size_of(courier.index()));
        }
        let shared = Arc::new(Shared {
            env,
            settings: settings.clone(),
            log,
            standing: Mutex::new(standing),
            stopped: Mutex::new(false),
            stop: Condvar::new(),
        });
        let mut threads = Vec::new();
        for courier in couriers {
            let shared = shared.clone();
            threads.push(spawn_named("graven-witness", move || courier.run(&shared)));
        }
        if let Some(authority) = authority {
            let shared = shared.clone();
            threads.push(spawn_named("graven-timestamp", move || authority.run(&shared)));
        }
        if settings.mode == Mode::Block {
            let shared = shared.clone();
            threads.push(spawn_named("graven-unwitnessed", move || shared.guard()));
        }
        Ok(Some(Anchors { shared, threads }))
    }

    /// What reports are read from.
    pub(crate) fn view(&self) -> AnchorView {
        AnchorView(self.shared.clone())
    }

    /// Sends nothing more. Blocks until what is under way has ended, a few seconds at the most.
    pub(crate) fn stop(self) {
        *lock(&self.shared.stopped) = true;
        self.shared.stop.notify_all();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread that sends checkpoints ended in a panic");
            }
        }
        self.shared.log.hold(None);
    }
}

impl std::fmt::Debug for AnchorView {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("AnchorView").finish_non_exhaustive()
    }
}

impl AnchorView {
    /// Where witnesses and authority stand.
    pub(super) fn report(&self) -> Report {
        let newest = self.0.log.latest().map_or(0, |latest| latest.unverified_head().size);
        lock(&self.0.standing).report(&self.0.settings, newest)
    }

    /// The newest checkpoint that a quorum of witnesses cosigned, with their signatures.
    pub(super) fn witnessed(&self) -> Option<SignedCheckpoint> {
        lock(&self.0.standing).witnessed()
    }
}

impl Shared {
    /// Waits, and says whether to go on.
    fn pause(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut stopped = lock(&self.stopped);
        while !*stopped {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            stopped = self.stop.wait_timeout(stopped, left).expect("nothing panics while it holds this").0;
        }
        false
    }

    fn now_us(&self) -> i64 {
        self.env.clock.now_us()
    }

    /// The policy as it is for the keys the log has now.
    fn policy(&self) -> Result<Option<Policy>> {
        let keys = self.log.keys()?;
        Ok(self.settings.policy.as_ref().map(|policy| policy.with_logs(&keys)))
    }

    /// Refuses appends while nothing was witnessed for too long, or a witness cosigned another history.
    fn guard(&self) {
        let mut held = None;
        while self.pause(self.settings.interval.min(Duration::from_secs(1))) {
            let newest = self.log.latest().map_or(0, |latest| latest.unverified_head().size);
            let refusal = {
                let mut standing = lock(&self.standing);
                if standing.is_contradicted() {
                    Some("a witness cosigned another history than this store's")
                } else {
                    let late = standing.unwitnessed_for(newest) > self.settings.patience;
                    late.then_some("the newest events were witnessed by nobody for too long")
                }
            };
            if refusal == held {
                continue;
            }
            held = refusal;
            match refusal {
                Some(why) => tracing::error!(newest, "appends are refused: {why}"),
                None => tracing::info!("appends are taken again: witnesses have answered"),
            }
            let patience = self.settings.patience.as_secs();
            let refuse = |why| {
                Error::new(Code::Unwitnessed, why).expected(format!("a quorum within {patience} seconds"))
            };
            self.log.hold(refusal.map(refuse));
        }
    }
}

/// The newest cosigned checkpoints that lie beside a stopped store, oldest first. Nothing in them is verified.
///
/// # Errors
/// [`Code::Corrupted`] with file and byte; those of the disk.
pub(crate) fn cosigned_beside(env: &Env, dir: &Path) -> Result<Vec<SignedCheckpoint>> {
    cosignatures::read(env, &dir.join(COSIGNATURES_FILE))
}

/// Pause after so many failures in a row.
fn back_off(failures: u32, first: Duration) -> Duration {
    first.saturating_mul(1 << failures.min(10)).min(PAUSE_MAX.max(first))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds this")
}

#[cfg(test)]
mod tests;
