//! Names and schedules.

use rand::SeedableRng as _;

use super::*;

#[test]
fn faults_are_read_by_their_names() {
    for fault in Fault::ALL {
        assert_eq!(fault.to_string().to_lowercase().parse(), Ok(fault));
    }
    let error = "F99".parse::<Fault>().unwrap_err();
    assert!(error.contains("F1,F2,F3"), "{error}");
}

#[test]
fn a_seed_decides_the_order_and_every_fault_comes_once() {
    let order = |seed| schedule(&Fault::ALL, &mut StdRng::seed_from_u64(seed));
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
    let mut sorted = order(1);
    sorted.sort_unstable();
    assert_eq!(sorted, Fault::ALL);
}
