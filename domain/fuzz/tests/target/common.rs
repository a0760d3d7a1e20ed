//! Inputs that are the same in every run.

use std::{fs, path::Path};

use coupon_domain::ids::mix64;

/// The seed of every pseudo-random input.
const SEED: u64 = 20_260_301;
const LENGTH_MAX: u64 = 700;

/// The committed inputs, by name.
pub(crate) fn corpus() -> impl Iterator<Item = (String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/evaluator");
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, fs::read(path).unwrap())
    })
}

/// Pseudo-random inputs of different lengths, by number.
pub(crate) fn pseudo_random(count: u64) -> impl Iterator<Item = (String, Vec<u8>)> {
    (0..count).map(|number| {
        let mut state = mix64(SEED + number);
        let mut next = move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mix64(state)
        };
        let length = 100 + next() % LENGTH_MAX;
        let data = (0..length).map(|_| next().to_le_bytes()[0]).collect();
        (format!("input {number} of seed {SEED}"), data)
    })
}
