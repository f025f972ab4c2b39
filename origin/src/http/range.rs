//! Byte ranges (RFC 9110 §14), one per request.

/// Range as requested.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Range {
    /// From the first to the last byte, both inclusive. The last may lie past the end.
    FromTo(u64, u64),
    /// The given number of bytes at the end.
    Last(u64),
}

impl Range {
    /// Parses a `Range` header. Returns `None` if it is not a single range of bytes; the answer is then the whole
    /// resource.
    pub(crate) fn parse(header: &str) -> Option<Self> {
        let (first, last) = header.trim().strip_prefix("bytes=")?.split_once('-')?;
        let (first, last) = (first.trim(), last.trim());
        if first.is_empty() {
            return Some(Self::Last(number(last)?));
        }
        let first = number(first)?;
        let last = if last.is_empty() { u64::MAX } else { number(last)? };
        (first <= last).then_some(Self::FromTo(first, last))
    }

    /// Returns the offset and length of this range within `total` bytes; `None` if it selects none of them.
    pub(crate) fn resolve(self, total: u64) -> Option<(u64, u64)> {
        match self {
            Self::FromTo(first, last) if first < total => {
                let end = last.saturating_add(1).min(total);
                Some((first, end.saturating_sub(first)))
            }
            Self::Last(n) if n > 0 && total > 0 => {
                let n = n.min(total);
                Some((total.saturating_sub(n), n))
            }
            _ => None,
        }
    }
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    // A number too big to parse lies past every end.
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_ranges_are_parsed() {
        assert_eq!(Range::parse("bytes=0-99"), Some(Range::FromTo(0, 99)));
        assert_eq!(Range::parse("bytes=5-"), Some(Range::FromTo(5, u64::MAX)));
        assert_eq!(Range::parse("bytes=-5"), Some(Range::Last(5)));
        for odd in ["", "bytes", "bytes=", "bytes=-", "bytes=2-1", "bytes=0-1,3-4", "items=0-1", "bytes=a-b"] {
            assert_eq!(Range::parse(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn ranges_are_clamped_to_the_total() {
        assert_eq!(Range::FromTo(0, 99).resolve(10), Some((0, 10)));
        assert_eq!(Range::FromTo(9, u64::MAX).resolve(10), Some((9, 1)));
        assert_eq!(Range::FromTo(10, 10).resolve(10), None);
        assert_eq!(Range::Last(3).resolve(10), Some((7, 3)));
        assert_eq!(Range::Last(30).resolve(10), Some((0, 10)));
        assert_eq!(Range::Last(0).resolve(10), None);
        assert_eq!(Range::Last(1).resolve(0), None);
    }
}
