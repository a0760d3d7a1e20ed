//! Every typed outcome of Lock, Confirm and Cancel with a hundred calls at once, over a network that
//! repeats, delays, reorders and loses them (R51, R58, R61).
//!
//! The checks are written over a [`World`](world::World), and run on the embedded back end and on the
//! distributed one. Each ends by looking at what the calls have done: the redemption, the wallet and
//! the log of operations tell the same story, and it has every effect once. Every choice of the
//! network comes from a seed, which a failure prints.

mod call;
mod cancelled;
mod confirmed;
mod lapsed;
mod locked;
mod world;

/// How many calls race.
const CALLS: usize = 100;

/// Makes a test of every check: each gets a fresh `$world`, which is audited afterwards.
macro_rules! checks {
    ($world:ident; $($area:ident: $($check:ident),+ ;)+) => {
        $(mod $area {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                let world = crate::checkout::racing::world::World::$world().await;
                Box::pin(crate::checkout::racing::$area::$check(&world)).await;
                world.finish().await;
            })+
        })+
    };
}

/// One node that keeps everything itself.
mod embedded {
    checks! {
        embedded;
        cancelled:
            a_hundred_cancels_of_nothing_fence_every_late_lock, a_lock_never_outlives_its_cancel,
            a_cancelled_order_stays_cancelled;
        locked:
            a_hundred_copies_of_a_lock_hold_once, one_of_a_hundred_orders_holds_the_coupon,
            renewals_end_with_the_confirm;
        confirmed:
            a_hundred_confirms_use_the_coupon_once, confirm_or_cancel_and_never_both,
            a_confirmed_order_stays_confirmed;
        lapsed:
            a_lapsed_lock_is_not_confirmed_and_can_be_cancelled,
            a_late_cancel_leaves_the_next_order_alone, a_live_lock_is_confirmed_after_the_expiry,
            a_lock_cancelled_after_the_expiry_leaves_an_expired_coupon;
    }
}

/// Two nodes on the wall's time, either of which any copy of a call may reach.
mod distributed {
    checks! {
        two_nodes;
        cancelled:
            a_hundred_cancels_of_nothing_fence_every_late_lock, a_lock_never_outlives_its_cancel,
            a_cancelled_order_stays_cancelled;
        locked:
            a_hundred_copies_of_a_lock_hold_once, one_of_a_hundred_orders_holds_the_coupon,
            renewals_end_with_the_confirm;
        confirmed:
            a_hundred_confirms_use_the_coupon_once, confirm_or_cancel_and_never_both,
            a_confirmed_order_stays_confirmed;
        lapsed:
            a_lapsed_lock_is_not_confirmed_and_can_be_cancelled,
            a_late_cancel_leaves_the_next_order_alone;
    }
}

/// One node over the same stores on a test clock: what takes longer than a test may.
mod distributed_clock {
    checks! {
        on_a_clock;
        lapsed:
            a_lapsed_lock_is_not_confirmed_and_can_be_cancelled,
            a_late_cancel_leaves_the_next_order_alone, a_live_lock_is_confirmed_after_the_expiry,
            a_lock_cancelled_after_the_expiry_leaves_an_expired_coupon;
    }
}
