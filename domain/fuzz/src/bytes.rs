//! Bytes as choices: whatever they are, they decode, and past their end every choice is the first.

/// The bytes that are left.
pub(crate) struct Bytes<'d>(&'d [u8]);

impl<'d> Bytes<'d> {
    /// All of them.
    pub(crate) const fn new(data: &'d [u8]) -> Self {
        Self(data)
    }

    /// The next one.
    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `count`, which is at most 256.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count.max(1)
    }

    /// True for one value out of `count`, never for a zero byte.
    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == count - 1
    }

    /// One of these.
    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Eight bytes.
    pub(crate) fn number(&mut self) -> i64 {
        i64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// From 0 to `most`: small as a rule, at an end at times, else anything.
    pub(crate) fn amount(&mut self, most: i64) -> i64 {
        let whole = most.saturating_add(1);
        match self.byte() {
            small @ 0..=159 => i64::from(small) % whole,
            160..=239 => self.number().rem_euclid(whole),
            end => [0, 1, most / 2, most - 1, most][usize::from(end) % 5].clamp(0, most),
        }
    }

    /// What no check would let through.
    pub(crate) fn hostile(&mut self) -> i64 {
        const ENDS: [i64; 8] =
            [0, -1, i64::MIN, i64::MAX, i64::MIN + 1, i64::MAX - 1, 1 << 62, -(1 << 40)];
        match self.byte() {
            end @ 0..=127 => ENDS[usize::from(end) % ENDS.len()],
            _ => self.number(),
        }
    }
}
