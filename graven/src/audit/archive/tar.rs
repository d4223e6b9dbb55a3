//! A bundle in a tar archive (POSIX ustar): plain files under short names, so a header is all there is to it. Archives made
//! by other programs of an unpacked bundle are read too, as long as they have nothing but files and directories.

use super::folder::bounded;
use super::unreadable;
use crate::audit::export::BundleSink;
use graven_model::{Code, Error, Result, limits};
use graven_proof::bundle::{FILE_BYTES_MAX, FILES_MAX, Files, PATH_BYTES_MAX, safe_path};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

const BLOCK: usize = 512;

/// First bytes of whatever Zstandard compressed.
const ZSTANDARD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The files of an archive, by where they begin and how long they are.
#[derive(Debug)]
pub(crate) struct Archive {
    file: File,
    files: BTreeMap<String, (u64, u64)>,
}

impl Archive {
    /// Reads where everything is. A compressed archive is unpacked into a temporary file that has no name.
    ///
    /// # Errors
    /// [`Code::BundleUnreadable`], [`Code::Io`].
    pub(crate) fn open(path: &Path) -> Result<Archive> {
        let failed = |error: io::Error| Error::io(path.display(), &error);
        let mut file = File::open(path).map_err(failed)?;
        let mut first = Vec::new();
        Read::by_ref(&mut file).take(4).read_to_end(&mut first).map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        if first == ZSTANDARD {
            let mut unpacked = tempfile::tempfile().map_err(failed)?;
            let packed = zstd::Decoder::new(file).map_err(failed)?;
            let copied = io::copy(&mut packed.take(limits::BUNDLE_BYTES_MAX + 1), &mut unpacked)
                .map_err(|error| unreadable(format!("{} does not unpack: {error}", path.display())))?;
            if copied > limits::BUNDLE_BYTES_MAX {
                return Err(unreadable(format!("{} unpacks to more than any bundle", path.display()))
                    .expected(format!("at most {} bytes", limits::BUNDLE_BYTES_MAX)));
            }
            file = unpacked;
        }
        let files = list(&file).map_err(|error| match error.code {
            Code::BundleUnreadable => unreadable(format!("{}: {}", path.display(), error.message)),
            _ => error,
        })?;
        Ok(Archive { file, files })
    }
}

impl Files for Archive {
    fn paths(&self) -> Vec<String> {
        self.files.keys().cloned().collect()
    }

    fn read(&self, path: &str) -> std::result::Result<Vec<u8>, String> {
        let (start, length) = *self.files.get(path).ok_or("no such file")?;
        let mut bytes = vec![0; usize::try_from(length).map_err(|error| error.to_string())?];
        self.file.read_exact_at(&mut bytes, start).map_err(|error| error.to_string())?;
        bounded(bytes.as_slice())
    }
}

fn list(file: &File) -> Result<BTreeMap<String, (u64, u64)>> {
    let mut reader = BufReader::with_capacity(64 << 10, file);
    reader.seek(SeekFrom::Start(0)).map_err(|error| Error::io("the archive", &error))?;
    let mut files = BTreeMap::new();
    let mut at = 0u64;
    loop {
        let mut header = [0; BLOCK];
        reader.read_exact(&mut header).map_err(|_| unreadable("the archive ends within a header"))?;
        at += BLOCK as u64;
        if header == [0; BLOCK] {
            return Ok(files);
        }
        let entry = Entry::read(&header)?;
        let padded = entry.size.next_multiple_of(BLOCK as u64);
        if entry.is_file && files.insert(entry.path.clone(), (at, entry.size)).is_some() {
            return Err(unreadable(format!("{} stands in the archive twice", entry.path)));
        }
        if files.len() > FILES_MAX + 2 {
            return Err(unreadable("there are more files than in any bundle"));
        }
        reader.seek_relative(padded as i64).map_err(|error| Error::io("the archive", &error))?;
        at += padded;
    }
}

struct Entry {
    path: String,
    size: u64,
    is_file: bool,
}

impl Entry {
    fn read(header: &[u8; BLOCK]) -> Result<Entry> {
        let is_file = match header[156] {
            b'0' | 0 => true,
            b'5' => false,
            other => {
                return Err(unreadable("the archive has something that is neither a file nor a directory")
                    .found(format!("an entry of type {:?}", char::from(other)))
                    .expected("an archive of plain files; or unpack it and check the directory"));
            }
        };
        let name = header[..100].split(|byte| *byte == 0).next().unwrap_or_default();
        let name = std::str::from_utf8(name).unwrap_or_default();
        let path = name.strip_prefix("./").unwrap_or(name).trim_end_matches('/');
        let root = !is_file && path.is_empty();
        if !root && !safe_path(path) || header[345] != 0 {
            return Err(
                unreadable("the archive has a name that no file of a bundle has").found(format!("{name:?}"))
            );
        }
        let mut blank = *header;
        blank[148..156].fill(b' ');
        let sum: u64 = blank.iter().map(|byte| u64::from(*byte)).sum();
        let size = octal(&header[124..136]).filter(|size| *size <= FILE_BYTES_MAX as u64);
        let size = size.ok_or_else(|| unreadable(format!("{path} is larger than any file of a bundle")))?;
        if octal(&header[148..156]) != Some(sum) {
            return Err(unreadable(format!("the header of {path} is damaged")));
        }
        Ok(Entry { path: path.to_owned(), size, is_file })
    }
}

/// A number in octal digits, with blanks or zeros around it.
fn octal(field: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    u64::from_str_radix(digits, 8).ok()
}

/// Writes a bundle as an archive.
pub(crate) struct TarSink<W: Write> {
    out: Option<W>,
    close: fn(W) -> io::Result<()>,
}

impl<W: Write> TarSink<W> {
    /// An archive that goes here; `close` is called once everything is written.
    pub(crate) fn new(out: W, close: fn(W) -> io::Result<()>) -> TarSink<W> {
        TarSink { out: Some(out), close }
    }
}

impl<W: Write> BundleSink for TarSink<W> {
    fn put(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        assert!(path.len() <= PATH_BYTES_MAX, "the paths of a bundle fit a header");
        let Some(out) = &mut self.out else {
            return Err(Error::new(Code::Internal, "the archive is finished"));
        };
        let mut header = [0; BLOCK];
        header[..path.len()].copy_from_slice(path.as_bytes());
        for (at, text) in [(100, "0000644\0"), (108, "0000000\0"), (116, "0000000\0"), (136, "00000000000\0")]
        {
            header[at..at + text.len()].copy_from_slice(text.as_bytes());
        }
        header[124..136].copy_from_slice(format!("{:011o}\0", bytes.len()).as_bytes());
        header[148..156].fill(b' ');
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let padding = [0; BLOCK];
        let rest = bytes.len().next_multiple_of(BLOCK) - bytes.len();
        let written = out.write_all(&header).and_then(|()| out.write_all(bytes));
        written
            .and_then(|()| out.write_all(&padding[..rest]))
            .map_err(|error| Error::io("the archive", &error))
    }

    fn finish(&mut self) -> Result<()> {
        let Some(mut out) = self.out.take() else { return Ok(()) };
        let written = out.write_all(&[0; 2 * BLOCK]).and_then(|()| (self.close)(out));
        written.map_err(|error| Error::io("the archive", &error))
    }
}

#[cfg(test)]
mod tests;
