//! The memory service as it is in the wheel, made to crash.
//!
//! It serves a directory over gRPC until it is killed: from outside, or by itself at a crash point. Started again
//! on the same directory and address, it must have everything it acknowledged. Prints `ready ADDRESS` once it
//! serves.

mod args;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use memcore_engine::{OpenOptions, Result, Store, sim};
use memcore_server::{ServeOptions, ServerHandle, serve};

use args::{Args, Command, Disk, Fault};

fn main() -> ExitCode {
    match args::parse() {
        Ok(Command::Points(Disk::Real)) => say(&sim::POINTS[..sim::POINTS_ON_ANY_DISK].join("\n")),
        Ok(Command::Points(Disk::Unsynced | Disk::Torn)) => say(&sim::POINTS.join("\n")),
        Ok(Command::Serve(args)) => match start(&args) {
            Ok(server) => run(&server),
            Err(error) => fail(1, &error.message),
        },
        Err(error) => fail(2, &format!("{error}\n{}", args::USAGE)),
    }
}

fn say(line: &str) -> ExitCode {
    match writeln!(std::io::stdout(), "{line}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &format!("cannot write to standard output: {error}")),
    }
}

fn fail(status: u8, message: &str) -> ExitCode {
    // Without a standard error there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "memcore-sim: {message}");
    ExitCode::from(status)
}

fn start(args: &Args) -> Result<ServerHandle> {
    let vfs = match args.disk {
        Disk::Real => None,
        Disk::Unsynced | Disk::Torn => {
            sim::register()?;
            Some(sim::UNSYNCED.to_owned())
        }
    };
    if args.disk == Disk::Torn {
        sim::tear(args.seed);
    }
    if let Some(crash) = args.crash {
        sim::arm(crash, args.linger);
    }
    if args.fault == Some(Fault::ReplyBeforeCommit) {
        sim::plant_early_replies();
    }
    let options = OpenOptions {
        checkpoint_bytes: args.checkpoint_bytes,
        seal_from: args.seal_from,
        vfs,
        never_sync: args.fault == Some(Fault::NeverSync),
        ..OpenOptions::default()
    };
    let store = Store::open(Path::new(&args.data), options)?;
    serve(store, &ServeOptions { address: args.address.clone(), ..ServeOptions::default() })
}

fn run(server: &ServerHandle) -> ExitCode {
    let said = say(&format!("ready {}", server.address()));
    if said == ExitCode::SUCCESS {
        while !server.wait(Duration::from_secs(3600)) {}
    }
    said
}
