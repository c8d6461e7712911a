//! The benchmark, and the parts of it that run as processes of their own.

use clap::Parser as _;

use crate::options::Options;
use crate::{client, measure, servers, stopwatch};

/// This program as something else than the benchmark.
#[derive(Debug, clap::Parser)]
enum Part {
    Serve(servers::Arguments),
    Stopwatch(stopwatch::Arguments),
    Client(client::Arguments),
}

pub fn main() {
    let first = std::env::args().nth(1).unwrap_or_default();
    if !["serve", "stopwatch", "client"].contains(&first.as_str()) {
        return measure::all(&Options::parse());
    }
    match Part::parse() {
        Part::Serve(arguments) => servers::serve(arguments),
        Part::Stopwatch(arguments) => stopwatch::run(&arguments),
        Part::Client(arguments) => client::run(&arguments),
    }
}
