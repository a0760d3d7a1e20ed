//! F15, F16: broken brokers and broken messages.

use std::time::{Duration, Instant};

use coupon_domain::{book::AlarmKind, time::Timestamp};
use coupon_server::{
    alarm::{AlarmQueue, pulsar::PulsarAlarms},
    clock::wall_millis,
    ledger::AlarmRow,
};
use coupon_tests::services::{Options, Services};
use tokio::net::{TcpListener, TcpStream};

use super::{addresses, broker, config, node, receive};
use crate::harness::eventually;

fn now() -> Timestamp {
    Timestamp::from_millis(wall_millis())
}

fn alarm(hop: i64) -> AlarmRow {
    AlarmRow { shard: 0, kind: AlarmKind::LockLapse, minute: now().due_minute(), hop }
}

// A message that is no alarm is told in the log and acknowledged: it holds nothing up and never
// comes again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poison_message_is_acknowledged() {
    let services = addresses();
    let config = config(&services.pulsar_url);
    let queue = node(&config, true);
    let good = alarm(1);
    queue.publish(good, now()).await.expect("accepted");
    let delivery = receive(queue.as_ref()).await;
    let mut producer = broker::producer(&config).await;
    let poison = ["", "not an alarm", r#"{"v":99}"#, r#"{"v":1,"shard":0,"kind":7}"#];
    for text in poison {
        let sent = Box::pin(producer.send_non_blocking(text)).await.expect("sent");
        sent.await.expect("accepted");
    }
    let backlog = async || broker::backlog(&services.pulsar_admin_url, &config).await;
    eventually("only the good one is left", async || (backlog().await == Some(1)).then_some(()))
        .await;
    queue.ack(delivery).await.expect("noted");
    eventually("nothing is left", async || (backlog().await == Some(0)).then_some(())).await;
    queue.close().await;
}

// Without a subscription a broker keeps nothing; the first who publishes makes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_before_any_worker_starts_is_kept() {
    let config = config(&addresses().pulsar_url);
    let api = node(&config, false);
    for hop in 0..3 {
        api.publish(alarm(hop), now()).await.expect("accepted");
    }
    assert_eq!(api.try_receive().await, Ok(None), "an API node receives nothing");
    api.close().await;
    let worker = node(&config, true);
    let mut hops = Vec::new();
    while hops.len() < 3 {
        let delivery = receive(worker.as_ref()).await;
        worker.ack(delivery).await.expect("noted");
        hops.push(delivery.alarm.hop);
    }
    hops.sort_unstable();
    assert_eq!(hops, [0, 1, 2]);
    worker.close().await;
}

// F16: a worker that dies before it acknowledges leaves its deliveries to the others, those that it
// has not looked at among them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_workers_deliveries_come_to_another() {
    let config = config(&addresses().pulsar_url);
    let dying = node(&config, true);
    let mut missing: Vec<_> = (0..20).map(alarm).collect();
    for alarm in &missing {
        dying.publish(*alarm, now()).await.expect("accepted");
    }
    receive(dying.as_ref()).await;
    drop(dying);
    let other = node(&config, true);
    while !missing.is_empty() {
        let delivery = receive(other.as_ref()).await;
        missing.retain(|alarm| *alarm != delivery.alarm);
        other.ack(delivery).await.expect("noted");
    }
    other.close().await;
}

// Room for one delivery only: reading stops and goes on, and what failed is in nobody's way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_inbox_does_not_lose_or_stop_anything() {
    let mut config = config(&addresses().pulsar_url);
    config.receive_queue = 1;
    let queue = node(&config, true);
    let mut missing: Vec<_> = (0..60).map(alarm).collect();
    for alarm in &missing {
        queue.publish(*alarm, now()).await.expect("accepted");
    }
    while !missing.is_empty() {
        let delivery = receive(queue.as_ref()).await;
        missing.retain(|alarm| *alarm != delivery.alarm);
        if delivery.alarm.hop % 20 == 0 && missing.len() > 30 {
            queue.retry(delivery).await;
        } else {
            queue.ack(delivery).await.expect("noted");
        }
    }
    queue.close().await;
}

// A broker that is not there costs time and a plain answer; when it comes, everything works without
// anybody's help.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_comes_late_is_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let mut config = config(&format!("pulsar://127.0.0.1:{port}"));
    config.send_timeout_ms = 500;
    let queue = node(&config, true);
    let began = Instant::now();
    let refused = queue.publish(alarm(0), now()).await.expect_err("nobody is there");
    assert!(began.elapsed() < Duration::from_secs(2), "after {:?}", began.elapsed());
    assert!(refused.0.contains("publishing"), "{refused}");
    let told = queue.health().expect_err("nobody is there");
    assert!(told.0.contains(&config.url) && told.0.contains("alarms are late"), "{told}");
    PulsarAlarms::check(&config).await.expect_err("nobody is there");

    let real = addresses().pulsar_url.replace("pulsar://", "");
    let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port again");
    let forwarding = tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.expect("a connection");
            let real = real.clone();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(real).await.expect("the broker");
                // Ends with whoever closes first.
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    eventually("the queue works", async || queue.health().ok()).await;
    PulsarAlarms::check(&config).await.expect("reachable");
    let again = alarm(7);
    queue.publish(again, now()).await.expect("accepted");
    assert_eq!(receive(queue.as_ref()).await.alarm, again);
    queue.close().await;
    forwarding.abort();
}

// F15: SIGKILL and restart. What was accepted comes, late at worst; what was not is published as
// soon as the broker is back, over the connections that were there before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_broker_costs_delay_and_nothing_else() {
    let services = Services::start(Options::default()).await.expect("services of its own");
    let mut config = config(&services.addresses().pulsar_url);
    config.send_timeout_ms = 1_000;
    let queue = node(&config, true);
    eventually("the queue works", async || queue.health().ok()).await;
    let mut missing: Vec<_> = (0..10).map(alarm).collect();
    let due = now().plus(Duration::from_secs(4));
    for alarm in &missing {
        queue.publish(*alarm, due).await.expect("accepted");
    }
    services.pulsar().kill().await.expect("killed");
    let began = Instant::now();
    let late = alarm(100);
    queue.publish(late, now()).await.expect_err("nobody is there");
    assert!(began.elapsed() < Duration::from_secs(3), "after {:?}", began.elapsed());
    eventually("it is told", async || queue.health().err()).await;
    services.pulsar().restart().await.expect("started again");
    eventually("it is accepted", async || queue.publish(late, now()).await.ok()).await;
    missing.push(late);
    let mut early = Vec::new();
    while !missing.is_empty() {
        let delivery = receive(queue.as_ref()).await;
        missing.retain(|alarm| *alarm != delivery.alarm);
        if delivery.alarm != late && now() < due.minus(Duration::from_secs(1)) {
            early.push(delivery.alarm);
        }
        queue.ack(delivery).await.expect("noted");
    }
    assert_eq!(early, [], "a restart delivers nothing before its time");
    eventually("both ways work", async || queue.health().ok()).await;
    queue.close().await;
}
