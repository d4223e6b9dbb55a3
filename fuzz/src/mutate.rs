//! Mutations of an input by number: the same number, the same mutation, on every machine.

use graven_sim::dice::Dice;

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
    for _ in 0..=dice.index(4) {
        let at = dice.index(input.len() + 1);
        let upto = at + dice.index((input.len() - at).min(64) + 1);
        match dice.index(9) {
            0 if at < input.len() => input[at] ^= 1 << dice.index(8),
            1 if at < input.len() => input[at] = dice.number() as u8,
            2 => input.truncate(at),
            3 => drop(input.drain(at..upto)),
            4 => {
                let copy = input[at..upto].to_vec();
                let to = dice.index(input.len() + 1);
                input.splice(to..to, copy);
            }
            5 => {
                let from = dice.index(other.len() + 1);
                let to = from + dice.index((other.len() - from).min(256) + 1);
                input.splice(at..upto, other[from..to].iter().copied());
            }
            6 => {
                let piece = *dice.pick(&PIECES);
                input.splice(at..at, piece.iter().copied());
            }
            7 => {
                let edge = dice.pick(&EDGES).to_le_bytes();
                let width = *dice.pick(&[1, 2, 4, 8]);
                let end = (at + width).min(input.len());
                input[at..end].copy_from_slice(&edge[..end - at]);
            }
            _ => {
                let edge = dice.pick(&EDGES).to_be_bytes();
                let width = *dice.pick(&[1, 2, 4, 8]);
                let end = (at + width).min(input.len());
                input[at..end].copy_from_slice(&edge[8 - width..8 - width + end - at]);
            }
        }
    }
}
