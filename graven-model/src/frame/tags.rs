//! A record's tags in the order they are stored in.

use super::SaltedName;
use std::ops::Deref;

/// As many tags as most records have are held in place.
const FEW: usize = 4;

/// The tags of a record with their salts: a slice that takes no allocation where there are few.
#[derive(Debug, Clone)]
pub struct Tags<'a>(Held<'a>);

#[derive(Debug, Clone)]
enum Held<'a> {
    Few([(&'a str, SaltedName); FEW], usize),
    Many(Vec<(&'a str, SaltedName)>),
}

impl<'a> Tags<'a> {
    pub(super) fn with_capacity(count: usize) -> Tags<'a> {
        Tags(if count <= FEW {
            Held::Few([("", None); FEW], 0)
        } else {
            Held::Many(Vec::with_capacity(count))
        })
    }

    /// Adds a tag; the capacity holds it.
    pub(super) fn push(&mut self, tag: &'a str, salt: SaltedName) {
        match &mut self.0 {
            Held::Few(few, count) => {
                few[*count] = (tag, salt);
                *count += 1;
            }
            Held::Many(many) => many.push((tag, salt)),
        }
    }
}

impl<'a> Deref for Tags<'a> {
    type Target = [(&'a str, SaltedName)];

    fn deref(&self) -> &[(&'a str, SaltedName)] {
        match &self.0 {
            Held::Few(few, count) => &few[..*count],
            Held::Many(many) => many,
        }
    }
}

impl<'t, 'a> IntoIterator for &'t Tags<'a> {
    type Item = &'t (&'a str, SaltedName);
    type IntoIter = std::slice::Iter<'t, (&'a str, SaltedName)>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
