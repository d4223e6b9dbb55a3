//! The root a trie will have: for who writes the root down before the change is made.

use super::{Node, Place, StreamHead, StreamTrie, bit, branch_hash, first_difference, leaf_hash};
use crate::Hash;

impl StreamTrie {
    /// The root as it would be with these heads set. No stream is added or changed. Costs what setting them and asking for
    /// the root costs. `changes`: ascending by key, each key once.
    ///
    /// # Panics
    /// If the keys do not ascend.
    pub fn root_with(&mut self, changes: &[(Hash, StreamHead)]) -> Hash {
        assert!(changes.is_sorted_by(|(one, _), (next, _)| one < next), "the keys of changes ascend");
        match (self.root, changes) {
            (None, []) => self.root(),
            (root, changes) => self.merged(root, changes),
        }
    }

    /// Hash of a subtree, if there is one, with these changes in it. Goes no deeper than a key has bits.
    fn merged(&mut self, place: Option<Place>, changes: &[(Hash, StreamHead)]) -> Hash {
        let (Some((first, head)), Some((last, _))) = (changes.first(), changes.last()) else {
            return self.rehash(place.expect("either the trie or the changes have something here"));
        };
        let Some(place) = place else {
            let Some(depth) = first_difference(first, last) else { return leaf_hash(first, head) };
            return self.branched(depth, [None, None], changes);
        };
        let own = *self.some_key(place);
        // The changes ascend, so the first bit in which any of them differs is that of the first one or of the last one.
        let differs = [first, last].into_iter().filter_map(|key| first_difference(&own, key)).min();
        match place.node() {
            Node::Branch(index) if differs.is_none_or(|differs| differs >= self.branches[index].depth) => {
                let children = self.branches[index].children.map(Some);
                self.branched(self.branches[index].depth, children, changes)
            }
            _ => match differs {
                None => leaf_hash(first, head),
                Some(depth) if bit(&own, depth) => self.branched(depth, [None, Some(place)], changes),
                Some(depth) => self.branched(depth, [Some(place), None], changes),
            },
        }
    }

    fn branched(&mut self, depth: u8, children: [Option<Place>; 2], changes: &[(Hash, StreamHead)]) -> Hash {
        let (left, right) = changes.split_at(changes.partition_point(|(key, _)| !bit(key, depth)));
        let left = self.merged(children[0], left);
        let right = self.merged(children[1], right);
        branch_hash(depth, &left, &right)
    }

    /// Key of a stream below a place.
    fn some_key(&self, mut place: Place) -> &Hash {
        loop {
            match place.node() {
                Node::Leaf(index) => return &self.leaves[index].0,
                Node::Branch(index) => place = self.branches[index].children[0],
            }
        }
    }
}
