//! The floor: what the disk itself takes for one write and one flush of the same bytes. No store can be faster for a
//! lone append.

use crate::events::Event;
use crate::target::{Ask, Client, Later, Layout, Target};
use anyhow::{Context, Result};
use rustix::fs::{fdatasync, fsync};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes of the file, filled with zeros beforehand as a log segment is; writing begins anew at its end.
const FILE_BYTES: usize = 64 << 20;

/// A file and `fdatasync`.
#[derive(Debug)]
pub(crate) struct Floor {
    path: PathBuf,
}

impl Floor {
    /// Fills the file in this directory with zeros.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn create(dir: &Path) -> Result<Floor> {
        let path = dir.join("floor");
        let file = File::create(&path).context("cannot create the floor's file")?;
        let zeros = vec![0; 1 << 20];
        for offset in (0..FILE_BYTES).step_by(zeros.len()) {
            file.write_all_at(&zeros, offset as u64).context("cannot fill the floor's file")?;
        }
        fsync(&file).context("cannot flush the floor's file")?;
        Ok(Floor { path })
    }
}

impl Target for Floor {
    fn name(&self) -> &'static str {
        "write + fdatasync"
    }

    fn layout(&self) -> Layout {
        Layout::InProcess
    }

    fn offers(&self, ask: Ask) -> bool {
        ask == Ask::Append
    }

    fn connect(&self) -> Later<'_, Box<dyn Client>> {
        Box::pin(async {
            let file = OpenOptions::new().write(true).open(&self.path).context("cannot open the floor")?;
            Ok(Box::new(Writer { file, offset: 0, bytes: Vec::new() }) as Box<dyn Client>)
        })
    }

    fn processes(&self) -> Vec<u32> {
        vec![std::process::id()]
    }
}

struct Writer {
    file: File,
    offset: usize,
    bytes: Vec<u8>,
}

impl Client for Writer {
    fn append<'a>(&'a mut self, events: &'a [Event], _unless: Option<&'a str>) -> Later<'a, ()> {
        Box::pin(async move {
            self.bytes.clear();
            for event in events {
                self.bytes.extend_from_slice(event.stream.as_bytes());
                self.bytes.extend_from_slice(event.tag.as_bytes());
                self.bytes.extend_from_slice(&event.id);
                self.bytes.extend_from_slice(&event.data);
            }
            if self.offset + self.bytes.len() > FILE_BYTES {
                self.offset = 0;
            }
            self.file.write_all_at(&self.bytes, self.offset as u64).context("cannot write")?;
            self.offset += self.bytes.len();
            fdatasync(&self.file).context("cannot flush")
        })
    }
}
