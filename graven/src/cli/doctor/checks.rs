//! The checks, one function each.

use super::super::Global;
use super::super::client::Call;
use super::Finding;
use crate::config::Config;
use crate::config::units::{show_bytes, show_count};
use graven_engine::env::{Env, Open};
use graven_engine::journal::SharedJournal as _;
use graven_engine::{Options, Store};
use graven_model::{Code, Error, Timestamp};
use graven_postgres::PostgresJournal;
use rustix::process::{Resource, getrlimit};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// All checks but that of the settings themselves.
pub(super) fn all(config: &Config, global: &Global) -> Vec<Finding> {
    let data = config.data.as_deref().unwrap_or(Path::new("."));
    let env = Env::real();
    let mut findings = vec![listen(config)];
    let (directory, usable) = directory(data, &env);
    findings.push(directory);
    if let Some(usable) = usable {
        findings.push(free_space(&usable, config, &env));
        findings.push(sync_speed(&usable, &env));
    }
    findings.push(memory(std::fs::read_to_string("/proc/meminfo").ok().as_deref()));
    findings.push(open_files(getrlimit(Resource::Nofile).current));
    findings.push(clock(env.clock.now_us()));
    if config.journal.is_shared() {
        findings.push(journal(config));
    } else {
        findings.push(store(data, config, env.clock.now_us()));
    }
    findings.push(server(global));
    findings
}

fn listen(config: &Config) -> Finding {
    const CHECK: &str = "listen";
    let address = config.listen;
    if address.ip().is_loopback() {
        return Finding::ok(CHECK, format!("{address}, this machine only"));
    }
    if config.insecure {
        return Finding::warn(
            CHECK,
            format!("{address} can be reached from other machines and nobody is authenticated"),
            "use it only in a network where every machine may read and write everything",
        );
    }
    Finding::fail(
        CHECK,
        format!("{address} can be reached from other machines"),
        Code::InsecureListen.entry().hint,
    )
}

/// The directory that will be written: the data directory, or the nearest one above it that exists.
fn directory(data: &Path, env: &Env) -> (Finding, Option<PathBuf>) {
    const CHECK: &str = "directory";
    let absolute = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
    let existing = absolute.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    if !existing.is_dir() {
        let found = format!("{} is a file", existing.display());
        return (Finding::fail(CHECK, found, "name a directory with --data"), None);
    }
    let probe = existing.join(format!(".graven-doctor.{}.tmp", std::process::id()));
    if let Err(error) = env.disk.open(&probe, Open::Create) {
        let error = Error::io(format!("write in {}", existing.display()), &error);
        return (Finding::failed(CHECK, &error), None);
    }
    let found = match env.disk.remove(&probe) {
        Err(error) => return (Finding::failed(CHECK, &Error::io("remove the probe file", &error)), None),
        Ok(()) if existing == absolute => format!("{} can be written", data.display()),
        Ok(()) => format!("{} will be made", data.display()),
    };
    (Finding::ok(CHECK, found), Some(existing.to_owned()))
}

fn free_space(dir: &Path, config: &Config, env: &Env) -> Finding {
    const CHECK: &str = "free space";
    let free = match env.disk.free_bytes(dir) {
        Ok(free) => free,
        Err(error) => return Finding::failed(CHECK, &Error::io("ask for free space", &error)),
    };
    // The segment in use and the next one, which is written before it is needed.
    let least = config.free_bytes_reserve + 2 * config.segment_bytes;
    let found = format!("{} free, {} needed to begin", show_bytes(free), show_bytes(least));
    if free < least {
        return Finding::fail(
            CHECK,
            found,
            "free space, or set a smaller store.segment_size or store.free_space_reserve",
        );
    }
    if free < 4 * least {
        return Finding::warn(CHECK, found, "watch the space: appends are refused when it is used up");
    }
    Finding::ok(CHECK, found)
}

/// Every append waits for one flush, so its time is the least an append takes.
fn sync_speed(dir: &Path, env: &Env) -> Finding {
    const CHECK: &str = "sync speed";
    const ROUNDS: usize = 25;
    const BLOCK: [u8; 4096] = [0x67; 4096];
    let path = dir.join(format!(".graven-doctor.{}.tmp", std::process::id()));
    let measure = || -> std::io::Result<Duration> {
        let file = env.disk.open(&path, Open::Create)?;
        file.write_at(&[0; 4096 * ROUNDS], 0)?;
        file.sync_data()?;
        let mut times = Vec::with_capacity(ROUNDS);
        for round in 0..ROUNDS {
            let begun = Instant::now();
            file.write_at(&BLOCK, (round * BLOCK.len()) as u64)?;
            file.sync_data()?;
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        Ok(times[ROUNDS / 2])
    };
    let measured = measure();
    // The probe is only a probe: what counts is whether it could be written.
    let _ = env.disk.remove(&path);
    let median = match measured {
        Ok(median) => median,
        Err(error) => return Finding::failed(CHECK, &Error::io("write and sync a probe file", &error)),
    };
    judge_sync(CHECK, median)
}

fn judge_sync(check: &'static str, median: Duration) -> Finding {
    let millis = median.as_secs_f64() * 1_000.0;
    let found = format!("{millis:.3} ms to write and sync 4 KiB (median)");
    if median < Duration::from_micros(15) {
        return Finding::warn(
            check,
            found,
            "faster than disks are: memory, or a disk that does not wait; a power loss may lose acknowledged events",
        );
    }
    if median > Duration::from_millis(20) {
        return Finding::warn(
            check,
            found,
            "a lone append takes at least this long; a local SSD needs 0.1 to 2 ms",
        );
    }
    Finding::ok(check, found)
}

fn memory(meminfo: Option<&str>) -> Finding {
    const CHECK: &str = "memory";
    const WANTED: u64 = 512 << 20;
    let kib = meminfo.and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    });
    let Some(available) = kib.map(|kib| kib * 1024) else {
        return Finding::warn(
            CHECK,
            "the system does not say how much is available",
            "make sure there are 512 MiB",
        );
    };
    let found = format!("{} available", show_bytes(available));
    if available < WANTED {
        return Finding::warn(
            CHECK,
            found,
            "large appends and imports want 512 MiB; set a smaller store.heads_max if need be",
        );
    }
    Finding::ok(CHECK, found)
}

fn open_files(limit: Option<u64>) -> Finding {
    const CHECK: &str = "open files";
    const WANTED: u64 = 8_192;
    match limit {
        Some(limit) if limit < WANTED => Finding::warn(
            CHECK,
            format!("at most {}", show_count(limit)),
            "4,096 connections and the files of a large store want 8,192: raise it with ulimit -n or LimitNOFILE=",
        ),
        Some(limit) => Finding::ok(CHECK, format!("at most {}", show_count(limit))),
        None => Finding::ok(CHECK, "no limit"),
    }
}

fn clock(now_us: i64) -> Finding {
    const CHECK: &str = "clock";
    let now = Timestamp::from_micros(now_us);
    let sane = |earliest: &str, latest: &str| {
        let parse = |text| Timestamp::parse(text).expect("a time written here");
        (parse(earliest)..parse(latest)).contains(&now)
    };
    if sane("2025-01-01T00:00:00Z", "2100-01-01T00:00:00Z") {
        Finding::ok(CHECK, now.to_string())
    } else {
        Finding::fail(CHECK, format!("the system says it is {now}"), "set the clock, or run a time service")
    }
}

/// Asks the journal that nodes share what could make it lose what it acknowledged. A node's copy is checked by its start.
fn journal(config: &Config) -> Finding {
    const CHECK: &str = "journal";
    let ask = || -> graven_model::Result<_> {
        let settings = config.journal.settings()?;
        let settings = settings.ok_or_else(|| Error::new(Code::InvalidConfig, "no journal is set"))?;
        let mut journal = PostgresJournal::open(settings)?;
        let risks = journal.risks()?;
        Ok((journal.place().to_owned(), risks))
    };
    match ask() {
        Err(error) => Finding::failed(CHECK, &error),
        Ok((place, risks)) if risks.is_empty() => {
            Finding::ok(CHECK, format!("{place} answers, and keeps what it acknowledges"))
        }
        Ok((place, risks)) => {
            Finding::warn(CHECK, format!("{place} could lose what it acknowledged"), risks.join("; "))
        }
    }
}

/// Opens the store as a server would, recovery of its tail included, and closes it again.
fn store(data: &Path, config: &Config, now_us: i64) -> Finding {
    const CHECK: &str = "store";
    let empty = std::fs::read_dir(data).map_or(true, |mut entries| entries.next().is_none());
    if empty {
        return Finding::ok(CHECK, "none yet; the first start makes one");
    }
    let begun = Instant::now();
    let store = match Store::open(data, Options { create: false, ..config.engine_options() }) {
        Ok(store) => store,
        Err(error) if error.code == Code::DataInUse => {
            return Finding::ok(
                CHECK,
                format!("{} is open in another process, which is fine", data.display()),
            );
        }
        Err(error) => return Finding::failed(CHECK, &error),
    };
    let opened = begun.elapsed();
    let info = store.info();
    let last = info.head.0.checked_sub(1).map(|last| store.event_at(graven_model::Position(last)));
    if let Err(error) = store.close() {
        return Finding::failed(CHECK, &error);
    }
    let found = format!(
        "opens in {} ms, its tail is whole: {} events, {} of log in {} segments",
        opened.as_millis(),
        show_count(info.head.0),
        show_bytes(info.log_bytes),
        show_count(info.segments)
    );
    match last {
        Some(Err(error)) => Finding::failed(CHECK, &error),
        Some(Ok(event)) if event.committed_at.micros() > now_us => Finding::warn(
            CHECK,
            format!("{found}; its last event is from the future: {}", event.committed_at),
            "set the clock: commit times stand still until it has caught up",
        ),
        _ => Finding::ok(CHECK, found),
    }
}

fn server(global: &Global) -> Finding {
    const CHECK: &str = "server";
    #[derive(Deserialize)]
    struct Info {
        version: String,
        head: u64,
    }
    let client = match global.client() {
        Ok(client) => client,
        Err(error) => return Finding::failed(CHECK, &error),
    };
    let info = match client.send(&Call::get("/v1/info")) {
        Ok(answer) => serde_json::from_slice::<Info>(&answer),
        Err(error) if error.code == Code::ConnectionFailed => {
            return Finding::warn(
                CHECK,
                format!("none answers at {}", client.base()),
                error.code.entry().hint,
            );
        }
        Err(error) => return Finding::failed(CHECK, &error),
    };
    let Ok(info) = info else {
        return Finding::fail(CHECK, format!("{} is not a graven server", client.base()), "check --url");
    };
    if let Err(error) = client.send(&Call::get("/readyz")) {
        return Finding::fail(
            CHECK,
            format!("{} is not ready: {error}", client.base()),
            error.code.entry().hint,
        );
    }
    let found =
        format!("{} answers, version {}, {} events", client.base(), info.version, show_count(info.head));
    if info.version == env!("CARGO_PKG_VERSION") {
        return Finding::ok(CHECK, found);
    }
    Finding::warn(
        CHECK,
        found,
        format!("this command line is version {}: use the same", env!("CARGO_PKG_VERSION")),
    )
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn limits_of_the_machine_are_judged() {
        assert_eq!(memory(Some("MemTotal: 1 kB\nMemAvailable:    2097152 kB\n")).verdict, Verdict::Ok);
        assert_eq!(memory(Some("MemAvailable:    1024 kB\n")).verdict, Verdict::Warn);
        assert_eq!(memory(None).verdict, Verdict::Warn);
        assert_eq!(open_files(Some(1_024)).verdict, Verdict::Warn);
        assert_eq!(open_files(None).verdict, Verdict::Ok);
        assert_eq!(clock(0).verdict, Verdict::Fail);
        assert_eq!(judge_sync("", Duration::from_micros(1)).verdict, Verdict::Warn);
        assert_eq!(judge_sync("", Duration::from_micros(300)).verdict, Verdict::Ok);
        assert_eq!(judge_sync("", Duration::from_millis(50)).verdict, Verdict::Warn);
    }

    #[test]
    fn an_address_that_others_reach_is_judged() {
        let mut config = Config { listen: "0.0.0.0:1".parse().unwrap(), ..Config::default() };
        assert_eq!(listen(&config).verdict, Verdict::Fail);
        config.insecure = true;
        assert_eq!(listen(&config).verdict, Verdict::Warn);
        assert_eq!(listen(&Config::default()).verdict, Verdict::Ok);
    }
}
