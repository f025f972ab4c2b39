//! Delivery directives of a playlist request (rfc8216bis §6.2.5).

/// Delivery directives in the query of a playlist request, and whether the client wants parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Directives {
    /// `_HLS_msn`: the segment that the playlist must contain.
    pub(crate) msn: Option<u64>,
    /// `_HLS_part`: the part of that segment that the playlist must contain.
    pub(crate) part: Option<u32>,
    /// `_HLS_skip`: the client accepts a delta update.
    pub(crate) skip: bool,
    /// `_HLS_skip` comes before `_HLS_msn`. Only Video.js, up to 8.24 at least, writes the directives in that order.
    pub(crate) skip_first: bool,
    /// False for `low_latency=false`: the playlist leaves out parts.
    pub(crate) low_latency: bool,
}

impl Default for Directives {
    fn default() -> Self {
        Self { msn: None, part: None, skip: false, skip_first: false, low_latency: true }
    }
}

/// Reason why a query is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum BadDirective {
    /// `_HLS_msn` is not a number.
    #[error("_HLS_msn must be a whole number")]
    Msn,
    /// `_HLS_part` is not a number.
    #[error("_HLS_part must be a whole number")]
    Part,
    /// `_HLS_part` comes without `_HLS_msn`.
    #[error("_HLS_part needs _HLS_msn")]
    PartAlone,
    /// `_HLS_skip` is neither `YES` nor `v2`.
    #[error("_HLS_skip must be YES or v2")]
    Skip,
}

impl Directives {
    /// Parses a query. Unknown parameters are ignored.
    pub(crate) fn parse(query: &str) -> Result<Self, BadDirective> {
        let mut directives = Self::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "_HLS_msn" => {
                    directives.msn = Some(number(value).ok_or(BadDirective::Msn)?);
                    directives.skip_first = directives.skip;
                }
                "_HLS_part" => {
                    let part = number(value).and_then(|part| u32::try_from(part).ok());
                    directives.part = Some(part.ok_or(BadDirective::Part)?);
                }
                "_HLS_skip" if matches!(value, "YES" | "v2") => directives.skip = true,
                "_HLS_skip" => return Err(BadDirective::Skip),
                "low_latency" => directives.low_latency = value != "false",
                _ => {}
            }
        }
        match directives {
            Self { msn: None, part: Some(_), .. } => Err(BadDirective::PartAlone),
            directives => Ok(directives),
        }
    }
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_parsed() {
        assert_eq!(Directives::parse(""), Ok(Directives::default()));
        let all = Directives::parse("_HLS_msn=7&token=x&_HLS_part=2&_HLS_skip=v2&low_latency=false");
        assert_eq!(
            all,
            Ok(Directives { msn: Some(7), part: Some(2), skip: true, skip_first: false, low_latency: false })
        );
        let video_js = Directives::parse("_HLS_skip=YES&_HLS_msn=7&_HLS_part=2").expect("valid directives");
        assert!(video_js.skip_first);
        assert_eq!(Directives::parse("low_latency=true"), Ok(Directives::default()));
    }

    #[test]
    fn invalid_directives_are_reported_by_kind() {
        for (query, bad) in [
            ("_HLS_part=1", BadDirective::PartAlone),
            ("_HLS_msn=", BadDirective::Msn),
            ("_HLS_msn", BadDirective::Msn),
            ("_HLS_msn=-1", BadDirective::Msn),
            ("_HLS_msn=18446744073709551616", BadDirective::Msn),
            ("_HLS_msn=1&_HLS_part=x", BadDirective::Part),
            ("_HLS_msn=1&_HLS_part=4294967296", BadDirective::Part),
            ("_HLS_skip=no", BadDirective::Skip),
        ] {
            assert_eq!(Directives::parse(query), Err(bad), "{query:?}");
        }
    }
}
