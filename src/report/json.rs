//! One JSON event a line, and nothing else: what `--json` writes to standard output.

use std::io::{self, Write};

use super::reporter::Reporter;
use crate::model::run::event::Event;
use crate::model::run::summary::Summary;

/// Writes events as JSON lines, each flushed, so that a reader sees it when it happens.
pub struct Json<W> {
    out: W,
}

impl<W: Write> Json<W> {
    pub fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write + Send> Reporter for Json<W> {
    fn name(&self) -> &'static str {
        "json"
    }

    fn report(&mut self, event: &Event, _: &Summary) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.out.write_all(&line)?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::run::scripted::rolling_deployment;

    #[test]
    fn every_event_is_one_line_that_reads_back() {
        let events = rolling_deployment();
        let mut out = Vec::new();
        let mut json = Json::new(&mut out);
        for event in &events {
            json.report(event, &Summary::default()).unwrap();
        }
        let text = String::from_utf8(out).unwrap();
        let read: Vec<Event> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, events);
        insta::assert_snapshot!(text.lines().next().unwrap(), @r#"{"v":3,"at":"2026-11-22T08:45:12.123Z","run":"20261122-084512-7f3a","event":"run-started","sites":["mysite"],"task":"deploy","hosts":["web1","web2","web3","web4","web5"],"by":"alice@desk"}"#);
    }
}
