//! The checks of single fields, and the collector of what they find.

use std::{collections::HashSet, fmt, hash::Hash, ops::RangeInclusive};

use coupon_domain::ids::InvalidId;

use crate::error::{FieldViolation, ServiceError};

/// Violations kept of one request: enough to mend it, and no more memory than that.
const VIOLATIONS_MAX: usize = 100;

/// Where a field is, from the inside out. Written out only when something is wrong with it.
#[derive(Clone, Copy)]
pub(super) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step,
}

#[derive(Clone, Copy)]
enum Step {
    Field(&'static str),
    Index(usize),
}

impl<'a> Path<'a> {
    /// A field of the request itself.
    pub(super) const fn root(name: &'static str) -> Self {
        Self { parent: None, step: Step::Field(name) }
    }

    /// A field of the message at this path.
    pub(super) const fn field(&'a self, name: &'static str) -> Self {
        Self { parent: Some(self), step: Step::Field(name) }
    }

    /// An element of the list at this path.
    pub(super) const fn index(&'a self, index: usize) -> Self {
        Self { parent: Some(self), step: Step::Index(index) }
    }
}

impl From<&'static str> for Path<'_> {
    fn from(name: &'static str) -> Self {
        Self::root(name)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match (self.step, self.parent.is_some()) {
            (Step::Field(name), true) => write!(f, ".{name}"),
            (Step::Field(name), false) => f.write_str(name),
            (Step::Index(index), _) => write!(f, "[{index}]"),
        }
    }
}

/// Collects what is wrong with a request. Checks answer the checked value, or `None` after having
/// noted a violation.
#[derive(Default)]
pub(super) struct Violations(Vec<FieldViolation>);

impl Violations {
    /// Notes that a field is wrong.
    pub(super) fn note<'a>(&mut self, at: impl Into<Path<'a>>, description: impl fmt::Display) {
        if self.0.len() < VIOLATIONS_MAX {
            let field = at.into().to_string();
            self.0.push(FieldViolation { field, description: description.to_string() });
        }
    }

    /// The command, if nothing was wrong. `command` is `None` only after a violation.
    pub(super) fn finish<T>(self, command: Option<T>) -> Result<T, ServiceError> {
        match command {
            Some(command) if self.0.is_empty() => Ok(command),
            _ => Err(ServiceError::Invalid(self.0)),
        }
    }

    /// A message that must be there.
    pub(super) fn required<'a, T>(
        &mut self,
        at: impl Into<Path<'a>>,
        value: Option<T>,
    ) -> Option<T> {
        if value.is_none() {
            self.note(at, "is required");
        }
        value
    }

    /// A positive id.
    pub(super) fn id<'a, T>(
        &mut self,
        at: impl Into<Path<'a>>,
        value: i64,
        take: impl FnOnce(i64) -> Result<T, InvalidId>,
    ) -> Option<T> {
        let id = take(value).ok();
        if id.is_none() {
            self.note(at, "must be a positive integer");
        }
        id
    }

    /// A positive id, or 0 for none.
    pub(super) fn optional_id<'a, T>(
        &mut self,
        at: impl Into<Path<'a>>,
        value: i64,
        take: impl FnOnce(i64) -> Result<T, InvalidId>,
    ) -> Option<T> {
        if value < 0 {
            self.note(at, "must be a positive integer, or 0 for none");
        }
        take(value).ok()
    }

    /// A list of positive ids, none of them twice.
    pub(super) fn distinct_ids<T: Copy + Eq + Hash>(
        &mut self,
        at: &Path<'_>,
        values: &[i64],
        count: RangeInclusive<usize>,
        take: impl Fn(i64) -> Result<T, InvalidId>,
    ) -> Option<Vec<T>> {
        if !self.count(*at, values.len(), count) {
            return None;
        }
        let mut seen = HashSet::with_capacity(values.len());
        let mut ids = Vec::with_capacity(values.len());
        for (index, value) in values.iter().enumerate() {
            let Some(id) = self.id(at.index(index), *value, &take) else {
                continue;
            };
            if !seen.insert(id) {
                self.note(at.index(index), "must not repeat an earlier entry");
            }
            ids.push(id);
        }
        (ids.len() == values.len()).then_some(ids)
    }

    /// A number within bounds.
    pub(super) fn within<'a, T: PartialOrd + fmt::Display>(
        &mut self,
        at: impl Into<Path<'a>>,
        value: T,
        bounds: RangeInclusive<T>,
    ) -> Option<T> {
        if bounds.contains(&value) {
            return Some(value);
        }
        let (start, end) = bounds.into_inner();
        self.note(at, format_args!("must be {start} to {end}, but is {value}"));
        None
    }

    /// The length of a list. Says whether it is within bounds.
    pub(super) fn count<'a>(
        &mut self,
        at: impl Into<Path<'a>>,
        count: usize,
        bounds: RangeInclusive<usize>,
    ) -> bool {
        let (start, end) = (*bounds.start(), *bounds.end());
        if !bounds.contains(&count) {
            self.note(at, format_args!("must have {start} to {end} entries, but has {count}"));
        }
        bounds.contains(&count)
    }

    /// Visible ASCII characters, as many as the bounds say.
    pub(super) fn visible_ascii<'a>(
        &mut self,
        at: impl Into<Path<'a>>,
        value: String,
        length: RangeInclusive<usize>,
    ) -> Option<String> {
        if length.contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Some(value);
        }
        let (start, end) = length.into_inner();
        self.note(at, format_args!("must be {start} to {end} visible ASCII characters"));
        None
    }

    /// The key that makes a repeat of the call answer its first outcome.
    pub(super) fn request_id(&mut self, value: String) -> Option<String> {
        self.request_id_at("request_id", value)
    }

    /// As [`Self::request_id`], in a message within the request.
    pub(super) fn request_id_at<'a>(
        &mut self,
        at: impl Into<Path<'a>>,
        value: String,
    ) -> Option<String> {
        self.visible_ascii(at, value, 1..=64)
    }

    /// Text in any script, as many characters as the bounds say, none of them a control character.
    pub(super) fn text<'a>(
        &mut self,
        at: impl Into<Path<'a>>,
        value: String,
        length: RangeInclusive<usize>,
    ) -> Option<String> {
        // A character has up to 4 bytes: what is far too long is not counted.
        let fits = value.len() <= length.end() * 4 && length.contains(&value.chars().count());
        if fits && !value.chars().any(char::is_control) {
            return Some(value);
        }
        let (start, end) = length.into_inner();
        self.note(
            at,
            format_args!("must be {start} to {end} characters, none a control character"),
        );
        None
    }

    /// A value of an enum that this version knows; UNSPECIFIED included.
    pub(super) fn known<'a, E: TryFrom<i32>>(
        &mut self,
        at: impl Into<Path<'a>>,
        value: i32,
    ) -> Option<E> {
        let known = E::try_from(value).ok();
        if known.is_none() {
            self.note(at, format_args!("{value} is not a value of its enum"));
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_as_the_request_does() {
        let cart = Path::root("cart");
        let lines = cart.field("lines");
        assert_eq!(lines.index(2).field("quantity").to_string(), "cart.lines[2].quantity");
        assert_eq!(Path::root("coupon_ids").index(0).to_string(), "coupon_ids[0]");
    }

    #[test]
    fn every_violation_is_collected_up_to_a_limit() {
        let mut violations = Violations::default();
        assert_eq!(violations.within("a", 0, 1..=5), None);
        assert_eq!(violations.text("b", "\u{7}".to_owned(), 1..=5), None);
        assert_eq!(violations.visible_ascii("c", "\u{4e2d}".to_owned(), 1..=5), None);
        let Err(ServiceError::Invalid(found)) = violations.finish(Some(())) else {
            panic!("not refused")
        };
        let fields: Vec<_> = found.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["a", "b", "c"]);
        assert_eq!(found[0].description, "must be 1 to 5, but is 0");

        let mut violations = Violations::default();
        for _ in 0..1_000 {
            violations.note("x", "y");
        }
        let Err(ServiceError::Invalid(found)) = violations.finish::<()>(None) else {
            panic!("not refused")
        };
        assert_eq!(found.len(), VIOLATIONS_MAX);
    }

    #[test]
    fn characters_are_counted_not_bytes() {
        let mut violations = Violations::default();
        let name = "\u{4e2d}".repeat(5);
        assert_eq!(violations.text("a", name.clone(), 1..=5), Some(name));
        assert!(violations.finish(Some(())).is_ok());
    }
}
