//! The caller's deadline, as gRPC sends it.
//!
//! tonic has a timer of its own, but answers CANCELLED. Ours runs out a little earlier and says what happened.

use std::time::Duration;

use tonic::metadata::MetadataMap;

const HEADER: &str = "grpc-timeout";
const MAX_DIGITS: usize = 8;
/// How much earlier than the caller's clock ours runs out, so that the answer still arrives.
const MARGIN: Duration = Duration::from_millis(5);

/// Time left for the work, or `None` without a deadline. An unreadable header counts as none, as in tonic.
pub fn budget(metadata: &MetadataMap) -> Option<Duration> {
    let timeout = parse(metadata.get(HEADER)?.to_str().ok()?)?;
    Some(timeout - MARGIN.min(timeout / 2))
}

/// Reads a `TimeoutValue` and `TimeoutUnit` of the gRPC wire protocol, such as `250m`.
fn parse(header: &str) -> Option<Duration> {
    let (digits, unit) = header.split_at_checked(header.len().checked_sub(1)?)?;
    if digits.len() > MAX_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value * 3600)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_of_the_wire_protocol_is_read() {
        assert_eq!(parse("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(parse("3M"), Some(Duration::from_secs(180)));
        assert_eq!(parse("4S"), Some(Duration::from_secs(4)));
        assert_eq!(parse("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse("6u"), Some(Duration::from_micros(6)));
        assert_eq!(parse("99999999n"), Some(Duration::from_nanos(99_999_999)));
    }

    #[test]
    fn what_is_no_timeout_is_none() {
        for header in ["", "m", "+1m", "1x", "123456789S", "1\u{e9}"] {
            assert_eq!(parse(header), None, "{header}");
        }
    }

    #[test]
    fn the_budget_ends_before_the_callers_deadline() {
        let mut metadata = MetadataMap::new();
        assert_eq!(budget(&metadata), None);
        metadata.insert(HEADER, "100m".parse().unwrap());
        assert_eq!(budget(&metadata), Some(Duration::from_millis(95)));
        metadata.insert(HEADER, "4m".parse().unwrap());
        assert_eq!(budget(&metadata), Some(Duration::from_millis(2)));
    }
}
