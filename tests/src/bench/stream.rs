//! Claims through ClaimStream: many in one message, several messages in flight on each connection.

use std::{collections::HashMap, ops::Range, time::Instant};

use bytes::Bytes;
use coupon_client::v1;
use http::uri::PathAndQuery;
use prost::Message as _;
use tokio::{
    sync::mpsc::{UnboundedSender, unbounded_channel},
    task::JoinSet,
};
use tonic::Code;

use super::{
    cpu,
    load::{Budget, Connection, Load, Target, Verdict},
    workload::{StreamAnswer, StreamOutcome, claim, judge_failure, judge_fresh_claim},
};

/// How claims are packed.
#[derive(Clone, Copy, Debug)]
pub struct Packing {
    /// Claims in one message.
    pub batch: u64,
    /// Messages in flight on each connection.
    pub depth: usize,
}

/// Claims coupons of a template that cannot run out until the budget is spent. The latency of a
/// claim is that of its message.
pub async fn claim_in_batches(
    target: &Target,
    template_id: i64,
    budget: &Budget,
    packing: Packing,
) -> anyhow::Result<Load> {
    let cpu_before = cpu::cpu_time(target.pid)?;
    let start = Instant::now();
    let mut lanes = JoinSet::new();
    for conn in target.connections() {
        let (conn, budget) = (conn.clone(), budget.clone());
        lanes.spawn(Lane::new(template_id, budget, packing.batch).run(conn, packing.depth));
    }
    let mut total = Load::default();
    while let Some(load) = lanes.join_next().await {
        total.merge(load?);
    }
    total.elapsed = start.elapsed();
    total.cpu = cpu::cpu_time(target.pid)?.saturating_sub(cpu_before);
    Ok(total)
}

/// One connection's stream.
struct Lane {
    template_id: i64,
    budget: Budget,
    batch: u64,
    sent: HashMap<i64, (Range<u64>, Instant)>,
    load: Load,
}

impl Lane {
    fn new(template_id: i64, budget: Budget, batch: u64) -> Self {
        Self { template_id, budget, batch, sent: HashMap::new(), load: Load::default() }
    }

    async fn run(mut self, mut conn: Connection, depth: usize) -> Load {
        let path = PathAndQuery::from_static("/coupon.v1.CouponService/ClaimStream");
        let (sender, bodies) = unbounded_channel();
        let mut sender = Some(sender);
        for _ in 0..depth {
            self.send_next(&mut sender);
        }
        let mut trouble = "the stream ended before its answers".to_owned();
        match conn.stream(&path, bodies).await {
            Ok(mut answers) => {
                while !self.sent.is_empty() {
                    match answers.message().await {
                        Ok(Some(bytes)) => self.receive(bytes, &mut sender),
                        Ok(None) => break,
                        Err(status) => {
                            trouble = format!("{:?}: {}", status.code(), status.message());
                            break;
                        }
                    }
                }
            }
            Err(status) => trouble = format!("{:?}: {}", status.code(), status.message()),
        }
        for (range, sent) in std::mem::take(&mut self.sent).into_values() {
            for seq in range {
                self.load.note(seq, Verdict::Unsettled(trouble.clone()), sent.elapsed());
            }
        }
        self.load
    }

    /// Sends another message, or closes our side when the budget is spent.
    fn send_next(&mut self, sender: &mut Option<UnboundedSender<Bytes>>) {
        let Some(open) = sender.as_ref() else { return };
        let range = if self.load.violation.is_none() { self.budget.take(self.batch) } else { None };
        let Some(range) = range else {
            *sender = None;
            return;
        };
        let claims = range.clone().map(|seq| claim(seq, self.template_id)).collect();
        // Numbers are never used twice, so the first one names the message.
        let sequence = range.start as i64;
        let message = v1::ClaimStreamRequest { sequence, claims };
        self.sent.insert(sequence, (range, Instant::now()));
        // Fails only when the call has ended, which the reading side finds out.
        let _ = open.send(message.encode_to_vec().into());
    }

    fn receive(&mut self, bytes: Bytes, sender: &mut Option<UnboundedSender<Bytes>>) {
        let answer = match StreamAnswer::decode(bytes) {
            Ok(answer) => answer,
            Err(error) => return self.violated(format!("a stream answer is malformed: {error}")),
        };
        let sequence = answer.sequence;
        let Some((range, sent)) = self.sent.remove(&sequence) else {
            return self.violated(format!("sequence {sequence} was answered but is not in flight"));
        };
        let (claims, outcomes) = ((range.end - range.start) as usize, answer.outcomes.len());
        if claims != outcomes {
            return self.violated(format!("{claims} claims were given {outcomes} outcomes"));
        }
        let latency = sent.elapsed();
        for (seq, outcome) in range.zip(&answer.outcomes) {
            self.load.note(seq, judge(seq, outcome), latency);
        }
        self.send_next(sender);
    }

    fn violated(&mut self, what: String) {
        self.load.violation.get_or_insert(what);
        // Ends the lane: what is in flight is of no interest any more.
        self.sent.clear();
    }
}

fn judge(seq: u64, outcome: &StreamOutcome) -> Verdict {
    match (&outcome.won, &outcome.error) {
        (Some(won), _) => judge_fresh_claim(seq, won),
        (None, Some(error)) => judge_failure(seq, Code::from(error.code), &error.message),
        (None, None) => Verdict::Violated(format!("claim {seq} of a stream has no outcome")),
    }
}
