//! A full disk: UNAVAILABLE in plain words, nothing half written, and back to work when there is
//! room again (R62, R65).

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use coupon_client::{ClientConfig, ClientError, CouponClient, tonic::Code, v1};
use coupon_tests::process::{ServerOptions, ServerProcess};
use tempfile::TempDir;
use v1::{CouponStatus, ErrorReason};

use super::text;
use crate::harness::{
    connect,
    given::{claim, lock, template},
    programs::server,
};

/// Room for a database and a few hundred claims.
const SIZE: &str = "size=4m";
/// What is left when the claims begin, in bytes.
const ROOM: u64 = 400_000;
/// Claims that more than fill it.
const CLAIMS_MAX: i64 = 2_000;

/// A small file system of its own, gone when dropped.
struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// `None` where a test may not mount.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", SIZE, "coupon-test"])
            .arg(folder.path())
            .output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self { folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    /// Takes all the room there is but so many bytes.
    fn fill(&self, but: u64) {
        let mut filler = File::create(self.filler()).expect("a file");
        for size in [65_536, 4_096, 1] {
            while filler.write_all(&vec![0; size]).is_ok() {}
        }
        let size = filler.metadata().expect("its size").len();
        filler.set_len(size - but).expect("cut");
    }

    fn free(&self) {
        std::fs::remove_file(self.filler()).expect("removed");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, so that a server that is still ending does not hold it.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

fn assert_full(error: &ClientError) {
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    assert_eq!(error.reason(), Some(ErrorReason::BackendUnavailable), "{error}");
    assert!(error.retry_after().is_some(), "{error}");
    assert!(error.to_string().contains("the disk is full"), "{error}");
}

/// Claims until the disk is full; answers who won what, and who was refused first. `None` when it
/// does not fill.
async fn claim_until_full(client: &CouponClient, id: i64) -> Option<(BTreeMap<i64, i64>, i64)> {
    let mut won = BTreeMap::new();
    for user in 1..CLAIMS_MAX {
        match client.claim(claim(user, id, "r")).await {
            Ok(answer) => won.insert(user, answer.coupon.expect("the coupon").coupon_id),
            Err(error) => {
                assert_full(&error);
                return Some((won, user));
            }
        };
    }
    None
}

// R62, R65: nothing is lost, nothing is half there, and it goes on by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_and_survived() {
    let Some(disk) = SmallDisk::mount() else {
        println!("skipped: this user may not mount a small file system");
        return;
    };
    let data = disk.path().join("data");
    let options = ServerOptions {
        test_clock: Some("2026-01-01T00:00:00Z".to_owned()),
        ..ServerOptions::new(&data)
    };
    let process = ServerProcess::start(options.clone()).await.expect("started");
    let config = ClientConfig { max_attempts: 1, ..ClientConfig::new(process.endpoint()) };
    let client = CouponClient::connect(config).await.expect("connected");
    let create =
        v1::CreateTemplateRequest { template: Some(template(100_000)), ..Default::default() };
    let created = client.create_template(create).await.expect("a draft").template;
    let template_id = created.expect("the draft").template_id;
    let publish = v1::PublishTemplateRequest { template_id, ..Default::default() };
    client.publish_template(publish).await.expect("published");
    let first = client.claim(claim(CLAIMS_MAX, template_id, "r")).await.expect("a win");
    let first = first.coupon.expect("the coupon").coupon_id;

    disk.fill(ROOM);
    let full = claim_until_full(&client, template_id).await;
    let (won, refused) = full.unwrap_or_else(|| {
        panic!("{CLAIMS_MAX} claims are won on a full disk; the log ends:\n{}", process.log())
    });
    assert!(!won.is_empty(), "there was room for some");
    for user in refused..refused + 20 {
        let error = client.claim(claim(user, template_id, "r")).await.expect_err("full");
        assert_full(&error);
        let wallet = v1::ListCouponsRequest { user_id: user, ..Default::default() };
        let held = client.list_coupons(wallet).await.expect("reads go on").coupons;
        assert!(held.is_empty(), "user {user} was refused");
    }
    let error = client.lock(lock(CLAIMS_MAX, "o", "try", &[first])).await.expect_err("full");
    assert_full(&error);
    let stats = v1::GetTemplateStatsRequest { template_id };
    let issued = client.get_template_stats(stats).await.expect("counts").issued_count;
    assert_eq!(issued, i64::try_from(won.len()).expect("small") + 1);

    disk.free();
    let patient = connect(process.endpoint()).await;
    for user in refused..refused + 20 {
        let settled = patient.claim(claim(user, template_id, "r")).await.expect("a win");
        assert!(!settled.replayed, "user {user} had won nothing");
    }
    patient.lock(lock(CLAIMS_MAX, "o", "try", &[first])).await.expect("locked");
    let issued = client.get_template_stats(stats).await.expect("counts").issued_count;
    assert_eq!(issued, i64::try_from(won.len()).expect("small") + 21);
    drop((client, patient));
    process.stop().await.expect("it stops");

    let audit = server(&["audit", "--data-dir", text(&data)]).await;
    assert_eq!(audit.code, Some(0), "{audit:?}");
    let process = ServerProcess::start(options).await.expect("started again");
    let client = connect(process.endpoint()).await;
    for (user_id, coupon_id) in won {
        let request = v1::GetCouponRequest { user_id, coupon_id };
        let found = client.get_coupon(request).await.expect("the coupon").coupon;
        assert_eq!(found.expect("the coupon").status(), CouponStatus::Available);
    }
    drop(client);
    process.stop().await.expect("it stops");
}

// R65: a disk that is full at the start is told in one sentence.
#[tokio::test]
async fn a_disk_that_is_full_at_the_start() {
    let Some(disk) = SmallDisk::mount() else {
        println!("skipped: this user may not mount a small file system");
        return;
    };
    let data = disk.path().join("data");
    std::fs::create_dir(&data).expect("a folder");
    disk.fill(0);
    let sentence = super::serve_refused(&data).await;
    assert!(sentence.contains("full"), "{sentence}");
    assert!(sentence.contains(text(&data)), "{sentence}");
    disk.free();
    super::start(&data).await.stop().await.expect("it stops");
}
