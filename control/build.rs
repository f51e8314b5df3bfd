//! Compiles the gRPC contract with `protox`, so that no protoc needs to be installed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const FILES: [&str; 3] = ["metadata.proto", "coordination.proto", "fleet.proto"];
    for file in FILES {
        println!("cargo:rerun-if-changed=proto/{file}");
    }
    let descriptors = protox::compile(FILES, ["proto"])?;
    tonic_prost_build::configure()
        .btree_map(".")
        .skip_debug([
            ".flotilla.metadata.v1.RenewDelegationToken",
            ".flotilla.metadata.v1.ExpireDelegationToken",
        ])
        .compile_fds(descriptors)?;
    Ok(())
}
