//! Writes `memcore/server/src/api` from `proto/`, without a system protoc. Run by `just proto`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let descriptors = protox::compile(["memalpha/api/memory/v1alpha1/memory_service.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .build_client(true)
        .btree_map(".")
        .out_dir("memcore/server/src/api")
        .compile_fds(descriptors)?;
    Ok(())
}
