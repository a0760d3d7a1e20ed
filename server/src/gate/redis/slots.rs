//! Which node has which slot.

use std::sync::Arc;

use fred::prelude::Value;

use super::node::Node;

/// Slots of a cluster.
pub(super) const SLOTS: usize = 16_384;

/// Slots by node.
#[derive(Default)]
pub(super) struct Slots {
    pub(super) nodes: Vec<Arc<Node>>,
    /// First and last slot, and the index of their node; in ascending order.
    pub(super) ranges: Vec<(u16, u16, usize)>,
}

impl Slots {
    /// The primary of a slot.
    pub(super) fn owner(&self, slot: u16) -> Option<Arc<Node>> {
        let at = self.ranges.partition_point(|(_, last, _)| *last < slot);
        let (first, _, node) = self.ranges.get(at)?;
        (*first <= slot).then(|| Arc::clone(&self.nodes[*node]))
    }

    /// How many slots have one.
    pub(super) fn covered(&self) -> usize {
        self.ranges.iter().map(|(first, last, _)| usize::from(last - first) + 1).sum()
    }
}

/// The answer to CLUSTER SLOTS: ranges with the address of their primary.
pub(super) fn parse_slots(answer: &Value, asked: &str) -> Option<Vec<(u16, u16, String)>> {
    let host = asked.rsplit_once(':').map(|(host, _)| host)?;
    let Value::Array(ranges) = answer else { return None };
    let parse = |range: &Value| {
        let Value::Array(parts) = range else { return None };
        let number = |value: &Value| value.as_u64().and_then(|number| u16::try_from(number).ok());
        let (first, last) = (number(parts.first()?)?, number(parts.get(1)?)?);
        let Value::Array(primary) = parts.get(2)? else { return None };
        let named = primary.first()?.as_string().filter(|name| !name.is_empty() && name != "?");
        let named = named.unwrap_or_else(|| host.to_owned());
        (first <= last)
            .then(|| Some((first, last, format!("{named}:{}", number(primary.get(1)?)?))))?
    };
    ranges.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: i64, last: i64, host: Value, port: i64) -> Value {
        let primary = Value::Array(vec![host, port.into(), "id".into()]);
        Value::Array(vec![first.into(), last.into(), primary])
    }

    #[test]
    fn slots_are_read_and_a_nameless_node_is_the_one_asked() {
        let answer = Value::Array(vec![
            range(0, 5_460, "10.0.0.1".into(), 7_000),
            range(5_461, 16_383, Value::Null, 7_001),
        ]);
        let expected =
            vec![(0, 5_460, "10.0.0.1:7000".to_owned()), (5_461, 16_383, "seed:7001".to_owned())];
        assert_eq!(parse_slots(&answer, "seed:6379"), Some(expected));
        assert_eq!(parse_slots(&Value::Null, "seed:6379"), None);
    }

    #[test]
    fn a_slot_has_one_owner_or_none() {
        let slots = Slots { nodes: Vec::new(), ranges: vec![(0, 9, 0), (20, 29, 0)] };
        assert_eq!(slots.covered(), 20);
        assert!(slots.owner(15).is_none() && slots.owner(30).is_none());
    }
}
