//! Finds `COMMIT` in what a MySQL client sends.

/// Bytes of a packet's header: three of length, one of sequence.
const HEADER: usize = 4;
/// The command of a query in text.
const COM_QUERY: u8 = 3;
const COMMIT: &[u8] = b"COMMIT";

/// Follows the packets of one direction of one connection, however they are cut into reads.
#[derive(Debug, Default)]
pub(super) struct CommitSpotter {
    header: Vec<u8>,
    /// The beginning of the payload: as much as decides.
    head: Vec<u8>,
    length: usize,
    left: usize,
}

impl CommitSpotter {
    /// Takes the next bytes; answers where, right after a whole `COMMIT`, they may be cut.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            if self.left == 0 {
                self.header.push(bytes[at]);
                at += 1;
                if self.header.len() == HEADER {
                    self.length = usize::from(self.header[0])
                        | usize::from(self.header[1]) << 8
                        | usize::from(self.header[2]) << 16;
                    self.left = self.length;
                    self.header.clear();
                    self.head.clear();
                }
                continue;
            }
            let taken = self.left.min(bytes.len() - at);
            let wanted = (COMMIT.len() + 1).saturating_sub(self.head.len()).min(taken);
            self.head.extend_from_slice(&bytes[at..at + wanted]);
            self.left -= taken;
            at += taken;
            if self.left == 0 && self.is_commit() {
                return Some(at);
            }
        }
        None
    }

    fn is_commit(&self) -> bool {
        self.length == COMMIT.len() + 1
            && self.head.split_first().is_some_and(|(command, text)| {
                *command == COM_QUERY && text.eq_ignore_ascii_case(COMMIT)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(command: u8, text: &[u8]) -> Vec<u8> {
        let length = u8::try_from(text.len() + 1).unwrap();
        [&[length, 0, 0, 0, command], text].concat()
    }

    #[test]
    fn a_commit_is_found_between_other_packets() {
        let stream = [packet(COM_QUERY, b"SELECT 1"), packet(COM_QUERY, b"commit")].concat();
        assert_eq!(CommitSpotter::default().feed(&stream), Some(stream.len()));
        let more = [stream.clone(), packet(COM_QUERY, b"BEGIN")].concat();
        assert_eq!(CommitSpotter::default().feed(&more), Some(stream.len()));
    }

    #[test]
    fn a_commit_that_comes_byte_by_byte_is_found_at_its_last_byte() {
        let stream = [packet(COM_QUERY, b"BEGIN"), packet(COM_QUERY, b"COMMIT")].concat();
        let mut spotter = CommitSpotter::default();
        let found: Vec<bool> = stream.iter().map(|byte| spotter.feed(&[*byte]).is_some()).collect();
        assert_eq!(found.iter().filter(|found| **found).count(), 1);
        assert_eq!(found.last(), Some(&true));
    }

    #[test]
    fn nothing_else_is_taken_for_a_commit() {
        let others = [
            packet(COM_QUERY, b"COMMIT WORK"),
            packet(COM_QUERY, b"SELECT 'COMMIT'"),
            packet(0x16, b"COMMIT"),
            packet(COM_QUERY, b""),
        ];
        for other in others {
            assert_eq!(CommitSpotter::default().feed(&other), None, "{other:?}");
        }
    }
}
