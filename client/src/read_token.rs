//! What this client has written, told to the replicas that answer its reads.

use std::sync::atomic::{AtomicI64, Ordering};

use tonic::metadata::{MetadataMap, MetadataValue};

/// The header of requests and answers.
const HEADER: &str = "coupon-read-token";

/// The latest token that a write has been answered with. A token is an instant, so the latest one
/// covers all writes before it.
#[derive(Debug, Default)]
pub(crate) struct LatestToken(AtomicI64);

impl LatestToken {
    /// Puts the token on a request; without one the platform may answer from any replica that is not
    /// too far behind.
    pub(crate) fn put(&self, metadata: &mut MetadataMap) {
        let token = self.0.load(Ordering::Relaxed);
        if token > 0 {
            metadata.insert(HEADER, MetadataValue::from(token));
        }
    }

    /// Takes the token of an answer.
    pub(crate) fn take(&self, metadata: &MetadataMap) {
        let token = metadata.get(HEADER).and_then(|token| token.to_str().ok()?.parse().ok());
        if let Some(token) = token {
            self.0.fetch_max(token, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_token_is_sent() {
        let (latest, mut metadata) = (LatestToken::default(), MetadataMap::new());
        latest.put(&mut metadata);
        assert!(metadata.is_empty());
        for token in ["17", "12", "no number"] {
            let mut answer = MetadataMap::new();
            answer.insert(HEADER, token.parse().unwrap());
            latest.take(&answer);
        }
        latest.put(&mut metadata);
        assert_eq!(metadata.get(HEADER).unwrap(), "17");
    }
}
