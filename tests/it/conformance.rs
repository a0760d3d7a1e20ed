//! One conformance suite per port: what every ledger, gate and alarm queue has to keep, written over
//! the traits. A back end joins with one line at the end of this file.

mod alarms;
mod distributed_mysql;
mod embedded;
pub(crate) mod fixture;
mod gate;
mod ledger;
pub(crate) mod mysql;
mod pulsar;
mod redis;
mod shards;

pub(crate) use embedded::sqlite_shaped;

/// Makes a test of every check: each gets a fresh `$world`, which is audited afterwards.
macro_rules! checks {
    ($port:ident, $world:path; $($area:ident: $($check:ident),+ ;)+) => {
        $(mod $area {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                let mut world = $world().await;
                crate::conformance::$port::$area::$check(&mut world).await;
                world.finish().await;
            })+
        })+
    };
}

/// The ledger's suite for the back end that `$world` starts.
macro_rules! ledger_suite {
    ($name:ident, $world:path) => {
        mod $name {
            checks! {
                ledger, $world;
                give:
                    a_win_outlives_the_process, a_request_is_answered_once,
                    a_user_gets_no_more_than_the_limit, claim_numbers_are_dense_up_to_the_limit,
                    pieces_come_all_or_none, duplicates_in_one_call_win_once,
                    a_hundred_calls_with_one_id_win_once, two_requests_of_one_user_share_a_call,
                    neighbours_are_judged_each_by_itself, what_comes_too_late_is_not_begun,
                    a_full_queue_refuses_at_once, a_caller_that_leaves_loses_only_the_answer,
                    every_outcome_is_settled_once;
                stock:
                    the_last_piece_is_found_and_no_more, one_bucket_draws_on_the_others,
                    sold_out_means_fewer_left_than_wanted,
                    a_replay_is_answered_when_sold_out_or_closed, nothing_is_given_once_closed,
                    a_grant_arrives_once, a_raised_total_sells_again;
                redeem:
                    a_lock_is_confirmed_and_restored, a_lock_is_cancelled,
                    one_of_a_hundred_orders_holds_the_coupon, a_set_is_locked_wholly_or_not_at_all,
                    commands_of_a_group_see_each_other, a_lapsed_lock_makes_way,
                    an_empty_rollback_fences_a_late_lock, a_request_id_belongs_to_its_verb,
                    a_reissued_coupon_takes_no_stock, a_voided_coupon_stays_away,
                    a_late_redemption_is_not_begun, a_full_redemption_queue_refuses_at_once;
                refund:
                    parts_add_up_to_what_was_paid, twenty_refunds_share_out_the_pieces,
                    a_kept_discount_is_clawed_back;
                force:
                    an_overdue_order_is_confirmed_by_force, a_lapsed_order_is_confirmed_by_force,
                    an_order_is_cancelled_by_force, twenty_operators_have_one_effect,
                    what_expired_meanwhile_is_used;
                time:
                    whatever_falls_due_has_its_alarm, a_restored_coupon_has_its_alarm_again,
                    a_hop_counts_once, expiry_goes_in_bounded_chunks,
                    expiry_leaves_what_is_not_due, an_alarm_stays_while_a_coupon_is_live,
                    locks_lapse_once;
                reads:
                    wallets_are_paged_newest_first, live_coupons_are_those_that_could_be_used,
                    holdings_cover_every_holder, counts_equal_a_recount,
                    purging_keeps_locks_and_what_is_young, overdue_locks_are_listed_oldest_first,
                    an_audience_is_named_once;
            }
        }
    };
}

/// The gate's suite for the back end that `$world` starts.
macro_rules! gate_suite {
    ($name:ident, $world:path) => {
        mod $name {
            checks! {
                gate, $world;
                admission:
                    nothing_is_known_before_the_load, idempotency_then_limit_then_stock,
                    a_unit_is_set_aside_and_given_back, the_last_unit_is_found_in_any_bucket,
                    no_more_is_admitted_than_there_is, a_claim_under_way_is_never_a_limit,
                    a_forgotten_template_is_loaded_anew;
                settlement:
                    a_win_is_replayed, sold_out_is_said_only_when_proven,
                    a_raised_total_ends_sold_out, an_unknown_outcome_is_left_alone,
                    an_unknown_outcome_without_a_unit_is_never_sold_out,
                    a_resend_settles_an_unknown_outcome, a_definite_loss_returns_the_unit,
                    wins_past_the_gate_use_up_its_stock, a_large_issue_proves_nothing_for_one;
                loading:
                    a_load_is_the_ledger_after_a_restart, a_second_load_changes_nothing,
                    many_holders_are_loaded, outcomes_during_a_load_are_kept;
            }
        }
    };
}

/// The suite of every alarm queue, for the back end that `$world` starts.
macro_rules! alarm_suite {
    ($name:ident, $world:path) => {
        mod $name {
            checks! {
                alarms, $world;
                promises:
                    a_message_waits_for_its_time, everything_comes, a_waiter_hears_of_a_message,
                    a_crash_before_the_ack_repeats_the_message,
                    a_failed_delivery_comes_again_after_a_pause, a_long_way_is_travelled_in_hops,
                    copies_change_nothing, the_sweeper_finds_what_was_lost,
                    what_falls_due_soon_is_published_once_more,
                    a_lock_lapses_when_its_time_is_over;
            }
        }
    };
}

/// What is asked beyond that of an alarm queue whose clock is moved by hand.
macro_rules! stepped_alarm_suite {
    ($name:ident, $world:path) => {
        mod $name {
            checks! {
                alarms, $world;
                queue:
                    nothing_comes_before_its_time, everything_comes_in_due_order,
                    the_next_due_time_is_known, a_waiter_is_woken,
                    what_was_not_acknowledged_comes_again;
                journey:
                    thirty_days_take_360_messages, an_early_delivery_is_a_hop,
                    stale_copies_change_nothing, a_lost_message_is_found_by_the_sweeper,
                    a_lock_lapses_when_its_alarm_rings, a_closed_alarm_can_be_wanted_again;
            }
        }
    };
}

ledger_suite!(ledger_sqlite, crate::conformance::embedded::ledger);
ledger_suite!(ledger_sqlite_two_shards, crate::conformance::embedded::ledger_on_two_shards);
ledger_suite!(ledger_sqlite_in_small_groups, crate::conformance::embedded::ledger_in_small_groups);
ledger_suite!(distributed_ledger_mysql, crate::conformance::mysql::ledger);
ledger_suite!(distributed_ledger_mysql_two_shards, crate::conformance::mysql::ledger_on_two_shards);
ledger_suite!(
    distributed_ledger_mysql_in_small_groups,
    crate::conformance::mysql::ledger_in_small_groups
);
gate_suite!(gate_embedded, crate::conformance::embedded::gate);
gate_suite!(distributed_gate_redis, crate::conformance::redis::gate);
stepped_alarm_suite!(alarms_embedded_stepped, crate::conformance::embedded::alarms);
alarm_suite!(alarms_embedded, crate::conformance::alarms::running::embedded);
alarm_suite!(distributed_alarms_pulsar, crate::conformance::pulsar::alarms);
