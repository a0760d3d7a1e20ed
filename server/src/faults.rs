//! Planted faults and failpoints, for proving that the tests of broken days catch what they are there
//! to catch. Compiled in by the feature `sabotage` alone, and never into a release build.
//!
//! The environment variable `COUPON_FAULT` chooses one: the name of a fault, or of a failpoint with
//! a number, `abort-after-commit:40`, at whose every so many-th passing the process aborts.

#[cfg(not(debug_assertions))]
compile_error!("the feature `sabotage` plants faults: it must not be built into a release");

use std::{
    collections::HashSet,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use coupon_domain::ids::{TemplateId, UserId};

const VARIABLE: &str = "COUPON_FAULT";
/// How long after the answer an early one is committed.
const LATE: Duration = Duration::from_millis(300);
/// Every so many-th commit is told as if it had not been answered.
const UNANSWERED: u64 = 10;

/// What may be wrong with this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A win is answered once it is admitted and formed into a group; the commit follows later.
    AckBeforeCommit,
    /// "Sold out" is looked at before an earlier win of the same request.
    StockBeforeReplay,
    /// Stock is returned when a commit was not answered, though it may have happened.
    ReturnOnTimeout,
    /// The bucket has nothing to do with the user, and the limit is checked somewhere else first.
    SeparateLimit,
    /// The process aborts when a claim arrives.
    AbortBeforeGate,
    /// The process aborts before a commit.
    AbortBeforeCommit,
    /// The process aborts after a commit, before anybody is told.
    AbortAfterCommit,
}

impl Fault {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "ack-before-commit" => Self::AckBeforeCommit,
            "stock-before-replay" => Self::StockBeforeReplay,
            "return-on-timeout" => Self::ReturnOnTimeout,
            "separate-limit" => Self::SeparateLimit,
            "abort-before-gate" => Self::AbortBeforeGate,
            "abort-before-commit" => Self::AbortBeforeCommit,
            "abort-after-commit" => Self::AbortAfterCommit,
            _ => return None,
        })
    }
}

/// The chosen fault and its number, 1 when none is given.
fn chosen() -> Option<(Fault, u64)> {
    static CHOSEN: OnceLock<Option<(Fault, u64)>> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let text = std::env::var(VARIABLE).ok()?;
        let (name, every) = text.split_once(':').unwrap_or((&text, "1"));
        let chosen = Fault::parse(name).zip(every.parse().ok().filter(|every| *every > 0));
        if chosen.is_none() {
            tracing::error!("{VARIABLE}={text} names no fault: the process ends");
            std::process::abort();
        }
        chosen
    })
}

/// Whether this fault was chosen.
pub(crate) fn is(fault: Fault) -> bool {
    chosen().is_some_and(|(chosen, _)| chosen == fault)
}

/// Aborts at every so many-th passing of the chosen failpoint.
pub(crate) fn pass(point: Fault) {
    static PASSED: AtomicU64 = AtomicU64::new(0);
    if let Some((_, every)) = chosen().filter(|(chosen, _)| *chosen == point)
        && (PASSED.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(every)
    {
        std::process::abort();
    }
}

/// What a claim meets when it arrives; true = it is told sold out at once.
pub(crate) fn arrives(template: TemplateId) -> bool {
    pass(Fault::AbortBeforeGate);
    let sold_out = SOLD_OUT.lock().unwrap_or_else(PoisonError::into_inner);
    is(Fault::StockBeforeReplay) && sold_out.as_ref().is_some_and(|set| set.contains(&template))
}

/// Commits as the chosen fault wants it; `lost` says that the answer did not arrive.
pub(crate) async fn commit<E: Send + 'static>(
    commit: impl Future<Output = Result<(), E>> + Send + 'static,
    lost: impl FnOnce() -> E,
) -> Result<(), E> {
    pass(Fault::AbortBeforeCommit);
    if is(Fault::AckBeforeCommit) {
        drop(tokio::spawn(async move {
            tokio::time::sleep(LATE).await;
            commit.await
        }));
        return Ok(());
    }
    let committed = commit.await;
    pass(Fault::AbortAfterCommit);
    if committed.is_ok() && is(Fault::ReturnOnTimeout) && every_nth_commit() {
        return Err(lost());
    }
    committed
}

fn every_nth_commit() -> bool {
    static COMMITS: AtomicU64 = AtomicU64::new(0);
    (COMMITS.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(UNANSWERED)
}

/// A bucket that has nothing to do with the user's slot, with [`Fault::SeparateLimit`].
pub(crate) fn bucket_of(user: UserId, buckets: u16) -> Option<u16> {
    let number = user.get().unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let bucket = u16::try_from(number % u64::from(buckets.max(1))).unwrap_or(0);
    is(Fault::SeparateLimit).then_some(bucket)
}

static SOLD_OUT: Mutex<Option<HashSet<TemplateId>>> = Mutex::new(None);

/// Remembers that a template was sold out once.
pub(crate) fn note_sold_out(template: TemplateId) {
    let mut sold_out = SOLD_OUT.lock().unwrap_or_else(PoisonError::into_inner);
    sold_out.get_or_insert_default().insert(template);
}
