//! `TemplateService`.

use std::sync::Arc;

use async_trait::async_trait;
use coupon_domain::template::{StateChange, Template};
use coupon_proto::v1::{self, template_service_server::TemplateService};
use tonic::{Request, Response, Status};

use super::{decode, encode};
use crate::usecase::UseCases;

pub(super) struct TemplateRpc {
    usecases: Arc<UseCases>,
}

impl TemplateRpc {
    pub(super) fn new(usecases: Arc<UseCases>) -> Self {
        Self { usecases }
    }

    async fn change(
        &self,
        request_id: String,
        template_id: i64,
        change: StateChange,
    ) -> Result<Option<v1::Template>, Status> {
        let command = decode::state_change(request_id, template_id, change)?;
        Ok(shown(&*self.usecases.change_template(command).await?))
    }
}

fn shown(template: &Template) -> Option<v1::Template> {
    Some(encode::template(template))
}

#[async_trait]
impl TemplateService for TemplateRpc {
    async fn create_template(
        &self,
        request: Request<v1::CreateTemplateRequest>,
    ) -> Result<Response<v1::CreateTemplateResponse>, Status> {
        let command = decode::create_template(request.into_inner(), &self.usecases.config)?;
        let template = shown(&*self.usecases.create_template(command).await?);
        Ok(Response::new(v1::CreateTemplateResponse { template }))
    }

    async fn get_template(
        &self,
        request: Request<v1::GetTemplateRequest>,
    ) -> Result<Response<v1::GetTemplateResponse>, Status> {
        let template = decode::get_template(request.into_inner().template_id)?;
        let template = shown(&*self.usecases.template(template).await?);
        Ok(Response::new(v1::GetTemplateResponse { template }))
    }

    async fn list_templates(
        &self,
        request: Request<v1::ListTemplatesRequest>,
    ) -> Result<Response<v1::ListTemplatesResponse>, Status> {
        let query = decode::list_templates(request.into_inner(), &self.usecases.config)?;
        let page = self.usecases.templates(query).await?;
        Ok(Response::new(encode::templates(&page)))
    }

    async fn update_template(
        &self,
        request: Request<v1::UpdateTemplateRequest>,
    ) -> Result<Response<v1::UpdateTemplateResponse>, Status> {
        let command = decode::update_template(request.into_inner(), &self.usecases.config)?;
        let template = shown(&*self.usecases.update_template(command).await?);
        Ok(Response::new(v1::UpdateTemplateResponse { template }))
    }

    async fn publish_template(
        &self,
        request: Request<v1::PublishTemplateRequest>,
    ) -> Result<Response<v1::PublishTemplateResponse>, Status> {
        let command = decode::publish_template(request.into_inner())?;
        let template = shown(&*self.usecases.publish_template(command).await?);
        Ok(Response::new(v1::PublishTemplateResponse { template }))
    }

    async fn pause_template(
        &self,
        request: Request<v1::PauseTemplateRequest>,
    ) -> Result<Response<v1::PauseTemplateResponse>, Status> {
        let v1::PauseTemplateRequest { request_id, template_id } = request.into_inner();
        let template = self.change(request_id, template_id, StateChange::Pause).await?;
        Ok(Response::new(v1::PauseTemplateResponse { template }))
    }

    async fn resume_template(
        &self,
        request: Request<v1::ResumeTemplateRequest>,
    ) -> Result<Response<v1::ResumeTemplateResponse>, Status> {
        let v1::ResumeTemplateRequest { request_id, template_id } = request.into_inner();
        let template = self.change(request_id, template_id, StateChange::Resume).await?;
        Ok(Response::new(v1::ResumeTemplateResponse { template }))
    }

    async fn end_template(
        &self,
        request: Request<v1::EndTemplateRequest>,
    ) -> Result<Response<v1::EndTemplateResponse>, Status> {
        let v1::EndTemplateRequest { request_id, template_id } = request.into_inner();
        let template = self.change(request_id, template_id, StateChange::End).await?;
        Ok(Response::new(v1::EndTemplateResponse { template }))
    }

    async fn get_template_stats(
        &self,
        request: Request<v1::GetTemplateStatsRequest>,
    ) -> Result<Response<v1::GetTemplateStatsResponse>, Status> {
        let template = decode::get_template(request.into_inner().template_id)?;
        let stats = self.usecases.template_stats(template).await?;
        Ok(Response::new(encode::stats(template, &stats)))
    }

    async fn add_audience_users(
        &self,
        request: Request<v1::AddAudienceUsersRequest>,
    ) -> Result<Response<v1::AddAudienceUsersResponse>, Status> {
        let command = decode::add_audience_users(request.into_inner())?;
        let added_count = self.usecases.add_audience(command).await?;
        Ok(Response::new(v1::AddAudienceUsersResponse { added_count }))
    }
}
