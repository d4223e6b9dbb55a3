use super::*;
use crate::env::{MappedFile, RealDisk};
use graven_proof::merkle::leaf_hash;
use proptest::prelude::*;
use std::io;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use tempfile::TempDir;

fn leaf(index: u64) -> Hash {
    leaf_hash(&index.to_be_bytes())
}

fn leaves(range: std::ops::Range<u64>) -> Vec<Hash> {
    range.map(leaf).collect()
}

fn frontier_of(leaves: &[Hash]) -> Frontier {
    let mut frontier = Frontier::default();
    leaves.iter().for_each(|leaf| frontier.push(*leaf));
    frontier
}

fn open(dir: &TempDir) -> Arc<Tiles> {
    Tiles::open(&Env::real(), dir.path()).unwrap()
}

fn file(dir: &TempDir, level: usize) -> Vec<u8> {
    std::fs::read(path(dir.path(), level)).unwrap_or_default()
}

fn assert_holds(tiles: &Tiles, wanted: &[Hash]) {
    assert_eq!(tiles.size(), wanted.len() as u64);
    for (index, hash) in wanted.iter().enumerate() {
        assert_eq!(tiles.leaf(index as u64).unwrap(), *hash, "leaf {index}");
    }
    for (index, tile) in wanted.chunks_exact(TILE_WIDTH).enumerate() {
        assert_eq!(tiles.hash(1, index as u64).unwrap(), root_of(tile), "tile {index}");
    }
    assert_eq!(tiles.frontier(wanted.len() as u64).unwrap(), frontier_of(wanted));
    assert_eq!(tiles.leaf(wanted.len() as u64).unwrap_err().code, Code::Internal);
    assert_eq!(tiles.frontier(wanted.len() as u64 + 1).unwrap_err().code, Code::Internal);
}

/// The real disk with a byte budget and syncs that fail on request.
struct Failing {
    budget: Arc<AtomicI64>,
    failing_syncs: Arc<AtomicU64>,
    syncs: Arc<AtomicU64>,
}

struct FailingFile {
    file: Arc<dyn DiskFile>,
    budget: Arc<AtomicI64>,
    failing_syncs: Arc<AtomicU64>,
    syncs: Arc<AtomicU64>,
}

impl Failing {
    fn new(budget: i64) -> Failing {
        Failing {
            budget: Arc::new(AtomicI64::new(budget)),
            failing_syncs: Arc::default(),
            syncs: Arc::default(),
        }
    }

    fn env(&self) -> Env {
        let disk = Failing {
            budget: Arc::clone(&self.budget),
            failing_syncs: Arc::clone(&self.failing_syncs),
            syncs: Arc::clone(&self.syncs),
        };
        Env { disk: Arc::new(disk), ..Env::real() }
    }
}

impl Disk for Failing {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let file = RealDisk.open(path, how)?;
        Ok(Arc::new(FailingFile {
            file,
            budget: Arc::clone(&self.budget),
            failing_syncs: Arc::clone(&self.failing_syncs),
            syncs: Arc::clone(&self.syncs),
        }))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.create_dir(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.sync_dir(dir)
    }
    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        RealDisk.free_bytes(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        RealDisk.lock(path)
    }
    fn map(&self, path: &Path) -> io::Result<MappedFile> {
        RealDisk.map(path)
    }
}

impl DiskFile for FailingFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }
    /// Writes what the budget allows, as a full disk does.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let left = self.budget.fetch_sub(bytes.len() as i64, Ordering::SeqCst);
        if left >= bytes.len() as i64 {
            return self.file.write_at(bytes, offset);
        }
        self.budget.store(0, Ordering::SeqCst);
        self.file.write_at(&bytes[..left.max(0) as usize], offset)?;
        Err(io::ErrorKind::StorageFull.into())
    }
    fn sync_data(&self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        match self.failing_syncs.load(Ordering::SeqCst) {
            0 => self.file.sync_data(),
            _ => Err(io::Error::other("the disk is gone")),
        }
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

#[test]
fn a_new_directory_holds_the_empty_tree() {
    let dir = TempDir::new().unwrap();
    let tiles = open(&dir);
    assert_holds(&tiles, &[]);
    assert_eq!(tiles.sync().unwrap(), 0);
    assert_eq!((tiles.written(), tiles.size_bytes()), (0, 0));
    assert_eq!(open(&dir).size(), 0);
}

#[test]
fn the_files_are_tiles_of_height_eight() {
    let dir = TempDir::new().unwrap();
    let tiles = open(&dir);
    let wanted = leaves(0..65_536 + 256 + 3);
    tiles.push(&wanted);
    tiles.write_full().unwrap();
    assert_eq!(tiles.written(), 65_536 + 256);
    assert_eq!(tiles.sync().unwrap(), 65_536 + 256 + 3);

    let level_1: Vec<Hash> = wanted.chunks_exact(256).map(root_of).collect();
    assert_eq!(file(&dir, 0), wanted.as_flattened());
    assert_eq!(file(&dir, 1), level_1.as_flattened());
    assert_eq!(file(&dir, 2), root_of(&wanted[..65_536]));
    assert_eq!(tiles.hash(2, 0).unwrap(), root_of(&wanted[..65_536]));
    assert_eq!(tiles.hash(2, 1).unwrap_err().code, Code::Internal);
    assert_eq!(tiles.hash(3, 0).unwrap_err().code, Code::Internal);
    assert_eq!(tiles.hash(255, 0).unwrap_err().code, Code::Internal);
    assert_eq!(tiles.size_bytes(), 32 * (65_536 + 256 + 3 + 257 + 1));
    for size in [0, 1, 255, 256, 257, 65_535, 65_536, 65_537, wanted.len()] {
        assert_eq!(tiles.frontier(size as u64).unwrap(), frontier_of(&wanted[..size]), "size {size}");
    }
}

#[test]
fn right_edges_need_no_files() {
    let dir = TempDir::new().unwrap();
    let tiles = open(&dir);
    let wanted = leaves(0..65_536 + 700);
    tiles.push(&wanted);
    for size in [65_535, 65_536, wanted.len()] {
        assert_eq!(tiles.frontier(size as u64).unwrap(), frontier_of(&wanted[..size]), "size {size}");
    }
    assert_eq!(tiles.written(), 0);
}

#[test]
fn roots_the_pusher_knows_are_not_hashed_again() {
    let dir = TempDir::new().unwrap();
    let tiles = open(&dir);
    let mut frontier = Frontier::default();
    let wanted = leaves(0..3000);
    for part in wanted.chunks(300) {
        let roots: Vec<Hash> = part.iter().filter_map(|leaf| frontier.push_tiled(*leaf)).collect();
        tiles.push_tiled(part, &roots);
    }
    assert!(tiles.state.read().tile_roots.iter().all(Option::is_some));
    assert_holds(&tiles, &wanted);
    tiles.sync().unwrap();
    assert_holds(&tiles, &wanted);
}

#[test]
fn a_store_opened_again_goes_on_where_it_was() {
    let dir = TempDir::new().unwrap();
    let wanted = leaves(0..1500);
    let tiles = open(&dir);
    tiles.push(&wanted[..700]);
    assert_eq!(tiles.sync().unwrap(), 700);
    drop(tiles);

    let tiles = open(&dir);
    assert_holds(&tiles, &wanted[..700]);
    tiles.reset_to(700).unwrap();
    tiles.push(&wanted[700..]);
    assert_holds(&tiles, &wanted);
    tiles.sync().unwrap();
    assert_holds(&open(&dir), &wanted);
}

#[test]
fn leaves_after_a_reset_are_other_leaves() {
    for cut in [0, 1, 255, 256, 300, 511, 512, 1024, 1100] {
        let dir = TempDir::new().unwrap();
        let tiles = open(&dir);
        tiles.push(&leaves(0..1100));
        tiles.sync().unwrap();
        tiles.push(&leaves(1100..1200));
        tiles.reset_to(cut).unwrap();
        let wanted = [leaves(0..cut), leaves(9000..9700)].concat();
        assert_eq!(file(&dir, 0).len() as u64, cut * 32);
        tiles.push(&wanted[cut as usize..]);
        assert_holds(&tiles, &wanted);
        tiles.sync().unwrap();
        assert_holds(&tiles, &wanted);
        assert_holds(&open(&dir), &wanted);
    }
}

#[test]
fn torn_and_short_files_hold_only_what_all_levels_agree_on() {
    let dir = TempDir::new().unwrap();
    let wanted = leaves(0..1100);
    let tiles = open(&dir);
    tiles.push(&wanted);
    tiles.sync().unwrap();
    drop(tiles);
    let cut =
        |level, bytes| RealDisk.open(&path(dir.path(), level), Open::Write).unwrap().set_len(bytes).unwrap();

    cut(0, 1090 * 32 + 31);
    assert_holds(&open(&dir), &wanted[..1090]);
    cut(1, 3 * 32 + 1);
    assert_holds(&open(&dir), &wanted[..1023]);
    let tiles = open(&dir);
    assert_eq!(tiles.reset_to(1024).unwrap_err().code, Code::Corrupted);
    tiles.reset_to(1000).unwrap();
    tiles.push(&wanted[1000..]);
    tiles.sync().unwrap();
    assert_holds(&open(&dir), &wanted);

    std::fs::remove_file(path(dir.path(), 1)).unwrap();
    assert_holds(&open(&dir), &wanted[..255]);
    std::fs::remove_file(path(dir.path(), 0)).unwrap();
    let tiles = open(&dir);
    assert_eq!(tiles.reset_to(1).unwrap_err().code, Code::Corrupted);
    tiles.reset_to(0).unwrap();
    tiles.push(&wanted);
    tiles.sync().unwrap();
    assert_holds(&open(&dir), &wanted);
}

#[test]
fn a_file_cut_under_an_open_store_is_corruption() {
    let dir = TempDir::new().unwrap();
    let tiles = open(&dir);
    tiles.push(&leaves(0..600));
    tiles.sync().unwrap();
    std::fs::write(path(dir.path(), 0), [0; 40]).unwrap();
    let error = tiles.leaf(7).unwrap_err();
    assert_eq!(error.code, Code::Corrupted);
    assert!(error.message.contains("tiles-0"), "{error}");
    assert_eq!(tiles.frontier(300).unwrap_err().code, Code::Corrupted);
}

#[test]
fn a_full_disk_loses_nothing_and_is_written_when_space_returns() {
    let wanted = leaves(0..1100);
    // In the middle of level 0, at its end (level 1 fails), within level 1, within the incomplete tile.
    for budget in [0, 100, 1000 * 32, 1024 * 32, 1024 * 32 + 40, 1024 * 32 + 4 * 32 + 50] {
        let dir = TempDir::new().unwrap();
        let disk = Failing::new(budget);
        let tiles = Tiles::open(&disk.env(), dir.path()).unwrap();
        tiles.push(&wanted[..1050]);
        assert_eq!(tiles.sync().unwrap_err().code, Code::DiskFull, "budget {budget}");
        assert_holds(&tiles, &wanted[..1050]);
        tiles.push(&wanted[1050..]);
        assert_eq!(tiles.sync().unwrap_err().code, Code::DiskFull, "budget {budget}");
        disk.budget.store(i64::MAX, Ordering::SeqCst);
        assert_eq!(tiles.sync().unwrap(), 1100);
        assert_holds(&tiles, &wanted);
        assert_eq!(file(&dir, 0), wanted.as_flattened());
        assert_holds(&open(&dir), &wanted);
    }
}

#[test]
fn a_failed_sync_is_never_repeated() {
    let dir = TempDir::new().unwrap();
    let disk = Failing::new(i64::MAX);
    let tiles = Tiles::open(&disk.env(), dir.path()).unwrap();
    let wanted = leaves(0..600);
    tiles.push(&wanted[..300]);
    disk.failing_syncs.store(1, Ordering::SeqCst);
    assert_eq!(tiles.sync().unwrap_err().code, Code::Io);
    let syncs = disk.syncs.load(Ordering::SeqCst);
    disk.failing_syncs.store(0, Ordering::SeqCst);
    tiles.push(&wanted[300..]);
    assert_eq!(tiles.sync().unwrap_err().code, Code::Io);
    assert_eq!(disk.syncs.load(Ordering::SeqCst), syncs);
    tiles.write_full().unwrap();
    assert_holds(&tiles, &wanted);
}

#[test]
fn a_sync_without_news_costs_nothing() {
    let dir = TempDir::new().unwrap();
    let disk = Failing::new(i64::MAX);
    let tiles = Tiles::open(&disk.env(), dir.path()).unwrap();
    tiles.push(&leaves(0..600));
    tiles.sync().unwrap();
    let syncs = disk.syncs.load(Ordering::SeqCst);
    assert_eq!(tiles.sync().unwrap(), 600);
    assert_eq!(disk.syncs.load(Ordering::SeqCst), syncs);
    tiles.push(&leaves(600..601));
    tiles.sync().unwrap();
    assert_eq!(disk.syncs.load(Ordering::SeqCst), syncs + 1, "level 1 did not change");
}

#[test]
fn readers_see_every_pushed_leaf_while_tiles_are_written() {
    let dir = TempDir::new().unwrap();
    let tiles = open(&dir);
    let wanted = leaves(0..20_000);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for part in wanted.chunks(77) {
                tiles.push(part);
                tiles.write_full().unwrap();
            }
        });
        scope.spawn(|| while tiles.sync().unwrap() < wanted.len() as u64 {});
        let mut size = 0;
        while size < wanted.len() {
            size = tiles.size() as usize;
            assert_eq!(tiles.frontier(size as u64).unwrap(), frontier_of(&wanted[..size]));
            if let Some(last) = size.checked_sub(1) {
                assert_eq!(tiles.leaf(last as u64 / 2).unwrap(), wanted[last / 2]);
                assert_eq!(tiles.leaf(last as u64).unwrap(), wanted[last]);
            }
        }
    });
    assert_holds(&tiles, &wanted);
}

#[derive(Debug, Clone)]
enum Step {
    Push(u64),
    Write,
    Sync,
    Reset(u64),
    /// The process dies: what was not synced may or may not be there; the caller resets to what it knows.
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..700u64).prop_map(Step::Push),
        2 => Just(Step::Write),
        2 => Just(Step::Sync),
        1 => any::<u64>().prop_map(Step::Reset),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_sequence_of_calls_leaves_the_tree_of_the_pushed_leaves(
        steps in prop::collection::vec(step(), 1..24),
        sizes in prop::collection::vec(any::<u64>(), 4),
        known_roots: bool,
    ) {
        let dir = TempDir::new().unwrap();
        let mut tiles = open(&dir);
        let mut wanted: Vec<Hash> = Vec::new();
        let mut durable = 0;
        let mut next = 0;
        for step in steps {
            match step {
                Step::Push(count) => {
                    let more = leaves(next..next + count);
                    next += count;
                    let mut frontier = frontier_of(&wanted);
                    let roots: Vec<Hash> = more.iter().filter_map(|leaf| frontier.push_tiled(*leaf)).collect();
                    tiles.push_tiled(&more, if known_roots { &roots } else { &[] });
                    wanted.extend(more);
                }
                Step::Write => tiles.write_full().unwrap(),
                Step::Sync => {
                    durable = tiles.sync().unwrap();
                    prop_assert_eq!(durable, wanted.len() as u64);
                }
                Step::Reset(size) => {
                    let size = size % (wanted.len() as u64 + 1);
                    tiles.reset_to(size).unwrap();
                    wanted.truncate(size as usize);
                    durable = durable.min(size);
                }
                Step::Reopen => {
                    drop(tiles);
                    tiles = open(&dir);
                    tiles.reset_to(durable).unwrap();
                    tiles.push(&wanted[durable as usize..]);
                }
            }
            prop_assert!(tiles.written() <= tiles.size());
        }
        assert_holds(&tiles, &wanted);
        for size in sizes {
            let size = size % (wanted.len() as u64 + 1);
            prop_assert_eq!(tiles.frontier(size).unwrap(), frontier_of(&wanted[..size as usize]));
        }
        tiles.sync().unwrap();
        prop_assert_eq!(file(&dir, 0).len() as u64 + file(&dir, 1).len() as u64, tiles.size_bytes());
        assert_holds(&open(&dir), &wanted);
    }
}
