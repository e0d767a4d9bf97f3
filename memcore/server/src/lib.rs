//! Two doors to one engine: gRPC, and a function call that takes the same bytes.
//!
//! Every RPC is one pure function in `service`; both doors decode, call it and encode, so they cannot differ.
//! Whatever the engine's own types cannot hold (negative counts, unset enums, page tokens) is refused in
//! `convert` and `page`; every other rule is the engine's.

#[allow(clippy::all)]
#[rustfmt::skip]
#[path = "api/memalpha.api.memory.v1alpha1.rs"]
pub mod api;

mod convert;
mod deadline;
mod dispatch;
mod gate;
mod grpc;
mod page;
mod serve;
mod service;
mod status;

pub use dispatch::call;
pub use serve::{MAX_IN_FLIGHT, MAX_WAITING, ServeOptions, ServerHandle, serve};

/// Most bytes of one request or reply on the wire.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;
