//! Idempotency keys.

/// A new idempotency key: 128 random bits as 32 hexadecimal digits.
pub fn new_request_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Gives `request_id` a value where the caller gave none. Done once per call and never per attempt:
/// a retry under another id would be another command.
pub(crate) fn fill(request_id: &mut String) {
    if request_id.is_empty() {
        *request_id = new_request_id();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minted_ids_are_valid_and_distinct() {
        let id = new_request_id();
        assert_eq!(id.len(), 32);
        assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_ne!(id, new_request_id());
    }

    #[test]
    fn a_given_id_is_kept() {
        let mut id = "mine".to_owned();
        fill(&mut id);
        assert_eq!(id, "mine");
        id.clear();
        fill(&mut id);
        assert_eq!(id.len(), 32);
    }
}
