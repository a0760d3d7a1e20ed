//! One node's templates in another's memory.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use coupon_domain::{
    fingerprint::Fingerprint,
    ids::TemplateId,
    template::{Template, TemplateState},
    time::Timestamp,
};
use coupon_server::{
    catalog::{CacheLimits, Catalog, Recorded, TemplateChange},
    worker::templates,
};
use tokio_util::sync::CancellationToken;

use super::File;
use crate::conformance::fixture::{Offer, Rules};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn recorded(request_id: &str) -> Recorded {
    let at = Timestamp::from_millis(0);
    let fingerprint = Fingerprint::from_stored(1);
    Recorded { request_id: request_id.to_owned(), fingerprint, subject: 1, at }
}
