//! The open loop: calls on a fixed schedule, however many are in flight. A latency counts from the
//! instant at which its call was due, so that a stall is seen by every call that it delays.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
};

use super::{
    cpu,
    load::{Connection, Load, Operation, Target, Verdict},
};

/// How an open loop runs.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Calls per second over all connections.
    pub rate: f64,
    /// Calls due in this time are made but not counted.
    pub warm_up: Duration,
    /// Calls due in the time after it are counted.
    pub length: Duration,
}

/// A call that is due.
struct Due {
    seq: u64,
    at: Instant,
    counted: bool,
}

/// Runs operations on a fixed schedule. `elapsed` is the length of what is counted, and `cpu` that
/// part of the CPU time.
pub async fn open<O: Operation>(
    target: &Target,
    operation: &O,
    next: &Arc<AtomicU64>,
    schedule: Schedule,
) -> anyhow::Result<Load> {
    let cpu_before = cpu::cpu_time(target.pid)?;
    let mut lanes = Vec::new();
    let mut tasks = JoinSet::new();
    for conn in target.connections() {
        let (lane, dues) = unbounded_channel();
        lanes.push(lane);
        tasks.spawn(serve_lane(conn.clone(), operation.clone(), dues));
    }
    let next = Arc::clone(next);
    // A thread of its own: the runtime's timer ticks in milliseconds, which is longer than most of
    // the latencies to be measured.
    let pacer = thread::spawn(move || pace(&lanes, &next, schedule));
    let mut total = Load::default();
    while let Some(load) = tasks.join_next().await {
        total.merge(load?);
    }
    anyhow::ensure!(pacer.join().is_ok(), "the generator's pacer has failed");
    let used = cpu::cpu_time(target.pid)?.saturating_sub(cpu_before);
    let whole = schedule.warm_up + schedule.length;
    total.cpu = used.mul_f64(schedule.length.as_secs_f64() / whole.as_secs_f64());
    total.elapsed = schedule.length;
    Ok(total)
}

/// Hands every call to its connection when it is due; what is late is handed over at once.
fn pace(lanes: &[UnboundedSender<Due>], next: &AtomicU64, schedule: Schedule) {
    let start = Instant::now();
    let total = (schedule.warm_up + schedule.length).as_secs_f64() * schedule.rate;
    for (index, lane) in (0..total as u64).zip(lanes.iter().cycle()) {
        let offset = Duration::from_secs_f64(index as f64 / schedule.rate);
        let at = start + offset;
        let wait = at.saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            thread::sleep(wait);
        }
        let seq = next.fetch_add(1, Ordering::Relaxed);
        let due = Due { seq, at, counted: offset >= schedule.warm_up };
        if lane.send(due).is_err() {
            return;
        }
    }
}

/// Starts the calls of one connection, each in a task of its own.
async fn serve_lane<O: Operation>(
    conn: Connection,
    operation: O,
    mut dues: UnboundedReceiver<Due>,
) -> Load {
    let shared = Arc::new(Mutex::new(Load::default()));
    let mut calls = JoinSet::new();
    while let Some(due) = dues.recv().await {
        let (mut conn, operation, shared) = (conn.clone(), operation.clone(), Arc::clone(&shared));
        calls.spawn(async move {
            let verdict = operation.run(&mut conn, due.seq).await;
            let latency = due.at.elapsed();
            let mut load = shared.lock().unwrap_or_else(PoisonError::into_inner);
            match verdict {
                // A coupon won during the warm-up is a coupon all the same.
                Verdict::Won(coupon) if !due.counted => load.won.push(coupon),
                Verdict::Done | Verdict::Refused if !due.counted => {}
                verdict => {
                    load.note(due.seq, verdict, latency);
                }
            }
        });
        // Keeps the set as small as what is in flight.
        while calls.try_join_next().is_some() {}
    }
    while calls.join_next().await.is_some() {}
    let mut load = shared.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut *load)
}
