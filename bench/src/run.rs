//! The run: what is done, in which order, for how long.

use crate::calls::Count;
use crate::load::{Contender, Sample, Work, fill, first_answer};
use crate::process::{disk_bytes, resident_bytes};
use crate::products::{Installed, Product, Running};
use crate::result::{Fact, Group, Row, Spread};
use crate::target::{Ask, By, Layout, Target};
use crate::targets::graven_server::import;
use crate::{events, import_data};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// Rounds of every group.
    pub(crate) rounds: usize,
    /// Length of a target's slot in a round.
    pub(crate) slot: Duration,
    /// Events the stores are filled with before they are read.
    pub(crate) filled: u64,
    /// Events of an import.
    pub(crate) imported: u64,
    /// Repetitions of starts and imports.
    pub(crate) repetitions: usize,
    /// Volumes of the sweep, ascending.
    pub(crate) volumes: &'static [u64],
}

impl Scale {
    /// All of it within a few minutes.
    pub(crate) const QUICK: Scale = Scale {
        rounds: 3,
        slot: Duration::from_millis(500),
        filled: 200_000,
        imported: 200_000,
        repetitions: 3,
        volumes: &[],
    };
    /// What is published.
    pub(crate) const FULL: Scale = Scale {
        rounds: 7,
        slot: Duration::from_secs(2),
        filled: 1_300_000,
        imported: 1_000_000,
        repetitions: 5,
        volumes: &[1_000_000, 5_000_000, 10_000_000],
    };
    /// Enough to see that it works.
    pub(crate) const SMOKE: Scale = Scale {
        rounds: 2,
        slot: Duration::from_millis(100),
        filled: 5_000,
        imported: 5_000,
        repetitions: 1,
        volumes: &[2_000, 4_000],
    };
}

/// A run on its way.
pub(crate) struct Runner {
    /// How much.
    pub(crate) scale: Scale,
    /// What is there.
    pub(crate) installed: Installed,
    /// Directory of this run; everything is written below it.
    pub(crate) dir: PathBuf,
    /// Only groups whose key begins like this.
    pub(crate) only: Option<String>,
    /// Only targets whose name contains one of these; none = all.
    pub(crate) targets: Vec<String>,
    /// What was found so far, side by side.
    pub(crate) groups: Vec<Group>,
    /// And otherwise.
    pub(crate) facts: Vec<Fact>,
}

impl Runner {
    /// Everything.
    ///
    /// # Errors
    /// The first failure.
    pub(crate) async fn run(&mut self) -> Result<()> {
        if self.wants("append") {
            self.appends().await?;
        }
        if ["read", "condition", "deliver", "start"].iter().any(|key| self.wants(key)) {
            self.filled().await?;
        }
        if self.wants("replay") {
            self.replay().await?;
        }
        if self.wants("import") {
            self.imports()?;
        }
        if self.wants("audit") {
            self.audit().await?;
        }
        #[cfg(feature = "peers")]
        if self.wants("journal") && self.installed.postgres.is_some() {
            self.journal().await?;
        }
        if self.wants("kurrentdb") {
            self.kurrentdb().await?;
        }
        if self.wants("volume") {
            self.volumes().await?;
        }
        Ok(())
    }

    /// Whether anything of this key was asked for.
    pub(crate) fn wants(&self, key: &str) -> bool {
        let below = |key: &str, of: &str| {
            key.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        self.only.as_ref().is_none_or(|only| below(key, only) || below(only, key))
    }

    /// Whether this target was asked for.
    pub(crate) fn is_asked_for(&self, name: &str) -> bool {
        self.targets.is_empty() || self.targets.iter().any(|part| name.contains(part.as_str()))
    }

    async fn appends(&mut self) -> Result<()> {
        let running = self.start(&Product::all(&self.installed), "append")?;
        let layouts = [(1, 1), (8, 1), (64, 1), (64, 10)];
        for (clients, batch) in layouts {
            let work = Work::Append { clients, batch };
            let targets = targets(&running, work, |target| match target.layout() {
                Layout::Shared | Layout::Session => clients > 8,
                _ => clients == 1 || target.name() != "write + fdatasync",
            });
            let events = if batch == 1 { "one event" } else { "ten events" };
            let clients = if clients == 1 { "1 client".to_owned() } else { format!("{clients} clients") };
            let title = format!("Append {events} at a time, {clients}");
            self.group(
                &title,
                &format!("append-{}x{batch}", work_clients(work)),
                "events/s",
                "an append",
                work,
                targets,
            )
            .await?;
        }
        if self.wants("append-1x1") {
            self.calls(&running).await?;
        }
        stop(running)
    }

    /// A journal in PostgreSQL beside one of the server's own: appends, and how far a follower is behind.
    #[cfg(feature = "peers")]
    async fn journal(&mut self) -> Result<()> {
        let running = self.start(&[Product::Graven, Product::Shared], "journal")?;
        for (clients, batch, key) in
            [(1, 1, "journal-1x1"), (64, 1, "journal-64x1"), (64, 10, "journal-64x10")]
        {
            let work = Work::Append { clients, batch };
            let wanted = if clients == 1 { Layout::Own } else { Layout::Session };
            let fits = |target: &dyn Target| target.layout() == wanted && !target.name().contains("HTTP");
            let targets = targets(&running, work, fits);
            let title = format!("A journal in PostgreSQL: {clients} × {batch} events");
            self.group(&title, key, "events/s", "an append", work, targets).await?;
        }
        let by_call = |target: &dyn Target| target.name().ends_with("gRPC");
        let targets = targets(&running, Work::Deliver, by_call);
        self.group(
            "A journal in PostgreSQL: live delivery at a follower, 1 writer",
            "journal-deliver",
            "events/s",
            "acknowledgement to delivery",
            Work::Deliver,
            targets,
        )
        .await?;
        stop(running)
    }

    /// How often a lone append enters the kernel.
    async fn calls(&mut self, running: &[Running]) -> Result<()> {
        let work = Work::Append { clients: 1, batch: 1 };
        for product in running.iter().filter(|product| product.is_one_process()) {
            let target = self.usual_target(product)?;
            let mut contender = Contender::connect(Arc::clone(&target), work).await?;
            contender.slot(work, self.scale.slot / 4).await?;
            let count = Count::begin(&target.processes(), &self.dir)?;
            let sample = contender.slot(work, self.scale.slot).await?;
            let calls = count.end()? as f64 / sample.done.max(1) as f64;
            self.fact("System calls of a lone append, in the server", target.name(), &[calls], "calls");
        }
        Ok(())
    }

    async fn filled(&mut self) -> Result<()> {
        let products: Vec<Product> =
            Product::all(&self.installed).into_iter().filter(|product| self.is_filled(*product)).collect();
        let running = self.start(&products, "filled")?;
        let filled = self.scale.filled;
        for product in &running {
            let target = self.usual_target(product)?;
            eprintln!("filling {} with {filled} events", target.name());
            let seconds = fill(&*target, 0, filled).await?;
            let rate = filled as f64 / seconds;
            self.fact("Filling, one client, 1000 events at a time", target.name(), &[rate], "events/s");
        }
        let servers = running.iter().map(|product| Ok((product.product, self.usual_target(product)?.name())));
        let servers = servers.collect::<Result<Vec<_>>>()?;
        let stores: Vec<PathBuf> = running.iter().map(|product| product.data.clone()).collect();
        stop(running)?;
        for ((_, name), data) in servers.iter().zip(&stores) {
            self.disk(name, data)?;
        }
        let products: Vec<Product> = servers.iter().map(|(product, _)| *product).collect();
        let running = self.start(&products, "filled")?;
        let entities = filled / events::ENTITY_EVENTS;
        let many = count(filled);
        let read_ten = |by| Work::ReadTen { by, entities };
        let works = [
            (
                Work::ReadAll,
                "read-all",
                format!("Read the whole log of {many} events"),
                "events/s",
                "the whole read",
            ),
            (
                read_ten(By::Stream),
                "read-stream",
                format!("Read a stream of 10 out of {many} events"),
                "reads/s",
                "a read",
            ),
            (
                read_ten(By::Tag),
                "read-tag",
                format!("Read the 10 events of a tag out of {many}"),
                "reads/s",
                "a read",
            ),
            (
                Work::Condition,
                "condition",
                format!("Append unless {many} events have one of some type"),
                "events/s",
                "an append",
            ),
            (
                Work::Deliver,
                "deliver",
                "Live delivery, 1 follower, 1 writer".to_owned(),
                "events/s",
                "acknowledgement to delivery",
            ),
        ];
        for (work, key, title, unit, latency_of) in works {
            let targets = targets(&running, work, |target| target.layout() != Layout::Shared);
            self.group(&title, key, unit, latency_of, work, targets).await?;
        }
        stop(running)?;
        if self.wants("start") { self.starts(&servers).await } else { Ok(()) }
    }

    /// message-db takes minutes to fill and is compared in appends only.
    fn is_filled(&self, product: Product) -> bool {
        #[cfg(feature = "peers")]
        if product == Product::MessageDb {
            return false;
        }
        product != Product::Floor
    }

    fn disk(&mut self, name: &str, data: &Path) -> Result<()> {
        let dir = if data.is_dir() { data } else { data.parent().context("a file has a folder")? };
        let (all, used) = disk_bytes(dir);
        let share = |bytes: u64| bytes as f64 / self.scale.filled as f64;
        let (all, used) = (share(all), share(used));
        self.fact("Disk after a stop, blocks that are not blank", name, &[used], "bytes/event");
        self.fact("Disk after a stop, with what is prepared ahead", name, &[all], "bytes/event");
        Ok(())
    }

    async fn starts(&mut self, products: &[(Product, &'static str)]) -> Result<()> {
        let servers: Vec<_> = products.iter().filter(|(product, _)| *product != Product::Library).collect();
        let mut stops = vec![(Vec::new(), Vec::new()); servers.len()];
        let mut killed = Vec::new();
        let dir = self.dir.join("filled");
        for round in 0..self.scale.repetitions {
            for index in in_turn(servers.len(), round) {
                let begun = Instant::now();
                let running = servers[index].0.start(&self.installed, &dir)?;
                first_answer(&*self.usual_target(&running)?).await?;
                stops[index].0.push(begun.elapsed().as_secs_f64() * 1e3);
                stops[index].1.push(resident_bytes(&running.targets[0].processes()).0 as f64 / 1048576.0);
                if servers[index].0 == Product::Graven {
                    running.kill()?;
                    let begun = Instant::now();
                    let running = servers[index].0.start(&self.installed, &dir)?;
                    first_answer(&*self.usual_target(&running)?).await?;
                    killed.push(begun.elapsed().as_secs_f64() * 1e3);
                    running.stop()?;
                } else {
                    running.stop()?;
                }
            }
        }
        let many = count(self.scale.filled);
        for ((_, name), (millis, resident)) in servers.iter().zip(&stops) {
            self.fact(&format!("Start with {many} events until the first answer"), name, millis, "ms");
            self.fact("Resident memory after the first answer", name, resident, "MiB");
        }
        if !killed.is_empty() {
            self.fact("Start after a kill until the first answer", "Graven", &killed, "ms");
        }
        Ok(())
    }

    fn imports(&mut self) -> Result<()> {
        let file = self.dir.join("loans.ndjson");
        let lines = self.scale.imported;
        let bytes = import_data::write(&file, lines)?;
        eprintln!("importing {lines} events");
        let mut rates = Vec::new();
        for _ in 0..self.scale.repetitions {
            let dir = self.dir.join("import");
            fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
            let took = import(&self.installed.graven, &dir, &file)?;
            rates.push(lines as f64 / took.as_secs_f64());
            fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
        }
        let size = bytes / lines.max(1);
        let title = format!("Import of {} CloudEvents of {size} bytes into a stopped store", count(lines));
        self.fact(&title, "Graven, command line", &rates, "events/s");
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))
    }

    /// Does some work with targets in interleaved rounds, if its key was asked for.
    ///
    /// # Errors
    /// If any call fails.
    pub(crate) async fn group(
        &mut self,
        title: &str,
        key: &str,
        unit: &'static str,
        latency_of: &'static str,
        work: Work,
        targets: Vec<(Arc<dyn Target>, bool)>,
    ) -> Result<()> {
        if !self.wants(key) || targets.is_empty() {
            return Ok(());
        }
        eprintln!("{title}");
        let mut contenders = Vec::new();
        for (target, _) in &targets {
            let mut contender = Contender::connect(Arc::clone(target), work).await?;
            contender.slot(work, self.scale.slot / 4).await?;
            contenders.push(contender);
        }
        let mut rounds: Vec<Vec<Sample>> = vec![Vec::new(); contenders.len()];
        for round in 0..self.scale.rounds {
            for index in in_turn(contenders.len(), round) {
                rounds[index].push(contenders[index].slot(work, self.scale.slot).await?);
            }
        }
        let rows =
            contenders.iter().zip(&rounds).zip(&targets).map(|((contender, samples), (_, is_server))| {
                let target = &contender.target;
                let resident = is_server.then(|| resident_bytes(&target.processes()));
                Row::of(target.name(), target.layout().words(), samples, resident)
            });
        let mut group = Group {
            title: title.to_owned(),
            key: key.to_owned(),
            unit: unit.to_owned(),
            latency_of: latency_of.to_owned(),
            rows: rows.collect(),
            ratios: Vec::new(),
            later: None,
        };
        // A lag may be negative, and how many deliveries fit a second is not the question.
        if work != Work::Deliver {
            group.compare();
        }
        for row in &group.rows {
            let rate = Spread::of(&row.rates);
            eprintln!("  {:<46} {:>12.0} {unit}, p50 {:.0} µs", row.name(), rate.median, row.p50_us);
        }
        self.groups.push(group);
        Ok(())
    }

    /// The target that fills a product's store and asks it first: the last one.
    pub(crate) fn usual_target(&self, running: &Running) -> Result<Arc<dyn Target>> {
        let mut asked_for = running.targets.iter().filter(|target| self.is_asked_for(target.name()));
        asked_for.next_back().cloned().context("a product has no target that was asked for")
    }

    pub(crate) fn start(&self, products: &[Product], phase: &str) -> Result<Vec<Running>> {
        let dir = self.dir.join(phase);
        let mut running = Vec::new();
        for product in products {
            let mut product = product.start(&self.installed, &dir)?;
            product.targets.retain(|target| self.is_asked_for(target.name()));
            if product.targets.is_empty() {
                product.stop()?;
            } else {
                running.push(product);
            }
        }
        Ok(running)
    }

    pub(crate) fn fact(&mut self, measure: &str, target: &str, values: &[f64], unit: &'static str) {
        let values = Spread::of(values);
        eprintln!("  {measure}: {target}: {:.1} {unit}", values.median);
        self.facts.push(Fact {
            measure: measure.to_owned(),
            target: target.to_owned(),
            values,
            unit: unit.to_owned(),
        });
    }
}

/// A B C in even rounds, C B A in odd ones.
fn in_turn(count: usize, round: usize) -> Vec<usize> {
    if round.is_multiple_of(2) { (0..count).collect() } else { (0..count).rev().collect() }
}

fn targets(
    running: &[Running],
    work: Work,
    fits: impl Fn(&dyn Target) -> bool,
) -> Vec<(Arc<dyn Target>, bool)> {
    let all = running.iter().flat_map(|product| {
        let is_server = product.is_server();
        product.targets.iter().map(move |target| (Arc::clone(target), is_server))
    });
    let ask: Ask = work.ask();
    all.filter(|(target, _)| target.offers(ask) && fits(&**target)).collect()
}

fn stop(running: Vec<Running>) -> Result<()> {
    running.into_iter().try_for_each(Running::stop)
}

fn work_clients(work: Work) -> usize {
    match work {
        Work::Append { clients, .. } => clients,
        _ => 1,
    }
}

/// `1.3 M`, `200 k`.
pub(crate) fn count(number: u64) -> String {
    match number {
        1_000_000.. => format!("{} M", number as f64 / 1e6),
        1_000.. => format!("{} k", number as f64 / 1e3),
        _ => number.to_string(),
    }
}

/// The file system a directory lies on, as the kernel names it.
pub(crate) fn file_system(dir: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let best = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            let (point, kind) = (words.next()?, words.next()?);
            dir.starts_with(point).then(|| (point.len(), kind.to_owned()))
        })
        .max();
    best.map_or_else(|| "unknown".to_owned(), |(_, kind)| kind)
}
