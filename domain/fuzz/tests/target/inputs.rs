//! The target on fixed inputs: the committed corpus, and as many pseudo-random ones as a test run
//! bears. They must get far enough for the properties to mean something.

use coupon_fuzz::{Case, Seen, Sound, check};

use crate::common::{corpus, pseudo_random};

/// How many of the inputs got where.
#[derive(Debug, Default)]
struct Reached {
    stacked: usize,
    all_tried: usize,
    unproven: usize,
    floored: usize,
    refunded: usize,
    clawed_back: usize,
    hostile: usize,
}

impl Reached {
    fn add(&mut self, seen: Seen) {
        self.stacked += usize::from(seen.stacked > 2);
        self.all_tried += usize::from(seen.all_tried);
        self.unproven += usize::from(seen.unproven);
        self.floored += usize::from(seen.floored);
        self.refunded += usize::from(seen.refunds > 2);
        self.clawed_back += usize::from(seen.clawed_back);
        self.hostile += usize::from(seen.hostile);
    }

    fn least(&self) -> usize {
        let counts = [
            self.stacked,
            self.all_tried,
            self.unproven,
            self.floored,
            self.refunded,
            self.clawed_back,
            self.hostile,
        ];
        counts.into_iter().min().unwrap()
    }
}

/// Every property holds on each; says where they got.
fn all_hold(inputs: impl Iterator<Item = (String, Vec<u8>)>) -> Reached {
    let mut reached = Reached::default();
    for (name, data) in inputs {
        let case = Case::decode(&data).unwrap();
        match check(&case, &Sound) {
            Ok(seen) => reached.add(seen),
            Err(violation) => panic!("{name}: {violation}"),
        }
    }
    reached
}

// R62: whatever comes.
#[test]
fn every_property_holds_on_pseudo_random_inputs() {
    let reached = all_hold(pseudo_random(2_000));
    assert!(reached.least() >= 20, "too few got anywhere: {reached:?}");
}

#[test]
fn every_property_holds_on_the_corpus() {
    let reached = all_hold(corpus());
    assert!(reached.least() >= 2, "too few got anywhere: {reached:?}");
}

#[test]
fn the_corpus_stays_small() {
    let sizes: Vec<usize> = corpus().map(|(_, data)| data.len()).collect();
    assert!(sizes.len() <= 30 && sizes.iter().all(|size| *size < 1_024), "{sizes:?}");
}

#[test]
fn no_bytes_are_a_case_too() {
    coupon_fuzz::run(&[]);
}
