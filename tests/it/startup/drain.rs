//! SIGTERM: health says so first, calls in flight are answered, the exit code is 0 (R24, R65).

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use coupon_client::{
    ClientConfig, CouponClient,
    tonic::{Code, transport::Endpoint},
    v1,
};
use coupon_tests::process::{ServerOptions, ServerProcess};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::start;
use crate::harness::{
    connect,
    given::{claim, rules, template_of},
    programs::server,
};

/// A template that is claimable at the wall clock's time.
async fn publish(client: &CouponClient, total: i64) -> i64 {
    let rules = v1::TemplateRules { use_window: crate::harness::given::after_claim(30), ..rules() };
    let template = v1::Template {
        claim_until: Some(crate::harness::given::instant(4_102_444_800_000)),
        claim_from: Some(crate::harness::given::instant(0)),
        ..template_of(total, rules)
    };
    let create = v1::CreateTemplateRequest { template: Some(template), ..Default::default() };
    let created = client.create_template(create).await.expect("a draft").template;
    let template_id = created.expect("the draft").template_id;
    let publish = v1::PublishTemplateRequest { template_id, ..Default::default() };
    client.publish_template(publish).await.expect("published");
    template_id
}

// R24, R65: calls in flight are answered, nothing that was acknowledged is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_in_flight_are_answered_before_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server_process = start(folder.path()).await;
    let client = connect(server_process.endpoint()).await;
    let id = publish(&client, 1_000_000).await;
    drop(client);
    let next = Arc::new(AtomicI64::new(1));
    let acknowledged = Arc::new(AtomicI64::new(0));
    let endpoint = server_process.endpoint();
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let (next, acknowledged) = (Arc::clone(&next), Arc::clone(&acknowledged));
            let config = ClientConfig {
                channels: 1,
                max_attempts: 1,
                ..ClientConfig::new(endpoint.clone())
            };
            tokio::spawn(async move {
                let client = CouponClient::connect(config).await.expect("connected");
                let mut won = Vec::new();
                loop {
                    let user = next.fetch_add(1, Ordering::Relaxed);
                    match client.claim(claim(user, id, "r")).await {
                        Ok(answer) => {
                            acknowledged.fetch_add(1, Ordering::Relaxed);
                            won.push((user, answer.coupon.expect("the coupon").coupon_id));
                        }
                        Err(error) => return (won, error),
                    }
                }
            })
        })
        .collect();
    crate::harness::eventually("claims are under way", async || {
        (acknowledged.load(Ordering::Relaxed) > 100).then_some(())
    })
    .await;
    server_process.terminate().await.expect("told to stop");
    let status = server_process.wait().await.expect("it ends");
    assert_eq!(status.code(), Some(0), "{}", server_process.log());
    let mut won = Vec::new();
    for caller in callers {
        let (of_caller, error) = caller.await.expect("no panic");
        won.extend(of_caller);
        // Refused at the door, or the connection was closed before the call was on it, which the
        // transport tells either way: never an answer of the server that leaves the outcome open.
        let closed = [Code::Unavailable, Code::Cancelled].contains(&error.code());
        assert!(closed && error.reason().is_none(), "{error}");
    }
    let server_process = start(folder.path()).await;
    let client = connect(server_process.endpoint()).await;
    let count = won.len();
    for (user_id, coupon_id) in won {
        let request = v1::GetCouponRequest { user_id, coupon_id };
        client.get_coupon(request).await.expect("what was acknowledged is there");
    }
    let stats = client.get_template_stats(v1::GetTemplateStatsRequest { template_id: id }).await;
    let issued = stats.expect("counts").issued_count;
    assert_eq!(issued, i64::try_from(count).expect("small"), "every win was acknowledged");
    drop(client);
    server_process.stop().await.expect("it stops");
    let audit = server(&["audit", "--data-dir", super::text(folder.path())]).await;
    assert_eq!(audit.code, Some(0), "{audit:?}");
}

// R24: health says NOT_SERVING while calls are still answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_turns_before_the_door_is_closed() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = ServerOptions {
        args: ["--set", "server.drain_notice_ms=3000"].map(str::to_owned).to_vec(),
        ..ServerOptions::new(folder.path())
    };
    let mut server = ServerProcess::start(options).await.expect("started");
    let endpoint = Endpoint::from_shared(server.endpoint()).expect("an address");
    let mut health = HealthClient::new(endpoint.connect().await.expect("connected"));
    let mut watch = health
        .watch(HealthCheckRequest { service: String::new() })
        .await
        .expect("watching")
        .into_inner();
    let status = async |watch: &mut coupon_client::tonic::Streaming<_>| {
        let seen: tonic_health::pb::HealthCheckResponse =
            watch.message().await.expect("a message").expect("a status");
        seen.status()
    };
    assert_eq!(status(&mut watch).await, ServingStatus::Serving);
    let client = connect(server.endpoint()).await;
    let id = publish(&client, 10).await;
    server.terminate().await.expect("told to stop");
    assert_eq!(status(&mut watch).await, ServingStatus::NotServing);
    client.claim(claim(1, id, "r")).await.expect("still answered");
    drop((watch, health, client));
    let status = server.wait().await.expect("it ends");
    assert_eq!(status.code(), Some(0), "{}", server.log());
}
