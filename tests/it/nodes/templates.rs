//! One node's templates in another's memory.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use coupon_domain::{
    fingerprint::Fingerprint,
    ids::TemplateId,
    money::{Currency, Minor},
    rules::{Benefit, Rules},
    template::{Template, TemplateState},
    time::{TimeZone, Timestamp},
};
use coupon_server::{
    catalog::{CacheLimits, Catalog, Recorded, TemplateChange, TemplateSeen},
    worker::templates,
};
use tokio_util::sync::CancellationToken;

use super::File;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A busy machine's longest.
const LONG: Duration = Duration::from_secs(20);

pub(super) fn recorded(request_id: &str) -> Recorded {
    let fingerprint = Fingerprint::from_stored(1);
    let at = Timestamp::from_millis(0);
    Recorded { request_id: request_id.to_owned(), fingerprint, subject: 1, at }
}

pub(super) fn draft(id: i64) -> Template {
    let start = Timestamp::from_millis(0);
    Template {
        id: TemplateId::new(id).expect("positive"),
        display_name: "shared".to_owned(),
        merchant: 0,
        state: TemplateState::Draft,
        rules: Arc::new(Rules::plain(
            Benefit::DirectOff { amount: Minor::new(100) },
            Currency::parse("CNY").expect("a currency"),
            TimeZone::parse("UTC").expect("a time zone"),
        )),
        total: 100,
        claim_from: start,
        claim_until: start.plus(DAY),
        buckets: 0,
        version: 1,
        created_at: start,
        published_at: None,
    }
}

pub(super) fn into_state(state: TemplateState) -> TemplateChange {
    TemplateChange { state: Some(state), ..TemplateChange::default() }
}

async fn limited(file: &File, ttl: Duration, stale_max: Duration) -> Catalog {
    let limits = CacheLimits { entries_max: 100, ttl, stale_max };
    Catalog::with_limits(file.open().await.meta, limits)
}

/// Remembers what a catalog was told.
fn hears(catalog: &Catalog) -> Arc<Mutex<Vec<TemplateSeen>>> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&heard);
    catalog.on_change(move |seen| told.lock().expect("sound").push(seen.clone()));
    heard
}

// R19: a stop on one node is known on the others within a second.
#[tokio::test]
async fn a_change_of_another_node_is_seen_and_told() {
    let file = File::new().await;
    let (ours, theirs) = (file.catalog().await, file.catalog().await);
    let heard = hears(&ours);
    let stored = theirs.create(draft(7), &recorded("create")).await.expect("stored");
    let known = ours.get(stored.id).await.expect("readable").expect("there");
    assert_eq!(known, stored);
    assert!(heard.lock().expect("sound").is_empty());

    let ended = theirs.change(&stored, &into_state(TemplateState::Ended), &recorded("end")).await;
    let ended = ended.expect("changed");
    // Nothing has been looked for yet: a hit costs no I/O.
    assert_eq!(ours.get(stored.id).await.expect("readable").expect("there"), stored);
    let stop = CancellationToken::new();
    let interval = Duration::from_millis(10);
    let looking = tokio::spawn(templates::run(Arc::clone(&ours), interval, stop.clone()));
    let wait = async {
        while ours.get(stored.id).await.expect("readable").expect("there") != ended {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, wait).await.expect("seen");
    stop.cancel();
    looking.await.expect("it ends");
    let told = TemplateSeen { before: Some(Arc::clone(&stored)), now: Arc::clone(&ended) };
    assert_eq!(*heard.lock().expect("sound"), [told]);
    assert_eq!(ours.see_changes().await, Ok(0));

    // One that this node has never read is put into its memory.
    let other = theirs.create(draft(8), &recorded("create 8")).await.expect("stored");
    assert_eq!(ours.see_changes().await, Ok(1));
    let last = heard.lock().expect("sound").last().cloned().expect("told");
    assert_eq!(last, TemplateSeen { before: None, now: other });
}

#[tokio::test]
async fn ones_own_changes_are_no_news() {
    let file = File::new().await;
    let catalog = file.catalog().await;
    let heard = hears(&catalog);
    let stored = catalog.create(draft(7), &recorded("create")).await.expect("stored");
    let paused = catalog.change(&stored, &into_state(TemplateState::Paused), &recorded("p")).await;
    let (paused, change) = (paused.expect("changed"), into_state(TemplateState::Ended));
    let ended = catalog.change(&paused, &change, &recorded("e")).await.expect("changed");
    assert_eq!(catalog.see_changes().await, Ok(0));
    assert_eq!(catalog.get(stored.id).await.expect("readable").expect("there"), ended);
    assert!(heard.lock().expect("sound").is_empty());
}

// R20: templates are served while meta is away.
#[tokio::test]
async fn without_meta_templates_are_served_from_memory() {
    let file = File::new().await;
    let databases = file.open().await;
    let limits = CacheLimits { entries_max: 100, ttl: Duration::from_millis(2), stale_max: DAY };
    let catalog = Catalog::with_limits(databases.meta.clone(), limits);
    let stored = catalog.create(draft(7), &recorded("create")).await.expect("stored");
    let unknown = TemplateId::new(8).expect("positive");
    databases.meta.read.close().await.expect("closed");
    let wait = async {
        while catalog.stale_served() < 10 {
            let served = catalog.get(stored.id).await.expect("from memory").expect("there");
            assert_eq!(served, stored);
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, wait).await.expect("it grows stale");
    assert!(catalog.get(unknown).await.is_err());
    assert!(catalog.get_fresh(stored.id).await.is_err());
    assert!(catalog.see_changes().await.is_err());
    assert_eq!(catalog.get(stored.id).await.expect("from memory"), Some(stored));
}

#[tokio::test]
async fn what_could_not_be_confirmed_for_too_long_is_not_served() {
    let file = File::new().await;
    let databases = file.open().await;
    let millis = Duration::from_millis;
    let limits = CacheLimits { entries_max: 100, ttl: millis(2), stale_max: millis(50) };
    let catalog = Catalog::with_limits(databases.meta.clone(), limits);
    let stored = catalog.create(draft(7), &recorded("create")).await.expect("stored");
    databases.meta.read.close().await.expect("closed");
    let wait = async {
        while catalog.get(stored.id).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, wait).await.expect("it is refused");
}

#[tokio::test]
async fn what_grows_old_is_read_again_in_the_background() {
    let file = File::new().await;
    let (ours, theirs) =
        (limited(&file, Duration::from_millis(2), DAY).await, file.catalog().await);
    let heard = hears(&ours);
    let stored = theirs.create(draft(7), &recorded("create")).await.expect("stored");
    assert!(ours.get(stored.id).await.expect("readable").is_some());
    let ended = theirs.change(&stored, &into_state(TemplateState::Ended), &recorded("end")).await;
    let ended = ended.expect("changed");
    let wait = async {
        while ours.get(stored.id).await.expect("readable").expect("there") != ended {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, wait).await.expect("seen");
    assert_eq!(heard.lock().expect("sound").len(), 1);
}

// Two nodes that change a template at the same instant: one of them is told to look again.
#[tokio::test]
async fn of_two_changes_at_once_one_is_made() {
    let file = File::new().await;
    let (ours, theirs) = (file.catalog().await, file.catalog().await);
    let stored = ours.create(draft(7), &recorded("create")).await.expect("stored");
    let rename =
        TemplateChange { display_name: Some("new".to_owned()), ..TemplateChange::default() };
    let renamed = theirs.change(&stored, &rename, &recorded("rename")).await.expect("renamed");
    // It would bring the old name back.
    let state = into_state(TemplateState::Ended);
    assert!(ours.change(&stored, &state, &recorded("end")).await.is_err());
    assert!(ours.change(&renamed, &state, &recorded("end")).await.is_ok());
}
