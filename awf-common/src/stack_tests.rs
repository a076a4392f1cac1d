//! Stacks as `create_elf_tables` builds them, and words that are none.

use crate::stack::{PAIRS, Walk, args, environment};

/// Address of the first word.
const SP: u64 = 0x7ffc_0000_1000;
const PATH: u64 = 0x7ffc_0000_9fe0;

/// The words of a stack, with 20 entries before the one that is looked for.
fn stack(argc: usize, envc: usize) -> Vec<u64> {
    let mut words = vec![argc as u64];
    words.extend((0..argc as u64).map(|n| SP + 0x6000 + n));
    words.push(0);
    words.extend((0..envc as u64).map(|n| SP + 0x7000 + n));
    words.push(0);
    // Values may be anything, also what looks like a key; AT_SECURE's is 0.
    (1..=20).for_each(|key| words.extend([key, if key % 2 == 0 { 0 } else { 31 }]));
    words.extend([31, PATH, 15, 1, 0, 0]);
    // What is behind is the command's.
    words.extend([31, 0x4141_4141]);
    words
}

fn walk(words: &[u64]) -> (Walk, usize) {
    let mut walk = Walk::from(environment(SP, words[0]).unwrap());
    for n in 1..=PAIRS as usize {
        let at = usize::try_from((walk.at - SP) / 8).unwrap();
        if walk.step([words[at], words[at + 1]]) {
            return (walk, n);
        }
    }
    (walk, PAIRS as usize)
}

#[test]
fn the_path_is_found_behind_any_environment() {
    for argc in [1, 2, 3, 500] {
        for envc in [0, 1, 2, 3, 30_000] {
            assert_eq!(walk(&stack(argc, envc)).0.path, PATH, "{argc} arguments, {envc} of environment");
        }
    }
}

#[test]
fn a_walk_ends_without_a_path_where_there_is_none() {
    let mut words = stack(2, 3);
    let at = words.iter().position(|word| *word == PATH).unwrap() - 1;
    words[at] = 32;
    let (end, steps) = walk(&words);
    assert_eq!((end.path, steps), (0, 2 + 23));
    assert_eq!(walk(&stack(1, 100_000)).0.path, 0, "too far");
}

#[test]
fn what_is_no_number_of_arguments_is_not_read() {
    assert_eq!(environment(SP, 0), None);
    // The first two words of a program of 32 bits: one argument, and where it is.
    assert_eq!(environment(0xffb0_1000, 0xffb0_2345_0000_0001), None);
    assert_eq!(environment(u64::MAX, 1), Some(u64::MAX.wrapping_add(24)));
}

#[test]
fn arguments_end_where_the_environment_begins() {
    assert_eq!(args(SP, SP + 100, PATH), 100);
    assert_eq!(args(SP, 0, SP + 7), 7);
    for nonsense in
        [args(SP, SP - 1, PATH), args(SP, SP, PATH), args(0, SP, PATH), args(1, SP, PATH), args(SP, 0, 0)]
    {
        assert_eq!(nonsense, 0);
    }
}
