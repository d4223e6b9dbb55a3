//! `tile/<level>/<index>[.p/<width>]` and `tile/entries/<index>[.p/<width>]`, one spelling each.

use super::{Bundle, TILE_WIDTH, Tile};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Highest level the paths have room for.
const LEVEL_MAX: u64 = 63;

/// Bytes of a path at the most: `tile/entries/`, seven groups of digits, `.p/255`.
const PATH_BYTES_MAX: usize = 64;

/// What a path below a log's address names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TilePath {
    /// Hashes of the tree: `tile/<level>/…`.
    Hashes(Tile),
    /// Leaves: `tile/entries/…`.
    Entries(Bundle),
}

/// Why text is not the path of a tile.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TilePathError {
    /// Not of the form at all.
    #[error("expected tile/<level>/<index> or tile/entries/<index>, found {0:?}")]
    Form(String),
    /// The level is no number from 0 to 63 without leading zeroes.
    #[error("expected a level from 0 to {LEVEL_MAX} without leading zeroes, found {0:?}")]
    Level(String),
    /// The index is not written in groups of three digits, all but the last after an `x`.
    #[error("expected an index such as 067 or x001/x234/067, found {0:?}")]
    Index(String),
    /// The width is no number from 1 to 255 without leading zeroes.
    #[error("expected the width of a partial tile, 1 to 255 without leading zeroes, found {0:?}")]
    Width(String),
}

impl fmt::Display for TilePath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut index, width) = match self {
            TilePath::Hashes(tile) => {
                write!(out, "tile/{}/", tile.level)?;
                (tile.index, tile.width)
            }
            TilePath::Entries(bundle) => {
                out.write_str("tile/entries/")?;
                (bundle.index, bundle.width)
            }
        };
        let mut groups = vec![index % 1000];
        while index >= 1000 {
            index /= 1000;
            groups.push(index % 1000);
        }
        for group in groups.iter().skip(1).rev() {
            write!(out, "x{group:03}/")?;
        }
        write!(out, "{:03}", groups[0])?;
        if usize::from(width) < TILE_WIDTH {
            write!(out, ".p/{width}")?;
        }
        Ok(())
    }
}

impl FromStr for TilePath {
    type Err = TilePathError;

    fn from_str(path: &str) -> Result<TilePath, TilePathError> {
        let form = || TilePathError::Form(path.chars().take(PATH_BYTES_MAX).collect());
        if path.len() > PATH_BYTES_MAX {
            return Err(form());
        }
        let (content, place) =
            path.strip_prefix("tile/").and_then(|rest| rest.split_once('/')).ok_or_else(form)?;
        let (index, width) = match place.split_once(".p/") {
            Some((index, width)) => {
                let parsed = decimal(width).filter(|width| (1..TILE_WIDTH as u64).contains(width));
                (index, parsed.ok_or_else(|| TilePathError::Width(width.to_owned()))? as u16)
            }
            None => (place, TILE_WIDTH as u16),
        };
        let index = grouped(index).ok_or_else(|| TilePathError::Index(index.to_owned()))?;
        if content == "entries" {
            return Ok(TilePath::Entries(Bundle { index, width }));
        }
        let level = decimal(content).filter(|level| *level <= LEVEL_MAX);
        let level = level.ok_or_else(|| TilePathError::Level(content.to_owned()))? as u8;
        Ok(TilePath::Hashes(Tile { level, index, width }))
    }
}

/// A decimal number without sign and leading zeroes.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let spelled = digits && (text == "0" || !text.starts_with('0'));
    if spelled { text.parse().ok() } else { None }
}

fn grouped(text: &str) -> Option<u64> {
    let (leading, last) = match text.rsplit_once('/') {
        Some((leading, last)) => (leading.split('/').map(Some).collect(), last),
        None => (Vec::new(), text),
    };
    let mut index = 0u64;
    for group in leading.into_iter().map(|group| group?.strip_prefix('x')).chain([Some(last)]) {
        let group =
            group.filter(|group| group.len() == 3 && group.bytes().all(|byte| byte.is_ascii_digit()))?;
        index = index.checked_mul(1000)?.checked_add(group.parse().ok()?)?;
    }
    // an index is not spelled with more groups than it needs
    let groups = text.split('/').count();
    let needed = 1 + std::iter::successors(Some(index / 1000), |rest| Some(rest / 1000))
        .take_while(|rest| *rest > 0)
        .count();
    (groups == needed).then_some(index)
}
