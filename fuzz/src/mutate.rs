//! Mutations of an input by number: the same number, the same mutation, on every machine.

/// A small generator (SplitMix64). Good enough to choose mutations, and it needs no crate.
pub struct Dice(u64);

impl Dice {
    /// The generator with this number.
    #[must_use]
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// The next 64 bits.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `bound`; 0 if the bound is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.roll() % bound as u64) as usize }
    }
}

/// Lengths and counts that break things.
const EDGES: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    i32::MAX as u64,
    u32::MAX as u64,
    i64::MAX as u64,
    u64::MAX - 1,
    u64::MAX,
];

/// Pieces of the formats that are decoded here: put in where they do not belong, they reach deep branches.
const PIECES: [&[u8]; 16] = [
    b"GFR1",
    b"GRV1",
    b"GRVNSEG1",
    b"\xff\xff\xff\xff",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\0",
    b"\"",
    b"\\u0000",
    b"{",
    b"[[",
    b"null",
    b"-1",
    b"1e999",
    b"\"data_base64\":\"=\"",
    b",\"id\":\"\"",
];

/// Changes `input` one to four times; `other` is another input to take pieces from.
pub fn mutate(dice: &mut Dice, input: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=dice.below(4) {
        let at = dice.below(input.len() + 1);
        let upto = at + dice.below((input.len() - at).min(64) + 1);
        match dice.below(9) {
            0 if at < input.len() => input[at] ^= 1 << dice.below(8),
            1 if at < input.len() => input[at] = dice.roll() as u8,
            2 => input.truncate(at),
            3 => drop(input.drain(at..upto)),
            4 => {
                let copy = input[at..upto].to_vec();
                let to = dice.below(input.len() + 1);
                input.splice(to..to, copy);
            }
            5 => {
                let from = dice.below(other.len() + 1);
                let to = from + dice.below((other.len() - from).min(256) + 1);
                input.splice(at..upto, other[from..to].iter().copied());
            }
            6 => {
                let piece = PIECES[dice.below(PIECES.len())];
                input.splice(at..at, piece.iter().copied());
            }
            7 => {
                let edge = EDGES[dice.below(EDGES.len())].to_le_bytes();
                let width = [1, 2, 4, 8][dice.below(4)];
                let end = (at + width).min(input.len());
                input[at..end].copy_from_slice(&edge[..end - at]);
            }
            _ => {
                let edge = EDGES[dice.below(EDGES.len())].to_be_bytes();
                let width = [1, 2, 4, 8][dice.below(4)];
                let end = (at + width).min(input.len());
                input[at..end].copy_from_slice(&edge[8 - width..8 - width + end - at]);
            }
        }
    }
}
