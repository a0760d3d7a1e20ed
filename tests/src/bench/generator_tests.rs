//! The generator against an echo in this process: every call is counted once, answered and judged.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{net::TcpListener, task::JoinHandle};
use tonic::transport::{Server, server::TcpIncoming};

use super::{
    echo::{EchoCalls, EchoService},
    load::{Budget, Connection, Operation, Target, Verdict, closed, warm_up},
    open::{Schedule, open},
    server::check_load,
    textbook::Textbook,
};

async fn echo() -> (Target, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("bound");
    let service = Server::builder().add_service(EchoService::new(8));
    let serving = tokio::spawn(async move {
        let incoming = TcpIncoming::from(listener);
        service.serve_with_incoming(incoming).await.expect("serves");
    });
    let target = Target::connect(addr, std::process::id()).await.expect("connects");
    (target, serving)
}

/// Passes calls on to the echo and remembers their numbers.
#[derive(Clone)]
struct Remembering {
    calls: EchoCalls,
    seen: Arc<Mutex<Vec<u64>>>,
}

impl Operation for Remembering {
    async fn run(&self, conn: &mut Connection, seq: u64) -> Verdict {
        let verdict = self.calls.run(conn, seq).await;
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seq);
        verdict
    }
}

fn remembering() -> Remembering {
    let calls = EchoCalls::encoded(&[(50, 150), (50, 300)]);
    Remembering { calls, seen: Arc::default() }
}

fn distinct(operation: &Remembering) -> usize {
    let seen = operation.seen.lock().unwrap_or_else(PoisonError::into_inner);
    let distinct: HashSet<u64> = seen.iter().copied().collect();
    assert_eq!(distinct.len(), seen.len(), "a number was used twice");
    distinct.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_loop_makes_exactly_the_calls_of_its_budget() {
    let (target, serving) = echo().await;
    let (operation, next) = (remembering(), Arc::new(AtomicU64::new(0)));
    let load = closed(&target, &operation, &Budget::count(&next, 3_000)).await.expect("runs");
    check_load(&load).expect("every answer has the size asked for");
    assert_eq!((load.ops(), load.done_us.len(), distinct(&operation)), (3_000, 3_000, 3_000));
    assert!(load.rate() > 0.0);
    serving.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warm_up_ends_and_uses_fresh_numbers() {
    let (target, serving) = echo().await;
    let (operation, next) = (remembering(), Arc::new(AtomicU64::new(0)));
    let ms = Duration::from_millis;
    let load = warm_up(&target, &operation, &next, ms(20), ms(60)).await.expect("runs");
    assert_eq!(load.ops() as usize, distinct(&operation));
    assert_eq!(next.load(Ordering::Relaxed), load.ops());
    serving.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_loop_makes_every_scheduled_call_and_counts_those_after_the_warm_up() {
    let (target, serving) = echo().await;
    let (operation, next) = (remembering(), Arc::new(AtomicU64::new(0)));
    let ms = Duration::from_millis;
    let schedule = Schedule { rate: 1_000.0, warm_up: ms(100), length: ms(300) };
    let load = open(&target, &operation, &next, schedule).await.expect("runs");
    assert_eq!((load.ops(), distinct(&operation)), (300, 400));
    assert_eq!(load.elapsed, ms(300));
    serving.abort();
}

#[tokio::test]
async fn an_answer_of_the_wrong_size_ends_the_run_as_a_violation() {
    #[derive(Clone)]
    struct Wrong(EchoCalls);
    impl Operation for Wrong {
        async fn run(&self, conn: &mut Connection, seq: u64) -> Verdict {
            match self.0.run(conn, seq).await {
                Verdict::Done if seq == 7 => Verdict::Violated("seven".to_owned()),
                verdict => verdict,
            }
        }
    }
    let (target, serving) = echo().await;
    let operation = Wrong(EchoCalls::prepared(&[(40, 20)]));
    let budget = Budget::count(&Arc::new(AtomicU64::new(0)), 600);
    let load = closed(&target, &operation, &budget).await.expect("runs");
    let violation = check_load(&load).expect_err("was violated");
    assert_eq!(violation.to_string(), "invariant violated: seven");
    serving.abort();
}

#[tokio::test]
async fn an_unknown_method_is_refused_by_the_echo() {
    let (target, serving) = echo().await;
    let path = http::uri::PathAndQuery::from_static("/coupon.bench.v1.EchoService/Other");
    let refused = target.connection().unary(&path, bytes::Bytes::new()).await;
    assert_eq!(refused.expect_err("no such method").code, tonic::Code::Unimplemented);
    serving.abort();
}

#[tokio::test]
async fn the_textbook_locks_and_confirms_every_order_once() {
    let root = std::env::temp_dir();
    let mut textbook = Textbook::prepare(&root, 5).await.expect("fills");
    let written = textbook.write(Duration::from_secs(60)).await.expect("writes");
    assert!(written.pairs_per_second > 0.0);
    textbook.write(Duration::from_secs(60)).await.err().expect("no coupon is left");
    assert_eq!(textbook.used_coupons().await.expect("counts"), 10);
}
