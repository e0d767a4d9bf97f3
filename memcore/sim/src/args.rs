//! The command line.

use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};
use memcore_engine::OpenOptions;
use memcore_engine::sim::Crash;

pub const USAGE: &str = "usage: memcore-sim points [--vfs real|unsynced|torn]
       memcore-sim serve --data DIR --address HOST:PORT
  [--crash-at POINT:N]   die by SIGKILL at the N-th time that POINT is reached
  [--linger MS]          stand still at the point before dying, so that other threads get on
  [--vfs real|unsynced|torn]
                         unsynced: the disk forgets what was not synced;
                         torn: some sectors of that survive a crash point
  [--seed S]             which sectors survive
  [--fault reply-before-commit|never-sync]
  [--checkpoint-bytes N] log size at which it is moved into the database
  [--seal-from N]        memories at which a part of a bank's index is sealed";

/// What the service stores its files on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    Real,
    Unsynced,
    Torn,
}

/// A bug planted on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    ReplyBeforeCommit,
    NeverSync,
}

#[derive(Debug)]
pub enum Command {
    /// Print the names of the crash points that a service on such a disk passes.
    Points(Disk),
    Serve(Args),
}

#[derive(Debug)]
pub struct Args {
    pub data: String,
    pub address: String,
    pub crash: Option<Crash>,
    pub linger: Duration,
    pub disk: Disk,
    pub seed: u64,
    pub fault: Option<Fault>,
    pub checkpoint_bytes: u64,
    pub seal_from: usize,
}

pub fn parse() -> Result<Command, lexopt::Error> {
    parse_from(Parser::from_env())
}

fn parse_from(mut parser: Parser) -> Result<Command, lexopt::Error> {
    match parser.next()? {
        Some(Arg::Value(command)) if command == "points" => match parser.next()? {
            None => Ok(Command::Points(Disk::Real)),
            Some(Arg::Long("vfs")) => parser.value()?.parse_with(disk).map(Command::Points),
            Some(other) => Err(other.unexpected()),
        },
        Some(Arg::Value(command)) if command == "serve" => serve(parser).map(Command::Serve),
        Some(other) => Err(other.unexpected()),
        None => Err("points or serve is needed".into()),
    }
}

fn serve(mut parser: Parser) -> Result<Args, lexopt::Error> {
    let mut args = Args {
        data: String::new(),
        address: String::new(),
        crash: None,
        linger: Duration::ZERO,
        disk: Disk::Real,
        seed: 0,
        fault: None,
        checkpoint_bytes: OpenOptions::default().checkpoint_bytes,
        seal_from: OpenOptions::default().seal_from,
    };
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("data") => args.data = parser.value()?.string()?,
            Arg::Long("address") => args.address = parser.value()?.string()?,
            Arg::Long("crash-at") => args.crash = Some(parser.value()?.parse()?),
            Arg::Long("linger") => args.linger = Duration::from_millis(parser.value()?.parse()?),
            Arg::Long("vfs") => args.disk = parser.value()?.parse_with(disk)?,
            Arg::Long("seed") => args.seed = parser.value()?.parse()?,
            Arg::Long("fault") => args.fault = Some(parser.value()?.parse_with(fault)?),
            Arg::Long("checkpoint-bytes") => args.checkpoint_bytes = parser.value()?.parse()?,
            Arg::Long("seal-from") => args.seal_from = parser.value()?.parse()?,
            other => return Err(other.unexpected()),
        }
    }
    match args.data.is_empty() || args.address.is_empty() {
        false => Ok(args),
        true => Err("--data and --address are needed".into()),
    }
}

fn disk(text: &str) -> Result<Disk, String> {
    match text {
        "real" => Ok(Disk::Real),
        "unsynced" => Ok(Disk::Unsynced),
        "torn" => Ok(Disk::Torn),
        _ => Err(format!("--vfs must be real, unsynced or torn, got {text:?}")),
    }
}

fn fault(text: &str) -> Result<Fault, String> {
    match text {
        "reply-before-commit" => Ok(Fault::ReplyBeforeCommit),
        "never-sync" => Ok(Fault::NeverSync),
        _ => Err(format!("--fault must be reply-before-commit or never-sync, got {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse_from(Parser::from_args(line.split(' '))).map_err(|error| error.to_string())
    }

    #[test]
    fn a_full_command_line_is_understood() {
        let command = parsed(
            "serve --data d --address 127.0.0.1:0 --crash-at before_commit:2 --linger 5 --vfs torn --seed 7 \
             --fault never-sync --checkpoint-bytes 1 --seal-from 4",
        )
        .unwrap();
        let Command::Serve(args) = command else { panic!("{command:?}") };
        assert_eq!((args.data.as_str(), args.address.as_str()), ("d", "127.0.0.1:0"));
        assert_eq!(args.crash.unwrap().to_string(), "before_commit:2");
        assert_eq!((args.linger, args.disk, args.seed), (Duration::from_millis(5), Disk::Torn, 7));
        assert_eq!((args.fault, args.checkpoint_bytes), (Some(Fault::NeverSync), 1));
        assert_eq!(args.seal_from, 4);
    }

    #[test]
    fn what_is_missing_or_unknown_is_named() {
        assert!(parsed("serve --data d").unwrap_err().contains("--address"));
        assert!(parsed("points --data d").unwrap_err().contains("--data"));
        assert!(parsed("dance").unwrap_err().contains("dance"));
        assert!(parsed("serve --data d --address a --vfs paper").unwrap_err().contains("\"paper\""));
        assert!(parsed("serve --data d --address a --fault gamma-ray").unwrap_err().contains("gamma-ray"));
        assert!(
            parsed("serve --data d --address a --crash-at after_lunch:1")
                .unwrap_err()
                .contains("after_lunch")
        );
        assert!(parsed("serve --data d --address a --speed 3").unwrap_err().contains("speed"));
    }
}
