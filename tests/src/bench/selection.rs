//! The names of what can be measured.

use std::str::FromStr;

use anyhow::bail;

/// What a run without names measures, in this order: the embedded back end, which needs no services.
pub const EMBEDDED: [&str; 13] = [
    "M1",
    "M1@1e6",
    "M2",
    "M2@1e6",
    "M8",
    "M14",
    "M16",
    "QUOTE-10",
    "QUOTE-50",
    "QUOTE-200",
    "M18",
    "M19",
    "RSS@1e6",
];

/// What a run without names measures on MySQL, Redis Cluster and Pulsar. `M4@1e7` and `M4-PORT@1e7`,
/// which first load ten million rows, are measured only by name.
pub const DISTRIBUTED: [&str; 16] = [
    "M3",
    "M4",
    "M5",
    "M4-PORT",
    "M6",
    "M7",
    "M4@1e6",
    "M4-PORT@1e6",
    "M8-DISTRIBUTED",
    "M10",
    "M12",
    "M13",
    "SHARDS",
    "PROFILE",
    "M4@1e7",
    "M4-PORT@1e7",
];

/// How many of [`DISTRIBUTED`] a run without names measures.
pub const DISTRIBUTED_BY_DEFAULT: usize = 14;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Claims refused or replayed.
    M1,
    /// Claims won.
    M2,
    /// Claims admitted by the gate on Redis.
    M3,
    /// Claims won on MySQL, over gRPC, beside the textbook.
    M4,
    /// The same at the ledger's port; M5 of the port comes with it.
    M4Port,
    /// Claims won on MySQL, over gRPC, beside a sizing figure.
    M5,
    /// Claims won at the ledger's port beside plain inserts.
    M6,
    /// CPU of inserts through the object-relational layer.
    M7,
    /// Latency of a won claim at half load.
    M8,
    /// The same on the distributed back end.
    M8Distributed,
    /// One hot template beside a thousand.
    M10,
    /// Messages and speed of expiry.
    M12,
    /// Stock left at the first "sold out".
    M13,
    /// Lock and confirm.
    M14,
    /// The best combination of 200 coupons for 50 lines.
    M16,
    /// The same of 10 coupons beside greedy.
    Quote10,
    /// Of 50.
    Quote50,
    /// Of 200.
    Quote200,
    /// Wallet list.
    M18,
    /// Claims won through ClaimStream.
    M19,
    /// Memory.
    Rss,
    /// Claims per CPU-second of the stores at one and at two shards.
    Shards,
    /// Where the CPU of a won claim goes.
    Profile,
}

/// What a measure is taken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// A server on a folder.
    Embedded,
    /// Server processes on real stores.
    Distributed,
    /// Ports of the server's library on real stores, in a program of its own that links it.
    Ports,
}

impl Measure {
    const NAMES: [(&'static str, Self); 23] = [
        ("M1", Self::M1),
        ("M2", Self::M2),
        ("M3", Self::M3),
        ("M4", Self::M4),
        ("M4-PORT", Self::M4Port),
        ("M5", Self::M5),
        ("M6", Self::M6),
        ("M7", Self::M7),
        ("M8", Self::M8),
        ("M8-DISTRIBUTED", Self::M8Distributed),
        ("M10", Self::M10),
        ("M12", Self::M12),
        ("M13", Self::M13),
        ("M14", Self::M14),
        ("M16", Self::M16),
        ("QUOTE-10", Self::Quote10),
        ("QUOTE-50", Self::Quote50),
        ("QUOTE-200", Self::Quote200),
        ("M18", Self::M18),
        ("M19", Self::M19),
        ("RSS", Self::Rss),
        ("SHARDS", Self::Shards),
        ("PROFILE", Self::Profile),
    ];

    /// What it is taken on.
    pub fn ground(self) -> Ground {
        match self {
            Self::M1
            | Self::M2
            | Self::M8
            | Self::M14
            | Self::M16
            | Self::Quote10
            | Self::Quote50
            | Self::Quote200
            | Self::M18
            | Self::M19
            | Self::Rss => Ground::Embedded,
            Self::M3 | Self::M4Port | Self::M6 | Self::M7 => Ground::Ports,
            Self::M4
            | Self::M5
            | Self::M8Distributed
            | Self::M10
            | Self::M12
            | Self::M13
            | Self::Shards
            | Self::Profile => Ground::Distributed,
        }
    }
}

/// A measure at a size, such as `M2@1e6`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// As it was written.
    pub name: String,
    /// What.
    pub measure: Measure,
    /// Coupons stored before it begins; `None` = the measure's own size.
    pub rows: Option<u64>,
}

impl FromStr for Selection {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        let (measure, size) = match name.split_once('@') {
            Some((measure, size)) => (measure, Some(size)),
            None => (name, None),
        };
        let wanted = measure.to_ascii_uppercase();
        let Some((_, measure)) = Measure::NAMES.iter().find(|(known, _)| *known == wanted) else {
            bail!("there is no bench {name}; --list names them");
        };
        let rows = match size.map(f64::from_str) {
            None => None,
            Some(Ok(rows)) if (1.0..=1e9).contains(&rows) => Some(rows as u64),
            Some(_) => bail!("the size of {name} is not a number from 1 to 1e9"),
        };
        Ok(Self { name: name.to_ascii_uppercase().replace("@1E", "@1e"), measure: *measure, rows })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_and_without_a_size_are_read() {
        let read = |name: &str| name.parse::<Selection>().map(|s| (s.measure, s.rows)).ok();
        assert_eq!(read("M2"), Some((Measure::M2, None)));
        assert_eq!(read("m2@1e6"), Some((Measure::M2, Some(1_000_000))));
        assert_eq!(read("RSS@1e6"), Some((Measure::Rss, Some(1_000_000))));
        assert_eq!(read("m4-port@1e5"), Some((Measure::M4Port, Some(100_000))));
        assert_eq!(read("M9"), None);
        assert_eq!(read("M2@many"), None);
        assert_eq!(read("M2@0"), None);
        assert!(EMBEDDED.iter().chain(&DISTRIBUTED).all(|name| read(name).is_some()));
    }

    #[test]
    fn a_name_is_told_in_one_way_however_it_was_written() {
        let name = "m4-port@1E7".parse::<Selection>().map(|selection| selection.name).ok();
        assert_eq!(name.as_deref(), Some("M4-PORT@1e7"));
    }

    #[test]
    fn every_list_names_what_belongs_to_it() {
        let ground = |name: &str| name.parse::<Selection>().map(|s| s.measure.ground()).ok();
        assert!(EMBEDDED.iter().all(|name| ground(name) == Some(Ground::Embedded)));
        assert!(DISTRIBUTED.iter().all(|name| ground(name) != Some(Ground::Embedded)));
        assert!(DISTRIBUTED[DISTRIBUTED_BY_DEFAULT..].iter().all(|name| name.ends_with("@1e7")));
    }
}
