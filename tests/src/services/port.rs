//! Free ports that stay free until their service listens, also while it is down for a while.

use std::{
    env,
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
};

use anyhow::{Context as _, bail};

/// Below the ports that the system hands to outgoing connections, which could otherwise take the
/// port of a service that is being restarted.
const FIRST: u16 = 15_000;
const LAST: u16 = 31_999;

/// Ports taken for one set of services.
#[derive(Debug)]
pub(super) struct Ports {
    folder: PathBuf,
    /// Bound until the services start.
    listeners: Vec<TcpListener>,
    /// Held for as long as the set lives, so that another set on this machine takes other ports.
    locks: Vec<File>,
}

impl Ports {
    /// None yet.
    pub(super) fn new() -> anyhow::Result<Self> {
        // Another user's files could not be opened, so that each has a folder of his own.
        let user = fs::metadata("/proc/self").map_or(0, |data| data.uid());
        let folder = env::temp_dir().join(format!("coupon-test-ports-{user}"));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self { folder, listeners: Vec::new(), locks: Vec::new() })
    }

    /// A port that nobody listens on and no other set has taken.
    pub(super) fn take(&mut self) -> anyhow::Result<u16> {
        // Random, so that sets started together seldom try the same.
        for _ in 0..1_000 {
            let port = rand::random_range(FIRST..=LAST);
            let Ok(lock) = File::create(self.folder.join(port.to_string())) else { continue };
            if lock.try_lock().is_err() {
                continue;
            }
            if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                self.listeners.push(listener);
                self.locks.push(lock);
                return Ok(port);
            }
        }
        bail!("there is no free port between {FIRST} and {LAST}")
    }

    /// Lets the services listen.
    pub(super) fn release(&mut self) {
        self.listeners.clear();
    }

    /// Of a set that was started by somebody else.
    pub(super) fn of_others() -> Self {
        Self { folder: PathBuf::new(), listeners: Vec::new(), locks: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_taken_port_is_not_handed_out_twice() {
        let (mut one, mut two) = (Ports::new().unwrap(), Ports::new().unwrap());
        let mut seen = BTreeSet::new();
        for _ in 0..20 {
            assert!(seen.insert(one.take().unwrap()));
            one.release();
            assert!(seen.insert(two.take().unwrap()));
        }
    }
}
