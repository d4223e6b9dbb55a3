use super::*;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;

fn hex(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn frontier_of(leaves: &[Hash]) -> Frontier {
    let mut frontier = Frontier::default();
    for leaf in leaves {
        frontier.push(*leaf);
    }
    frontier
}

#[test]
fn empty_tree_and_empty_leaf_hash_as_in_rfc_6962() {
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(hex(&empty_root()), empty);
    assert_eq!(hex(&Frontier::default().root()), empty);
    assert_eq!(hex(&root_of(&[])), empty);
    let leaf = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
    assert_eq!(hex(&leaf_hash(b"")), leaf);
}

/// The eight leaves every Certificate Transparency implementation is tried with, and the roots known for them.
#[test]
fn the_eight_leaf_tree_has_the_known_roots() {
    let leaves: [&[u8]; 8] = [
        &[],
        &[0x00],
        &[0x10],
        &[0x20, 0x21],
        &[0x30, 0x31],
        &[0x40, 0x41, 0x42, 0x43],
        &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
        &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
    ];
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut frontier = Frontier::default();
    let mut hashes = Vec::new();
    for (leaf, root) in leaves.iter().zip(roots) {
        frontier.push(leaf_hash(leaf));
        hashes.push(leaf_hash(leaf));
        assert_eq!(hex(&frontier.root()), root);
        assert_eq!(hex(&root_of(&hashes)), root);
    }
}

#[test]
fn roots_agree_with_another_implementation_at_every_size() {
    let mut other = MemoryBackedTree::<sha2::Sha256, Vec<u8>>::new();
    let mut frontier = Frontier::default();
    let mut hashes = Vec::new();
    for number in 0..600u32 {
        let leaf = number.to_be_bytes().repeat(number as usize % 5);
        hashes.push(leaf_hash(&leaf));
        frontier.push(leaf_hash(&leaf));
        other.push(leaf);
        let wanted: Hash = other.root().as_bytes().as_slice().try_into().unwrap();
        assert_eq!(frontier.root(), wanted, "size {}", number + 1);
        assert_eq!(root_of(&hashes), wanted, "size {}", number + 1);
    }
}

#[test]
fn a_push_that_completes_a_tile_returns_its_root() {
    let leaves: Vec<Hash> =
        (0..3 * TILE_WIDTH as u32 + 7).map(|leaf| leaf_hash(&leaf.to_be_bytes())).collect();
    let mut frontier = Frontier::default();
    for (index, leaf) in leaves.iter().enumerate() {
        let wanted = (index + 1).is_multiple_of(TILE_WIDTH);
        let tile = frontier.push_tiled(*leaf);
        assert_eq!(tile, wanted.then(|| root_of(&leaves[index + 1 - TILE_WIDTH..=index])), "leaf {index}");
    }
}

#[test]
fn a_frontier_with_the_wrong_number_of_peaks_is_refused() {
    assert_eq!(Frontier::from_parts(3, vec![[0; 32]]), None);
    assert_eq!(Frontier::from_parts(0, vec![[0; 32]]), None);
    assert_eq!(Frontier::from_parts(0, Vec::new()), Some(Frontier::default()));
}

proptest! {
    #[test]
    fn a_frontier_restored_from_its_parts_goes_on_alike(count in 0..700usize, more in 0..300usize, seed: u32) {
        let leaf = |index: usize| leaf_hash(&(index as u32 ^ seed).to_be_bytes());
        let mut frontier = frontier_of(&(0..count).map(leaf).collect::<Vec<_>>());
        let mut restored = Frontier::from_parts(frontier.size(), frontier.peaks().to_vec()).unwrap();
        prop_assert_eq!(&restored, &frontier);
        for index in count..count + more {
            frontier.push(leaf(index));
            restored.push(leaf(index));
        }
        prop_assert_eq!(restored.root(), frontier.root());
        prop_assert_eq!(restored, frontier);
    }
}
