//! The initiator's side of a transaction: the same calls in the same order as dtm's client library.

use prost::Message;
use tonic::{Request, Status, metadata::MetadataValue};

use super::api::{DtmClient, TRANS_TYPE, TransOptions};

/// Where a participant's three methods are, each `HOST:PORT/SERVICE/METHOD` as dtm writes it.
#[derive(Clone, Debug)]
pub struct Participant {
    try_url: String,
    confirm_url: String,
    cancel_url: String,
}

impl Participant {
    /// The methods `Confirm`, `Cancel` and, as Try, `try_method` of `service` at `HOST:PORT`.
    pub fn new(address: &str, service: &str, try_method: &str) -> Self {
        let url = |method: &str| format!("{address}/{service}/{method}");
        Self { try_url: url(try_method), confirm_url: url("Confirm"), cancel_url: url("Cancel") }
    }
}

/// A transaction that is being prepared. Dropping it decides nothing, as when its initiator dies.
#[derive(Debug)]
pub struct Tcc {
    dtm: DtmClient,
    gid: String,
    options: TransOptions,
    branches: usize,
}

impl Tcc {
    /// Begins one.
    ///
    /// # Errors
    /// When dtm does not answer.
    pub async fn begin(dtm: &DtmClient, options: TransOptions) -> Result<Self, Status> {
        let gid = dtm.new_gid().await?;
        dtm.prepare(&gid, &options).await?;
        Ok(Self { dtm: dtm.clone(), gid, options, branches: 0 })
    }

    /// Its id.
    pub fn gid(&self) -> &str {
        &self.gid
    }

    /// Registers a branch without calling its Try; answers the branch's id.
    ///
    /// # Errors
    /// ABORTED when dtm has given the transaction up.
    pub async fn register(
        &mut self,
        participant: &Participant,
        message: &impl Message,
    ) -> Result<String, Status> {
        self.branches += 1;
        let branch_id = format!("{:02}", self.branches);
        let urls = (participant.confirm_url.as_str(), participant.cancel_url.as_str());
        self.dtm.register_branch(&self.gid, &branch_id, urls, message.encode_to_vec()).await?;
        Ok(branch_id)
    }

    /// Calls the Try of a registered branch, with the metadata that dtm's calls carry.
    ///
    /// # Errors
    /// What the participant answers.
    pub async fn call_try<Q, A>(
        &self,
        participant: &Participant,
        branch_id: &str,
        message: Q,
    ) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let malformed = |_| Status::invalid_argument("an id does not fit into metadata");
        let mut request = Request::new(message);
        for (name, value) in [
            ("dtm-gid", self.gid.as_str()),
            ("dtm-trans_type", TRANS_TYPE),
            ("dtm-branch_id", branch_id),
            ("dtm-op", "try"),
        ] {
            let value = MetadataValue::try_from(value).map_err(malformed)?;
            request.metadata_mut().insert(name, value);
        }
        let url = participant.try_url.split_once('/');
        let (address, path) = url.ok_or_else(|| Status::invalid_argument("a URL has no path"))?;
        let channel =
            super::channel(address).map_err(|error| Status::unknown(error.to_string()))?;
        super::unary(channel, &format!("/{path}"), request).await
    }

    /// Registers a branch and calls its Try.
    ///
    /// # Errors
    /// What dtm or the participant answers.
    pub async fn call<Q, A>(&mut self, participant: &Participant, message: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let branch_id = self.register(participant, &message).await?;
        self.call_try(participant, &branch_id, message).await
    }

    /// Decides that every branch is to be confirmed.
    ///
    /// # Errors
    /// ABORTED when dtm has decided otherwise, after its time-out.
    pub async fn submit(&self) -> Result<(), Status> {
        self.dtm.submit(&self.gid, &self.options).await
    }

    /// Decides that every branch is to be cancelled.
    ///
    /// # Errors
    /// ABORTED when the transaction has been submitted.
    pub async fn abort(&self, reason: &str) -> Result<(), Status> {
        self.dtm.abort(&self.gid, &self.options, reason).await
    }
}

/// How an initiator's part of a transaction ended; dtm may still be at work on its branches.
#[derive(Debug)]
pub struct Ended {
    /// Its id.
    pub gid: String,
    /// OK = submitted; else what made the initiator abort it.
    pub outcome: Result<(), Status>,
}

/// Runs a transaction: `work` calls the branches; it is submitted when that succeeds and aborted when
/// it fails.
///
/// # Errors
/// When dtm does not answer, or has decided otherwise.
pub async fn transaction(
    dtm: &DtmClient,
    options: TransOptions,
    work: impl AsyncFnOnce(&mut Tcc) -> Result<(), Status>,
) -> Result<Ended, Status> {
    let mut tcc = Tcc::begin(dtm, options).await?;
    let outcome = work(&mut tcc).await;
    match &outcome {
        Ok(()) => tcc.submit().await?,
        Err(status) => tcc.abort(status.message()).await?,
    }
    Ok(Ended { gid: tcc.gid, outcome })
}
