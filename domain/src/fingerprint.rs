//! Tells whether two requests with one id had the same body.

use xxhash_rust::xxh3::Xxh3;

/// A stable 64-bit hash of a request's decoded fields without its id. Stored beside the request id,
/// so its definition never changes: each field is hashed with its length or width, in the order of
/// the calls (XXH3-64, seed 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(i64);

impl Fingerprint {
    /// As read from storage.
    pub const fn from_stored(value: i64) -> Self {
        Self(value)
    }

    /// As written to storage.
    pub const fn to_stored(self) -> i64 {
        self.0
    }
}

/// Collects the fields of a request.
pub struct Fingerprinter(Xxh3);

impl Fingerprinter {
    /// Starts the fingerprint of a request of the kind named, for example `"claim"`.
    pub fn new(kind: &str) -> Self {
        Self(Xxh3::new()).text(kind)
    }

    /// Adds a number.
    #[must_use]
    pub fn number(mut self, value: i64) -> Self {
        self.0.update(&value.to_le_bytes());
        self
    }

    /// Adds a text.
    #[must_use]
    pub fn text(mut self, value: &str) -> Self {
        self.0.update(&(value.len() as u64).to_le_bytes());
        self.0.update(value.as_bytes());
        self
    }

    /// Adds a list of numbers.
    #[must_use]
    pub fn numbers(self, values: impl ExactSizeIterator<Item = i64>) -> Self {
        let counted = self.number(i64::try_from(values.len()).unwrap_or(i64::MAX));
        values.fold(counted, Self::number)
    }

    /// The fingerprint.
    pub fn finish(self) -> Fingerprint {
        Fingerprint(self.0.digest().cast_signed())
    }
}

/// A 64-bit hash of a request id, for memory where the id itself would be too large.
pub fn hash_request_id(request_id: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(request_id.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_run_into_each_other() {
        let of = |a: &str, b: &str| Fingerprinter::new("t").text(a).text(b).finish();
        assert_ne!(of("ab", "c"), of("a", "bc"));
        assert_ne!(
            Fingerprinter::new("t").numbers([1, 2].into_iter()).numbers([].into_iter()).finish(),
            Fingerprinter::new("t").numbers([1].into_iter()).numbers([2].into_iter()).finish()
        );
    }

    // Stored beside every coupon: a change of the definition would refuse honest resends.
    #[test]
    fn the_definition_is_fixed() {
        let claim = Fingerprinter::new("claim").number(42).number(7).text("app").finish();
        assert_eq!(claim, Fingerprinter::new("claim").number(42).number(7).text("app").finish());
        assert_eq!(Fingerprinter::new("claim").finish().to_stored(), EMPTY_CLAIM);
    }

    const EMPTY_CLAIM: i64 = -2_983_113_216_315_033_024;
}
