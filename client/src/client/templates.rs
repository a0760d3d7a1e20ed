//! `TemplateService`: what a coupon is, how many there are and when it may be taken.

use coupon_proto::v1::{self, template_service_client::TemplateServiceClient};

super::rpcs! { TemplateServiceClient:
    /// Stores a new template in state DRAFT.
    write create_template(v1::CreateTemplateRequest) -> v1::CreateTemplateResponse;
    /// Reads one template.
    read get_template(v1::GetTemplateRequest) -> v1::GetTemplateResponse;
    /// Lists templates, newest first, a page at a time.
    read list_templates(v1::ListTemplatesRequest) -> v1::ListTemplatesResponse;
    /// Raises the stock, moves the claim window, or renames.
    write update_template(v1::UpdateTemplateRequest) -> v1::UpdateTemplateResponse;
    /// DRAFT -> ACTIVE: freezes the rules and opens the stock.
    write publish_template(v1::PublishTemplateRequest) -> v1::PublishTemplateResponse;
    /// ACTIVE -> PAUSED. No claim wins after the answer.
    write pause_template(v1::PauseTemplateRequest) -> v1::PauseTemplateResponse;
    /// PAUSED -> ACTIVE.
    write resume_template(v1::ResumeTemplateRequest) -> v1::ResumeTemplateResponse;
    /// ACTIVE or PAUSED -> ENDED, for good. Coupons already given stay usable.
    write end_template(v1::EndTemplateRequest) -> v1::EndTemplateResponse;
    /// Counts of a template's coupons.
    read get_template_stats(v1::GetTemplateStatsRequest) -> v1::GetTemplateStatsResponse;
    /// Names users who may claim a template whose audience is NAMED.
    write add_audience_users(v1::AddAudienceUsersRequest) -> v1::AddAudienceUsersResponse;
}
