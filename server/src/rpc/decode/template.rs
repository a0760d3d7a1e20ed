//! Requests of `TemplateService`.

use coupon_domain::{
    ids::{TemplateId, UserId},
    redemption::RequestMark,
    rules::{Rules, UseWindow},
    template::{StateChange, TemplateState},
    time::Timestamp,
};
use coupon_proto::v1;
use prost_types::FieldMask;

use super::field::{Path, Violations};
use crate::{
    config::{Config, TemplatesConfig},
    error::ServiceError,
    rpc::fingerprint,
    usecase::{Marked, NewTemplate, TemplateQuery, TemplateUpdate},
};

const NAME_CHARS_MAX: usize = 200;
const BUCKETS_MAX: i32 = 64;
const AUDIENCE_USERS_MAX: usize = 10_000;

pub(crate) fn create_template(
    request: v1::CreateTemplateRequest,
    config: &Config,
) -> Result<Marked<NewTemplate>, ServiceError> {
    let mut violations = Violations::default();
    let request_id = violations.request_id(request.request_id);
    let template = violations.new_template(request.template, &config.templates);
    let marked = request_id.zip(template).map(|(request_id, command)| {
        let fingerprint = fingerprint::create_template(&command);
        Marked { command, request: RequestMark { request_id, fingerprint } }
    });
    violations.finish(marked)
}

pub(crate) fn get_template(template_id: i64) -> Result<TemplateId, ServiceError> {
    let mut violations = Violations::default();
    let template = violations.id("template_id", template_id, TemplateId::new);
    violations.finish(template)
}

pub(crate) fn list_templates(
    request: v1::ListTemplatesRequest,
    config: &Config,
) -> Result<TemplateQuery, ServiceError> {
    let pages = &config.pages;
    let mut violations = Violations::default();
    let page_size = violations.page_size(request.page_size, pages.size_default, pages.size_max);
    let before = violations.page_token(&request.page_token, TemplateId::new);
    let state = violations.known("state", request.state).and_then(state);
    let merchant = violations.within("merchant_id", request.merchant_id, 0..=i64::MAX);
    let merchant = merchant.filter(|merchant| *merchant > 0);
    let query = || Some(TemplateQuery { state, merchant, page_size: page_size?, before: before? });
    violations.finish(query())
}

pub(crate) fn update_template(
    request: v1::UpdateTemplateRequest,
    config: &Config,
) -> Result<Marked<TemplateUpdate>, ServiceError> {
    let mut violations = Violations::default();
    let request_id = violations.request_id(request.request_id);
    let mask = violations.update_mask(request.update_mask);
    let template = violations.required("template", request.template);
    let update =
        template.and_then(|template| violations.update(template, &mask, &config.templates));
    let marked = request_id.zip(update).map(|(request_id, command)| {
        let fingerprint = fingerprint::update_template(&command);
        Marked { command, request: RequestMark { request_id, fingerprint } }
    });
    violations.finish(marked)
}

pub(crate) fn publish_template(
    request: v1::PublishTemplateRequest,
) -> Result<Marked<(TemplateId, Option<u16>)>, ServiceError> {
    let mut violations = Violations::default();
    let request_id = violations.request_id(request.request_id);
    let template = violations.id("template_id", request.template_id, TemplateId::new);
    let buckets = violations.within("bucket_count", request.bucket_count, 0..=BUCKETS_MAX);
    let marked = || {
        let template = template?;
        let buckets = u16::try_from(buckets?).ok().filter(|buckets| *buckets > 0);
        let fingerprint = fingerprint::publish_template(template, buckets);
        let request = RequestMark { request_id: request_id?, fingerprint };
        Some(Marked { command: (template, buckets), request })
    };
    violations.finish(marked())
}

/// Pause, Resume and End.
pub(crate) fn state_change(
    request_id: String,
    template_id: i64,
    change: StateChange,
) -> Result<Marked<(TemplateId, StateChange)>, ServiceError> {
    let mut violations = Violations::default();
    let request_id = violations.request_id(request_id);
    let template = violations.id("template_id", template_id, TemplateId::new);
    let marked = request_id.zip(template).map(|(request_id, template)| {
        let fingerprint = fingerprint::state_change(template, change);
        Marked { command: (template, change), request: RequestMark { request_id, fingerprint } }
    });
    violations.finish(marked)
}

pub(crate) fn add_audience_users(
    request: v1::AddAudienceUsersRequest,
) -> Result<Marked<(TemplateId, Vec<UserId>)>, ServiceError> {
    let mut violations = Violations::default();
    let request_id = violations.request_id(request.request_id);
    let template = violations.id("template_id", request.template_id, TemplateId::new);
    let users = violations.audience_users(&request.user_ids);
    let marked = || {
        let (template, users) = (template?, users?);
        let fingerprint = fingerprint::add_audience_users(template, &users);
        let request = RequestMark { request_id: request_id?, fingerprint };
        Some(Marked { command: (template, users), request })
    };
    violations.finish(marked())
}

/// Which fields to update, by the names in the mask.
#[derive(Default)]
struct Mask {
    display_name: bool,
    total_count: bool,
    claim_from: bool,
    claim_until: bool,
}

impl Violations {
    fn new_template(
        &mut self,
        value: Option<v1::Template>,
        limits: &TemplatesConfig,
    ) -> Option<NewTemplate> {
        let at = Path::root("template");
        let value = self.required(at, value)?;
        let display_name = self.display_name(&at, value.display_name);
        let merchant = self.within(at.field("merchant_id"), value.merchant_id, 0..=i64::MAX);
        let rules = self.rules(&at.field("rules"), value.rules, limits);
        let total = self.total(&at, value.total_count, limits);
        let until_at = at.field("claim_until");
        let window =
            self.window((at.field("claim_from"), value.claim_from), (until_at, value.claim_until));
        if let (Some(rules), Some((_, until))) = (&rules, window) {
            self.claim_ends_in_time(until_at, rules, until);
        }
        let (claim_from, claim_until) = window?;
        Some(NewTemplate {
            display_name: display_name?,
            merchant: merchant?,
            rules: rules?,
            total: total?,
            claim_from,
            claim_until,
        })
    }

    /// Nobody should win a coupon that is expired already.
    fn claim_ends_in_time(&mut self, at: Path<'_>, rules: &Rules, claim_until: Timestamp) {
        if let UseWindow::Fixed { until, .. } = rules.use_window
            && claim_until > until
        {
            self.note(at, "must not be later than the end of the use window");
        }
    }

    fn display_name(&mut self, at: &Path<'_>, value: String) -> Option<String> {
        self.text(at.field("display_name"), value, 1..=NAME_CHARS_MAX)
    }

    fn total(&mut self, at: &Path<'_>, value: i64, limits: &TemplatesConfig) -> Option<i64> {
        self.within(at.field("total_count"), value, 1..=limits.total_count_max)
    }

    fn update_mask(&mut self, value: Option<FieldMask>) -> Mask {
        let at = Path::root("update_mask");
        let paths = value.unwrap_or_default().paths;
        if paths.is_empty() {
            self.note(at, "must name at least one field to update");
        }
        let paths_at = at.field("paths");
        let mut mask = Mask::default();
        for (index, path) in paths.iter().enumerate() {
            match path.as_str() {
                "display_name" => mask.display_name = true,
                "total_count" => mask.total_count = true,
                "claim_from" => mask.claim_from = true,
                "claim_until" => mask.claim_until = true,
                _ => self.note(
                    paths_at.index(index),
                    "must be one of `display_name`, `total_count`, `claim_from`, `claim_until`",
                ),
            }
        }
        mask
    }

    fn update(
        &mut self,
        value: v1::Template,
        mask: &Mask,
        limits: &TemplatesConfig,
    ) -> Option<TemplateUpdate> {
        let at = Path::root("template");
        let template = self.id(at.field("template_id"), value.template_id, TemplateId::new);
        let display_name = masked(mask.display_name, || self.display_name(&at, value.display_name));
        let total = masked(mask.total_count, || self.total(&at, value.total_count, limits));
        let from_at = at.field("claim_from");
        let from = masked(mask.claim_from, || self.instant(from_at, value.claim_from));
        let until_at = at.field("claim_until");
        let until = masked(mask.claim_until, || self.instant(until_at, value.claim_until));
        if let (Some(Some(from)), Some(Some(until))) = (from, until)
            && from >= until
        {
            self.note(until_at, "must be later than the start of its window");
        }
        Some(TemplateUpdate {
            template: template?,
            display_name: display_name?,
            total: total?,
            claim_from: from?,
            claim_until: until?,
        })
    }

    fn audience_users(&mut self, values: &[i64]) -> Option<Vec<UserId>> {
        let at = Path::root("user_ids");
        if !self.count(at, values.len(), 1..=AUDIENCE_USERS_MAX) {
            return None;
        }
        let users = values.iter().enumerate();
        let users: Vec<UserId> = users
            .filter_map(|(index, value)| self.id(at.index(index), *value, UserId::new))
            .collect();
        (users.len() == values.len()).then_some(users)
    }
}

/// `Some(None)` for a field that stays as it is, `None` for a malformed one.
fn masked<T>(wanted: bool, decode: impl FnOnce() -> Option<T>) -> Option<Option<T>> {
    if wanted { decode().map(Some) } else { Some(None) }
}

fn state(value: v1::TemplateState) -> Option<TemplateState> {
    match value {
        v1::TemplateState::Unspecified => None,
        v1::TemplateState::Draft => Some(TemplateState::Draft),
        v1::TemplateState::Active => Some(TemplateState::Active),
        v1::TemplateState::Paused => Some(TemplateState::Paused),
        v1::TemplateState::Ended => Some(TemplateState::Ended),
    }
}
