//! The measures of the distributed back end: server processes on MySQL, Redis Cluster and Pulsar.

mod m10;
mod m12;
mod m13;
mod m4;
mod m8;
mod profile;
mod shards;
mod stand;
mod topic;

use std::collections::BTreeMap;

use anyhow::bail;

use super::{
    frame::Frame,
    report::Row,
    selection::{Measure, Selection},
};
use crate::services::Addresses;

/// Stock that no run can use up.
const PLENTY: i64 = 1_000_000_000;

/// One run over distributed measures.
pub struct Distributed {
    frame: Frame,
    addresses: Addresses,
    /// M4 and M5 by rows: one measurement serves both.
    wins: BTreeMap<u64, [Row; 2]>,
}

impl Distributed {
    /// For the stores at these addresses. MySQL primaries without a replica come first, so that what
    /// is measured is one server.
    pub fn new(frame: Frame, addresses: Addresses) -> Self {
        Self { frame, addresses: lone_first(addresses), wins: BTreeMap::new() }
    }

    /// Takes one measure; it may have several rows. Fails with a
    /// [`Violation`](super::Violation) when its checker finds one.
    ///
    /// # Errors
    /// When a store or a server does not answer.
    pub async fn measure(&mut self, selection: &Selection) -> anyhow::Result<Vec<Row>> {
        let name = &selection.name;
        (self.frame.say)(&format!("{name}: begins"));
        let plan = &self.frame.plan;
        let rows = selection.rows.unwrap_or(plan.rows).min(plan.rows_max);
        match selection.measure {
            Measure::M4 | Measure::M5 => {
                let suffix =
                    name.split_once('@').map_or_else(String::new, |(_, s)| format!("@{s}"));
                if !self.wins.contains_key(&rows) {
                    let measured = m4::measure(self, &suffix, rows).await?;
                    self.wins.insert(rows, measured);
                }
                let index = usize::from(selection.measure == Measure::M5);
                let measured = self.wins.get(&rows).map(|wins| wins[index].clone());
                Ok(measured.into_iter().map(|row| Row { name: name.clone(), ..row }).collect())
            }
            Measure::M8Distributed => Ok(vec![m8::measure(self, name).await?]),
            Measure::M10 => Ok(vec![m10::measure(self, name).await?]),
            Measure::M12 => m12::measure(self, name).await,
            Measure::M13 => m13::measure(self, name).await,
            Measure::Shards => Ok(vec![shards::measure(self, name).await?]),
            Measure::Profile => Ok(vec![profile::measure(self, name).await?]),
            _ => bail!("{name} is not measured over gRPC on the distributed back end"),
        }
    }
}

/// The primaries that have no replica before those that have one.
pub fn lone_first(mut addresses: Addresses) -> Addresses {
    addresses.mysql_replicas.resize(addresses.mysql_shards.len(), String::new());
    let mut pairs: Vec<(String, String)> =
        addresses.mysql_shards.into_iter().zip(addresses.mysql_replicas).collect();
    pairs.sort_by_key(|(_, replica)| !replica.is_empty());
    (addresses.mysql_shards, addresses.mysql_replicas) = pairs.into_iter().unzip();
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primaries_without_a_replica_come_first_and_keep_their_order() {
        let text = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let addresses = Addresses {
            mysql_shards: text(&["a", "b", "c"]),
            mysql_replicas: text(&["r"]),
            redis_nodes: Vec::new(),
            pulsar_url: String::new(),
            pulsar_admin_url: String::new(),
        };
        let sorted = lone_first(addresses);
        assert_eq!(sorted.mysql_shards, ["b", "c", "a"]);
        assert_eq!(sorted.mysql_replicas, ["", "", "r"]);
    }
}
