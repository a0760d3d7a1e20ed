//! What dtm's server takes over gRPC, as far as a TCC transaction needs it: messages of its package
//! `dtmgimp`, written by hand because they are few.

use std::{collections::HashMap, time::Duration};

use tonic::{Request, Status, transport::Channel};

/// By when it must have answered.
const DEADLINE: Duration = Duration::from_secs(30);

/// How dtm treats one transaction. 0 = as the server is configured.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TransOptions {
    /// Whether Submit and Abort answer only when every branch is through.
    #[prost(bool, tag = "1")]
    pub wait_result: bool,
    /// Seconds after which a transaction that has not been submitted is cancelled.
    #[prost(int64, tag = "2")]
    pub timeout_to_fail_s: i64,
    /// Seconds until a failed branch is called again; doubled after each further failure.
    #[prost(int64, tag = "3")]
    pub retry_interval_s: i64,
    /// Seconds that a branch has for its answer.
    #[prost(int64, tag = "6")]
    pub request_timeout_s: i64,
}

/// `DtmRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct TransRequest {
    #[prost(string, tag = "1")]
    gid: String,
    #[prost(string, tag = "2")]
    trans_type: String,
    #[prost(message, optional, tag = "3")]
    options: Option<TransOptions>,
    #[prost(string, tag = "9")]
    rollback_reason: String,
}

/// `DtmGidReply`.
#[derive(Clone, PartialEq, prost::Message)]
struct GidReply {
    #[prost(string, tag = "1")]
    gid: String,
}

/// `DtmBranchRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct BranchRequest {
    #[prost(string, tag = "1")]
    gid: String,
    #[prost(string, tag = "2")]
    trans_type: String,
    #[prost(string, tag = "3")]
    branch_id: String,
    #[prost(map = "string, string", tag = "5")]
    urls: HashMap<String, String>,
    #[prost(bytes = "vec", tag = "6")]
    payload: Vec<u8>,
}

/// What dtm calls this kind of transaction.
pub(super) const TRANS_TYPE: &str = "tcc";

/// A client of dtm's server; cheap to clone.
#[derive(Clone, Debug)]
pub struct DtmClient {
    channel: Channel,
}

impl DtmClient {
    /// A client of the server at `HOST:PORT`, which need not be there yet.
    ///
    /// # Errors
    /// When that is no address.
    pub fn new(address: &str) -> anyhow::Result<Self> {
        Ok(Self { channel: super::channel(address)? })
    }

    /// An id for a transaction.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn new_gid(&self) -> Result<String, Status> {
        let reply: GidReply = self.call("NewGid", ()).await?;
        Ok(reply.gid)
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// ABORTED when the id has been used.
    pub(super) async fn prepare(&self, gid: &str, options: &TransOptions) -> Result<(), Status> {
        self.call("Prepare", request(gid, options, "")).await
    }

    /// Decides that every branch is to be confirmed.
    ///
    /// # Errors
    /// ABORTED when it has been decided otherwise.
    pub(super) async fn submit(&self, gid: &str, options: &TransOptions) -> Result<(), Status> {
        self.call("Submit", request(gid, options, "")).await
    }

    /// Decides that every branch is to be cancelled.
    ///
    /// # Errors
    /// ABORTED when it has been decided otherwise.
    pub(super) async fn abort(
        &self,
        gid: &str,
        options: &TransOptions,
        reason: &str,
    ) -> Result<(), Status> {
        self.call("Abort", request(gid, options, reason)).await
    }

    /// Names the Confirm and Cancel of a branch, and the bytes to send to them.
    ///
    /// # Errors
    /// ABORTED when the transaction is no longer being prepared.
    pub(super) async fn register_branch(
        &self,
        gid: &str,
        branch_id: &str,
        (confirm, cancel): (&str, &str),
        payload: Vec<u8>,
    ) -> Result<(), Status> {
        let urls = [("confirm", confirm), ("cancel", cancel)];
        let request = BranchRequest {
            gid: gid.to_owned(),
            trans_type: TRANS_TYPE.to_owned(),
            branch_id: branch_id.to_owned(),
            urls: urls.map(|(op, url)| (op.to_owned(), url.to_owned())).into(),
            payload,
        };
        self.call("RegisterBranch", request).await
    }

    async fn call<Q, A>(&self, method: &str, message: Q) -> Result<A, Status>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let mut request = Request::new(message);
        request.set_timeout(DEADLINE);
        super::unary(self.channel.clone(), &format!("/dtmgimp.Dtm/{method}"), request).await
    }
}

fn request(gid: &str, options: &TransOptions, reason: &str) -> TransRequest {
    TransRequest {
        gid: gid.to_owned(),
        trans_type: TRANS_TYPE.to_owned(),
        options: Some(options.clone()),
        rollback_reason: reason.to_owned(),
    }
}
