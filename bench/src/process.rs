//! What the kernel says of a process and its children: CPU time, bytes handed to write calls, memory.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// Counters of a process tree.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counters {
    /// User and system time, seconds; that of children that have ended is in it.
    pub(crate) cpu_seconds: f64,
    /// Bytes handed to write calls (`wchar`): files, and those answers to clients that go through `write` or `writev`.
    pub(crate) written_bytes: u64,
}

impl Counters {
    /// The sum over these processes and their children.
    pub(crate) fn of(roots: &[u32]) -> Counters {
        let mut sum = Counters::default();
        for id in with_children(roots) {
            sum.cpu_seconds += cpu_seconds(id).unwrap_or_default();
            sum.written_bytes += written_bytes(id).unwrap_or_default();
        }
        sum
    }

    /// What was used since `before`.
    pub(crate) fn since(self, before: Counters) -> Counters {
        Counters {
            cpu_seconds: (self.cpu_seconds - before.cpu_seconds).max(0.0),
            written_bytes: self.written_bytes.saturating_sub(before.written_bytes),
        }
    }
}

/// Resident memory in bytes: all of it, and the part that is not backed by files. Memory that processes share counts in
/// each.
pub(crate) fn resident_bytes(roots: &[u32]) -> (u64, u64) {
    let mut sum = (0, 0);
    for id in with_children(roots) {
        sum.0 += status_bytes(id, "VmRSS:").unwrap_or_default();
        sum.1 += status_bytes(id, "RssAnon:").unwrap_or_default();
    }
    sum
}

/// Resident memory of these processes without their children at its highest, in bytes.
pub(crate) fn resident_peak_bytes(ids: &[u32]) -> u64 {
    ids.iter().filter_map(|id| status_bytes(*id, "VmHWM:")).sum()
}

fn status_bytes(id: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
}

/// What the files under a directory take on the disk: all of it, and the blocks of 4 KiB that are not all zeros, which
/// leaves out what was only prepared.
pub(crate) fn disk_bytes(dir: &Path) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    let mut sum = (0, 0);
    let mut block = vec![0; 4 << 10];
    let mut waiting = vec![dir.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                waiting.push(entry.path());
                continue;
            }
            sum.0 += metadata.blocks() * 512;
            let Ok(file) = fs::File::open(entry.path()) else { continue };
            let mut file = std::io::BufReader::with_capacity(1 << 20, file);
            while let Ok(bytes @ 1..) = read_block(&mut file, &mut block) {
                if block[..bytes].iter().any(|byte| *byte != 0) {
                    sum.1 += bytes as u64;
                }
            }
        }
    }
    sum
}

fn read_block(file: &mut impl std::io::Read, block: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < block.len() {
        match file.read(&mut block[filled..])? {
            0 => break,
            bytes => filled += bytes,
        }
    }
    Ok(filled)
}

fn with_children(roots: &[u32]) -> HashSet<u32> {
    let mut found = HashSet::new();
    let mut waiting = roots.to_vec();
    while let Some(id) = waiting.pop() {
        if !found.insert(id) {
            continue;
        }
        for task in fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            waiting.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    found
}

/// `utime`, `stime`, `cutime` and `cstime` of `/proc/ID/stat`, which counts in hundredths of a second.
fn cpu_seconds(id: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let after_name = stat.rsplit_once(") ")?.1;
    let ticks: u64 =
        after_name.split(' ').skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum();
    Some(ticks as f64 / 100.0)
}

fn written_bytes(id: u32) -> Option<u64> {
    let io = fs::read_to_string(format!("/proc/{id}/io")).ok()?;
    io.lines().find_map(|line| line.strip_prefix("wchar: "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_counted() {
        let me = [std::process::id()];
        let before = Counters::of(&me);
        let dir = std::env::temp_dir().join(format!("graven-bench-test-{}", me[0]));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("file"), vec![7; 100_000]).unwrap();
        assert!(Counters::of(&me).since(before).written_bytes >= 100_000);
        fs::write(dir.join("blank"), vec![0; 1 << 20]).unwrap();
        let (all, used) = disk_bytes(&dir);
        assert!(used == 100_000 && all >= used, "{used} of {all}");
        assert!(resident_bytes(&me).0 > 100_000);
        fs::remove_dir_all(&dir).unwrap();
    }
}
