//! The wire: decode -> one use case -> encode. Nothing here decides anything.
//!
//! `decode` checks every field of a request and names every malformed one; `encode` shows domain
//! types as messages; `status` alone knows the codes of gRPC.

mod clock;
mod coupons;
mod decode;
mod encode;
mod fingerprint;
mod redemptions;
mod status;
mod templates;

use std::{sync::Arc, time::Instant};

use coupon_proto::{
    FILE_DESCRIPTOR_SET,
    dev::clock_service_server::ClockServiceServer,
    v1::{
        coupon_service_server::CouponServiceServer,
        redemption_service_server::RedemptionServiceServer,
        template_service_server::TemplateServiceServer,
    },
};
use tonic::service::Routes;
use tonic_reflection::server::{Builder, Error};

use crate::{
    clock::ClockDriver,
    config::Config,
    policy,
    rpc::{
        clock::ClockRpc, coupons::CouponRpc, redemptions::RedemptionRpc, templates::TemplateRpc,
    },
    usecase::{Deadline, Fresh, UseCases},
};

/// The services over `usecases`, and reflection when it is configured. Without a `clock`, calls of
/// the test clock answer UNIMPLEMENTED.
///
/// # Errors
/// A descriptor set that reflection cannot read.
pub fn routes(
    usecases: Arc<UseCases>,
    clock: Option<Arc<dyn ClockDriver>>,
) -> Result<Routes, Error> {
    let config = Arc::clone(&usecases.config);
    let max = config.server.request_max_bytes;
    let templates = TemplateServiceServer::new(TemplateRpc::new(Arc::clone(&usecases)));
    let coupons = CouponServiceServer::new(CouponRpc::new(Arc::clone(&usecases)));
    let redemptions = RedemptionServiceServer::new(RedemptionRpc::new(usecases));
    let clock = ClockServiceServer::new(ClockRpc::new(clock));
    let mut routes = Routes::new(coupons.max_decoding_message_size(max))
        .add_service(redemptions.max_decoding_message_size(max))
        .add_service(templates.max_decoding_message_size(max))
        .add_service(clock.max_decoding_message_size(max));
    if config.server.reflection {
        routes = routes.add_service(reflection().build_v1()?);
        routes = routes.add_service(reflection().build_v1alpha()?);
    }
    Ok(routes.prepare())
}

fn reflection() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// By when a call wants its answer: what its caller and the policy say, or the default.
fn deadline<T>(request: &tonic::Request<T>, config: &Config) -> Deadline {
    let told = request.extensions().get::<policy::Deadline>();
    told.map_or_else(|| Instant::now() + config.server.deadline_default(), |deadline| deadline.0)
}

/// How fresh a read has to be: as fresh as what its caller has written, if it says so.
fn fresh<T>(request: &tonic::Request<T>) -> Fresh {
    match request.extensions().get::<policy::ReadToken>() {
        Some(policy::ReadToken::Past(written)) => Fresh::Past(*written),
        Some(policy::ReadToken::Unreadable) => Fresh::Latest,
        None => Fresh::Usual,
    }
}
