//! Where exported lines go: standard output, or a file that appears when it is complete.

use super::write_failed;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A place for lines.
pub(crate) struct Sink {
    name: String,
    encoder: Option<Encoder>,
    temporary: Option<PathBuf>,
    bytes: u64,
}

enum Encoder {
    Stdout(BufWriter<io::Stdout>),
    Plain(BufWriter<File>),
    Gzip(GzEncoder<BufWriter<File>>),
    Zstd(zstd::Encoder<'static, BufWriter<File>>),
}

const BUFFER_BYTES: usize = 256 << 10;
const ZSTD_LEVEL: i32 = 3;

impl Sink {
    /// Opens it; the ending of the name says how it is packed.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub(crate) fn create(name: &str) -> anyhow::Result<Sink> {
        let failed = |error| write_failed(name, &error);
        let (encoder, temporary) = if name == "-" {
            (Encoder::Stdout(BufWriter::with_capacity(BUFFER_BYTES, io::stdout())), None)
        } else {
            let path = Path::new(name);
            let file_name = path.file_name().ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?;
            let temporary =
                path.with_file_name(format!(".{}.{}.tmp", file_name.display(), std::process::id()));
            let file = BufWriter::with_capacity(BUFFER_BYTES, File::create(&temporary).map_err(failed)?);
            let encoder = match path.extension().and_then(|ending| ending.to_str()) {
                Some("gz") => Encoder::Gzip(GzEncoder::new(file, Compression::default())),
                Some("zst") => {
                    let mut encoder = zstd::Encoder::new(file, ZSTD_LEVEL).map_err(failed)?;
                    encoder.include_checksum(true).map_err(failed)?;
                    Encoder::Zstd(encoder)
                }
                _ => Encoder::Plain(file),
            };
            (encoder, Some(temporary))
        };
        Ok(Sink { name: name.to_owned(), encoder: Some(encoder), temporary, bytes: 0 })
    }

    /// Writes lines.
    ///
    /// # Errors
    /// If they cannot be written; a closed standard output ends the command quietly.
    pub(crate) fn write(&mut self, lines: &[u8]) -> anyhow::Result<()> {
        self.bytes += lines.len() as u64;
        let written = match self.encoder.as_mut().expect("the encoder is taken only at the end") {
            Encoder::Stdout(out) => out.write_all(lines),
            Encoder::Plain(out) => out.write_all(lines),
            Encoder::Gzip(out) => out.write_all(lines),
            Encoder::Zstd(out) => out.write_all(lines),
        };
        written.map_err(|error| write_failed(&self.name, &error))
    }

    /// Makes the file durable and gives it its name. Returns the bytes before packing.
    ///
    /// # Errors
    /// If that fails; then there is no file.
    pub(crate) fn finish(mut self) -> anyhow::Result<u64> {
        let encoder = self.encoder.take().expect("the encoder is taken only at the end");
        self.put_in_place(encoder).map_err(|error| write_failed(&self.name, &error))?;
        Ok(self.bytes)
    }

    fn put_in_place(&mut self, encoder: Encoder) -> io::Result<()> {
        let file = match encoder {
            Encoder::Stdout(mut out) => return out.flush(),
            Encoder::Plain(out) => out,
            Encoder::Gzip(out) => out.finish()?,
            Encoder::Zstd(out) => out.finish()?,
        };
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        let path = Path::new(&self.name);
        if let Some(temporary) = &self.temporary {
            fs::rename(temporary, path)?;
            self.temporary = None;
        }
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(dir)?.sync_all()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // What is left of an export that failed; the reason was reported already.
            let _ = fs::remove_file(temporary);
        }
    }
}
