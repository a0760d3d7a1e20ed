//! What may happen to a call, and what is drawn for one.

use std::time::Duration;

use rand::Rng;
use tonic::Code;

/// Chances out of a thousand and limits. The default is a proxy that does nothing but pass on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Chance that a call is sent once more; drawn anew for every further copy.
    pub copy_per_mille: u32,
    /// How often one call is sent at most, the first time included; 0 is read as 1.
    pub copies_max: u32,
    /// Chance of a copy to be sent only after its caller has been answered.
    pub late_per_mille: u32,
    /// How long after the answer such a copy is sent at most.
    pub late_max: Duration,
    /// Chance that a copy is delayed.
    pub delay_per_mille: u32,
    /// The longest delay.
    pub delay_max: Duration,
    /// Chance that a copy is held until others are held with it.
    pub hold_per_mille: u32,
    /// How many are held at most: that many are let go together, in an order that is drawn.
    pub held_max: usize,
    /// How long a copy is held at most, with or without others.
    pub hold_max: Duration,
    /// Chance that the answer is lost: the node has decided, and the caller is told UNAVAILABLE or
    /// UNKNOWN.
    pub lose_per_mille: u32,
    /// Chance that the caller is told so at once, while the call is still on its way.
    pub abandon_per_mille: u32,
}

impl Faults {
    /// A bad day: every fault is frequent, and every wait is a matter of milliseconds, so that calls
    /// made together stay together.
    pub fn rough() -> Self {
        Self {
            copy_per_mille: 400,
            copies_max: 3,
            late_per_mille: 400,
            late_max: Duration::from_millis(40),
            delay_per_mille: 300,
            delay_max: Duration::from_millis(15),
            hold_per_mille: 300,
            held_max: 8,
            hold_max: Duration::from_millis(25),
            lose_per_mille: 150,
            abandon_per_mille: 100,
        }
    }
}

/// What is done with one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The first one is never late.
    pub(super) copies: Vec<Copy>,
    /// Whether the caller hears the last answer instead of the first.
    pub(super) last: bool,
    /// Whether the caller hears anything.
    pub(super) loss: Loss,
    /// What a caller is told who hears nothing.
    pub(super) code: Code,
}

/// One sending of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Copy {
    /// Which of the servers.
    pub(super) server: usize,
    /// Whether it waits for the caller's answer first.
    pub(super) late: bool,
    /// How long it waits before it is held or sent.
    pub(super) delay: Duration,
    /// Whether it is held.
    pub(super) held: bool,
}

/// Whether the caller is given an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    Kept,
    Lost,
    Abandoned,
}

impl Plan {
    /// Draws one for a call that may go to any of `servers`.
    pub(super) fn draw(faults: &Faults, servers: usize, random: &mut impl Rng) -> Self {
        let mut copies = vec![Copy::draw(faults, servers, false, random)];
        while copies.len() < faults.copies_max as usize && hit(faults.copy_per_mille, random) {
            let late = hit(faults.late_per_mille, random);
            copies.push(Copy::draw(faults, servers, late, random));
        }
        let loss = if hit(faults.abandon_per_mille, random) {
            Loss::Abandoned
        } else if hit(faults.lose_per_mille, random) {
            Loss::Lost
        } else {
            Loss::Kept
        };
        let code = if random.random() { Code::Unavailable } else { Code::Unknown };
        Self { copies, last: random.random(), loss, code }
    }
}

impl Copy {
    fn draw(faults: &Faults, servers: usize, late: bool, random: &mut impl Rng) -> Self {
        let delay = if late {
            up_to(faults.late_max, random)
        } else if hit(faults.delay_per_mille, random) {
            up_to(faults.delay_max, random)
        } else {
            Duration::ZERO
        };
        let held = hit(faults.hold_per_mille, random);
        Self { server: random.random_range(0..servers.max(1)), late, delay, held }
    }
}

fn hit(per_mille: u32, random: &mut impl Rng) -> bool {
    random.random_range(0..1_000) < per_mille
}

fn up_to(max: Duration, random: &mut impl Rng) -> Duration {
    max.mul_f64(random.random())
}
