//! Visitors of a busy site: 200 or 503, never a refused connection or an error.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};

use super::bed::{Bed, PRODUCTION};
use super::site::{ByHand as _, Database};

/// The status of an answer, or how the request failed.
fn ask(address: &str, method: &str) -> String {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(std::time::Duration::from_secs(60)))?;
        let head = "Host: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        write!(stream, "{method} /eden/pr/person HTTP/1.1\r\n{head}")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer);
        let retry = answer.contains("Retry-After: ");
        let status = answer.split_whitespace().nth(1).unwrap_or("nothing").to_owned();
        Ok(if status == "503" && !retry { "503 without Retry-After".to_owned() } else { status })
    };
    ask().unwrap_or_else(|error| error.kind().to_string())
}

#[test]
fn a_busy_site_refuses_nobody_while_it_closes_reloads_and_opens() {
    let bed = Bed::alone(Database::Sqlite);
    let url = bed.site(PRODUCTION).apache.url();
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let done = AtomicBool::new(false);
    let counts = std::thread::scope(|scope| {
        let visit = |method: &'static str| {
            let done = &done;
            scope.spawn(move || {
                let mut counts = BTreeMap::<String, usize>::new();
                while !done.load(Ordering::Relaxed) {
                    *counts.entry(ask(address, method)).or_default() += 1;
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
                counts
            })
        };
        let visitors = [visit("GET"), visit("GET"), visit("POST")];
        let ended: Vec<_> =
            [&["maintenance-on"][..], &["maintenance-off"], &["restart"], &["deploy", "-e", "revision=add"]]
                .into_iter()
                .map(|task| bed.run(&[&[PRODUCTION], task].concat()))
                .collect();
        done.store(true, Ordering::Relaxed);
        let mut counts = BTreeMap::<String, usize>::new();
        for visitor in visitors {
            for (answer, count) in visitor.join().unwrap() {
                *counts.entry(answer).or_default() += count;
            }
        }
        for output in ended {
            output.expect_code(0);
        }
        counts
    });
    assert!(counts.keys().eq(["200", "503"]), "{counts:?}");
    assert!(counts.values().all(|count| *count > 10), "{counts:?}");
    assert_eq!(std::fs::read_dir(bed.site(PRODUCTION).home("errors")).unwrap().count(), 0, "tickets");
}

/// The old page's maintenance answers 200, to a POST, too; a web server that knows nothing of the file answers anything.
#[test]
fn a_web_server_without_the_lines_of_the_docs_is_found_before_anything_changes() {
    let bed = Bed::alone(Database::Sqlite);
    let before = bed.state(PRODUCTION);
    bed.write_vars(PRODUCTION, "maintenance = \"elsewhere.flag\"");
    let said = bed.deploy(PRODUCTION, "add").expect_code(10).all();
    assert!(said.contains("visitors are not turned away") && said.contains("rolled back"), "{said}");
    assert_eq!(bed.state(PRODUCTION), before);
}
