//! What real clients begin connections with, cut at every byte and changed at every byte: what is judged is what a
//! server would read, told by a parser that is not ours.

mod heads;
mod hellos;

/// What every byte is changed to: each of its bits flipped, and its neighbours.
fn changes(before: u8) -> impl Iterator<Item = u8> {
    let flipped = (0..8).map(move |bit| before ^ 1 << bit);
    let others =
        [before.wrapping_add(1), before.wrapping_sub(1), 0, 0x0b, b'\r', b'\n', b' ', b':', b',', 0xff];
    flipped.chain(others).filter(move |value| *value != before)
}
