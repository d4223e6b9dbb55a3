//! Where the lines come from: a file or standard input, unpacked if it is packed.

use flate2::bufread::MultiGzDecoder;
use graven_model::{Code, Error, Result};
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const BUFFER_BYTES: usize = 128 << 10;
const MAGIC_BYTES: usize = 4;

/// An open import file.
pub(super) struct Source {
    name: String,
    size_bytes: Option<u64>,
    read_bytes: Arc<AtomicU64>,
    packing: Packing,
    reader: Box<dyn Read + Send>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    None,
    Gzip,
    Zstd,
}

impl Source {
    /// Opens a file, or standard input for `-`; the first bytes tell how it is packed.
    ///
    /// # Errors
    /// If it cannot be opened or read.
    pub(super) fn open(name: &str) -> Result<Source> {
        if name == "-" {
            return Source::from_reader("standard input", None, Box::new(io::stdin()));
        }
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Error::new(Code::BadRequest, format!("there is no file {name}")),
            _ => Error::new(Code::Io, format!("open {name}: {error}")),
        };
        let file = File::open(name).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(Error::new(Code::BadRequest, format!("{name} is a directory"))
                .expected("a file of CloudEvents"));
        }
        Source::from_reader(name, metadata.is_file().then_some(metadata.len()), Box::new(file))
    }

    /// A source over any reader.
    ///
    /// # Errors
    /// If its first bytes cannot be read.
    pub(super) fn from_reader(
        name: &str,
        size_bytes: Option<u64>,
        raw: Box<dyn Read + Send>,
    ) -> Result<Source> {
        let read_bytes = Arc::new(AtomicU64::new(0));
        let mut raw = Counted { inner: raw, count: read_bytes.clone() };
        let mut magic = Vec::with_capacity(MAGIC_BYTES);
        (&mut raw)
            .take(MAGIC_BYTES as u64)
            .read_to_end(&mut magic)
            .map_err(|error| Error::io(format!("read {name}"), &error))?;
        let packing = match magic[..] {
            [0x1f, 0x8b, ..] => Packing::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Packing::Zstd,
            _ => Packing::None,
        };
        let whole = Cursor::new(magic).chain(raw);
        let reader: Box<dyn Read + Send> = match packing {
            Packing::None => Box::new(whole),
            Packing::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER_BYTES, whole))),
            Packing::Zstd => Box::new(
                zstd::Decoder::with_buffer(BufReader::with_capacity(BUFFER_BYTES, whole))
                    .map_err(|error| Error::io(format!("read {name}"), &error))?,
            ),
        };
        Ok(Source { name: name.to_owned(), size_bytes, read_bytes, packing, reader })
    }

    /// What it is called in messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Bytes of the file as it lies there, if it has an end.
    pub(super) fn size_bytes(&self) -> Option<u64> {
        self.size_bytes
    }

    /// Bytes of the file read so far.
    pub(super) fn read_bytes(&self) -> u64 {
        self.read_bytes.load(Ordering::Relaxed)
    }

    /// Reads unpacked bytes; 0 at the end.
    ///
    /// # Errors
    /// [`Code::BadRequest`] if packed data breaks off or is damaged; those of the operating system.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            let error = match self.reader.read(buffer) {
                Ok(read) => return Ok(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            let kind = match self.packing {
                Packing::None => return Err(Error::io(format!("read {}", self.name), &error)),
                Packing::Gzip => "gzip",
                Packing::Zstd => "zstd",
            };
            let what = if error.kind() == io::ErrorKind::UnexpectedEof {
                format!("{} ends in the middle of its {kind} data: the file is incomplete", self.name)
            } else {
                format!("{} holds damaged {kind} data: {error}", self.name)
            };
            return Err(Error::new(Code::BadRequest, what));
        }
    }
}

struct Counted {
    inner: Box<dyn Read + Send>,
    count: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn unpack(bytes: &[u8]) -> Result<Vec<u8>> {
        let mut source = Source::from_reader("x", None, Box::new(Cursor::new(bytes.to_vec())))?;
        let mut out = Vec::new();
        let mut buffer = [0; 1024];
        loop {
            match source.read(&mut buffer)? {
                0 => return Ok(out),
                read => out.extend_from_slice(&buffer[..read]),
            }
        }
    }

    fn packed(text: &[u8]) -> [Vec<u8>; 2] {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text).unwrap();
        let mut zstd = zstd::Encoder::new(Vec::new(), 1).unwrap();
        zstd.include_checksum(true).unwrap();
        zstd.write_all(text).unwrap();
        [gzip.finish().unwrap(), zstd.finish().unwrap()]
    }

    #[test]
    fn packing_is_told_by_the_first_bytes() {
        let text: Vec<u8> = (0..20_000u32).flat_map(u32::to_le_bytes).collect();
        assert_eq!(unpack(&text).unwrap(), text);
        for packed in packed(&text) {
            assert_eq!(unpack(&packed).unwrap(), text);
            // Two packed files one after the other are one.
            assert_eq!(unpack(&[packed.clone(), packed].concat()).unwrap().len(), 2 * text.len());
        }
        assert_eq!(unpack(b"").unwrap(), b"");
    }

    #[test]
    fn packed_data_that_breaks_off_or_is_damaged_says_so() {
        let text: Vec<u8> = (0..20_000u32).flat_map(u32::to_le_bytes).collect();
        for packed in packed(&text) {
            let error = unpack(&packed[..packed.len() - 5]).unwrap_err();
            assert!(error.message.contains("incomplete"), "{error}");
            let mut damaged = packed.clone();
            let middle = damaged.len() / 2;
            damaged[middle..middle + 64].fill(0xff);
            let error = unpack(&damaged).unwrap_err();
            assert_eq!(error.code, Code::BadRequest, "{error}");
        }
    }
}
