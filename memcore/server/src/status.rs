//! The one place where errors become gRPC statuses.
//!
//! Every failed call carries one `ErrorInfo` with domain `memalpha`; what may succeed later carries `RetryInfo`
//! too. Texts are cut so that a status always fits into a client's header limit.

use std::collections::HashMap;
use std::time::Duration;

use memcore_engine::{Error, ErrorKind};
use tonic::body::Body;
use tonic::codegen::http::Response;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::MAX_MESSAGE_BYTES;

const DOMAIN: &str = "memalpha";
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// Clients refuse headers of more than 8 KiB in all.
const MAX_TEXT_BYTES: usize = 1024;
const MAX_VALUE_BYTES: usize = 256;

/// The status of an engine's error.
pub fn status(error: &Error) -> Status {
    let metadata: HashMap<_, _> = error
        .metadata
        .iter()
        .map(|(key, value)| ((*key).to_owned(), cut(value, MAX_VALUE_BYTES).to_owned()))
        .collect();
    let mut details = ErrorDetails::with_error_info(error.reason, DOMAIN, metadata);
    if error.kind == ErrorKind::Busy {
        details.set_retry_info(Some(RETRY_DELAY));
    }
    Status::with_error_details(code(error), cut(&error.message, MAX_TEXT_BYTES), details)
}

fn code(error: &Error) -> Code {
    match error.kind {
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::InvalidInput => Code::InvalidArgument,
        ErrorKind::Conflict => Code::Aborted,
        ErrorKind::OutOfRange => Code::OutOfRange,
        ErrorKind::Unsupported => Code::FailedPrecondition,
        // Clients retry UNAVAILABLE by themselves; a full disk or queue is not helped by that.
        ErrorKind::Busy => match error.reason {
            "OVERLOADED" | "DISK_FULL" => Code::ResourceExhausted,
            _ => Code::Unavailable,
        },
        ErrorKind::Corruption => Code::DataLoss,
        ErrorKind::Internal => Code::Internal,
    }
}

/// A bug: what the caller gets says so and nothing else.
pub fn panicked() -> Status {
    status(&Error::internal("the service failed while it worked on this call; its log says why"))
}

/// The caller's deadline came first.
pub fn too_late(budget: Duration) -> Status {
    let message =
        format!("no reply within the caller's deadline ({budget:?} were left); a write may have happened");
    transport(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", message)
}

/// A reply that no client would accept.
pub fn reply_too_large(bytes: usize) -> Status {
    let message = format!(
        "the reply must be at most {MAX_MESSAGE_BYTES} bytes, got {bytes}; ask for a smaller page or limit"
    );
    transport(Code::OutOfRange, "MESSAGE_TOO_LARGE", message)
}

/// Gives a reason to what tonic refuses before a call reaches the service.
pub fn explain(response: Response<Body>) -> Response<Body> {
    let Some(refused) = Status::from_header_map(response.headers()) else {
        return response;
    };
    if !refused.details().is_empty() {
        return response;
    }
    let (code, reason) = match refused.code() {
        Code::Internal => (Code::InvalidArgument, "MALFORMED_REQUEST"),
        Code::OutOfRange => (Code::OutOfRange, "MESSAGE_TOO_LARGE"),
        Code::Unimplemented if refused.message().is_empty() => (Code::Unimplemented, "UNKNOWN_METHOD"),
        Code::Unimplemented => (Code::Unimplemented, "UNSUPPORTED_ENCODING"),
        _ => return response,
    };
    let message = match reason {
        "UNKNOWN_METHOD" => "no such method; this server has MemoryService and Health".to_owned(),
        _ => refused.message().to_owned(),
    };
    transport(code, reason, message).into_http()
}

fn transport(code: Code, reason: &str, message: String) -> Status {
    let details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
    Status::with_error_details(code, cut(&message, MAX_TEXT_BYTES), details)
}

fn cut(text: &str, max_bytes: usize) -> &str {
    let fits = |at: &usize| text.is_char_boundary(*at);
    let end = (0..=max_bytes.min(text.len())).rev().find(fits);
    &text[..end.unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: ErrorKind, reason: &'static str) -> Status {
        status(&Error::new(kind, reason, "why").with("bank_id", "b1"))
    }

    #[test]
    fn every_kind_has_its_code() {
        let expected = [
            (ErrorKind::NotFound, Code::NotFound),
            (ErrorKind::AlreadyExists, Code::AlreadyExists),
            (ErrorKind::InvalidInput, Code::InvalidArgument),
            (ErrorKind::Conflict, Code::Aborted),
            (ErrorKind::OutOfRange, Code::OutOfRange),
            (ErrorKind::Unsupported, Code::FailedPrecondition),
            (ErrorKind::Busy, Code::Unavailable),
            (ErrorKind::Corruption, Code::DataLoss),
            (ErrorKind::Internal, Code::Internal),
        ];
        for (kind, code) in expected {
            assert_eq!(of(kind, "R").code(), code, "{kind:?}");
        }
    }

    #[test]
    fn a_status_carries_reason_domain_and_the_messages_variables() {
        let status = of(ErrorKind::NotFound, "BANK_NOT_FOUND");
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("BANK_NOT_FOUND", "memalpha"));
        assert_eq!(info.metadata["bank_id"], "b1");
        assert!(status.get_details_retry_info().is_none());
    }

    #[test]
    fn an_overloaded_service_says_when_to_try_again() {
        let status = of(ErrorKind::Busy, "OVERLOADED");
        assert_eq!(status.code(), Code::ResourceExhausted);
        let retry = status.get_details_retry_info().unwrap();
        assert_eq!(retry.retry_delay, Some(Duration::from_millis(500)));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let error = Error::internal("\u{e9}".repeat(1000)).with("value", "x".repeat(300));
        let status = status(&error);
        // 1024 bytes hold 512 two-byte characters.
        assert_eq!(status.message(), "\u{e9}".repeat(512));
        let info = status.get_details_error_info().unwrap();
        assert_eq!(info.metadata["value"], "x".repeat(256));
    }

    #[test]
    fn what_tonic_refuses_gets_a_reason_and_the_callers_fault_a_callers_code() {
        let refused = [
            (Status::internal("failed to decode"), Code::InvalidArgument, "MALFORMED_REQUEST"),
            (Status::out_of_range("too large"), Code::OutOfRange, "MESSAGE_TOO_LARGE"),
            (Status::unimplemented(""), Code::Unimplemented, "UNKNOWN_METHOD"),
            (Status::unimplemented("gzip"), Code::Unimplemented, "UNSUPPORTED_ENCODING"),
        ];
        for (status, code, reason) in refused {
            let explained = explain(status.into_http());
            let status = Status::from_header_map(explained.headers()).unwrap();
            assert_eq!(status.code(), code);
            assert_eq!(status.get_details_error_info().unwrap().reason, reason);
        }
    }

    #[test]
    fn a_status_with_details_stays_as_it_is() {
        let explained = explain(panicked().into_http());
        let status = Status::from_header_map(explained.headers()).unwrap();
        assert_eq!(status.code(), Code::Internal);
        assert_eq!(status.get_details_error_info().unwrap().reason, "INTERNAL");
    }
}
