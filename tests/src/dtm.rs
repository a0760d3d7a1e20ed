//! A TCC transaction under the coordinator dtm, run as dtm's own client library runs one, and a second
//! participant beside the coupon platform.

use anyhow::Context as _;
use prost::Message;
use tonic::{
    Request, Status,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

mod api;
mod orders;
mod tcc;

pub use self::{
    api::{DtmClient, TransOptions},
    orders::{Mood, OrderRequest, OrderState, Orders, Verb},
    tcc::{Ended, Participant, Tcc, transaction},
};
pub use crate::services::{Coordinator, TransactionState, dtm_binary};

/// A channel to `HOST:PORT` that connects when it is used, and again after the other side is back.
fn channel(address: &str) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"));
    Ok(endpoint.with_context(|| format!("{address} is no address"))?.connect_lazy())
}

/// One call of `/SERVICE/METHOD`.
async fn unary<Q, A>(channel: Channel, path: &str, request: Request<Q>) -> Result<A, Status>
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    let path = path.parse().map_err(|_| Status::invalid_argument("the path is malformed"))?;
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let answer = grpc.unary(request, path, ProstCodec::<Q, A>::default()).await?;
    Ok(answer.into_inner())
}
