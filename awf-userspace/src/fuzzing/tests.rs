//! The seeds and what fuzzers found, tried once each.

use std::{collections::BTreeSet, fs, path::Path};

use super::PROPERTIES;

/// The inputs below a directory of `fuzz/`, with the property each is for.
fn inputs(dir: &str) -> Vec<(String, String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(dir);
    let list = |dir: &Path| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    let of = |target: &Path| {
        let inputs = list(target).into_iter();
        inputs.map(|path| (name(target), name(&path), fs::read(&path).unwrap())).collect::<Vec<_>>()
    };
    list(&root).iter().filter(|path| path.is_dir()).flat_map(|target| of(target)).collect()
}

#[test]
fn every_property_holds_of_the_seeds_and_of_what_was_found() {
    let mut seeded = BTreeSet::new();
    for (target, name, bytes) in [inputs("seeds"), inputs("findings")].concat() {
        let property =
            super::property(&target).unwrap_or_else(|| panic!("{target}/{name} is for no property"));
        let held = std::panic::catch_unwind(|| property(&bytes));
        assert!(held.is_ok(), "{target} does not hold of {name}: {}", bytes.escape_ascii());
        seeded.insert(target);
    }
    let unseeded: Vec<_> = PROPERTIES.iter().filter(|(name, _)| !seeded.contains(*name)).collect();
    assert!(unseeded.is_empty(), "no seeds: {unseeded:?}");
}
