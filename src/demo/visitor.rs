//! Somebody who reads the demo's site over HTTP, before, after and while it is upgraded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The page, by this release.
    Release(String),
    /// The maintenance page: status 503, and when to come back.
    Closed,
    /// No server listens.
    Nobody,
    /// Anything else: what no visitor may ever see.
    Broken(String),
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Release(release) => write!(f, "release {release}"),
            Self::Closed => f.write_str("closed"),
            Self::Nobody => f.write_str("no server"),
            Self::Broken(text) => write!(f, "an error: {text}"),
        }
    }
}

pub(super) struct Visit {
    pub(super) answer: Answer,
    pub(super) notes: Vec<String>,
}

/// Asks the site in a host's login folder for its page.
pub(super) async fn visit(home: &Path) -> Visit {
    let page = match tokio::time::timeout(Duration::from_secs(15), get(home)).await {
        Ok(Ok(page)) => page,
        Ok(Err(_)) => return Visit { answer: Answer::Nobody, notes: Vec::new() },
        Err(_) => return Visit { answer: Answer::Broken("no answer in 15 s".to_owned()), notes: Vec::new() },
    };
    let between = |start: &str, end: &str| Some(page.split_once(start)?.1.split_once(end)?.0.to_owned());
    let status = page.split(' ').nth(1).unwrap_or_default();
    let answer = match status {
        "200" => between("<p>release ", "</p>").map(Answer::Release),
        "503" if page.contains("\r\nRetry-After: ") => Some(Answer::Closed),
        _ => None,
    };
    let answer =
        answer.unwrap_or_else(|| Answer::Broken(format!("{status} {}", between("<p>", "</p>").unwrap_or_default())));
    let notes = page.split("<li>").skip(1).filter_map(|item| Some(item.split_once("</li>")?.0.to_owned())).collect();
    Visit { answer, notes }
}

async fn get(home: &Path) -> std::io::Result<String> {
    // The kernel picked the port, and may pick another one when the server is restarted.
    let port = std::fs::read_to_string(home.join("run/port"))?;
    let mut stream = TcpStream::connect(format!("127.0.0.1:{}", port.trim())).await?;
    stream.write_all(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n").await?;
    let mut page = Vec::new();
    stream.read_to_end(&mut page).await?;
    if page.is_empty() {
        return Err(std::io::ErrorKind::ConnectionReset.into());
    }
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// What a visitor saw, in order, without repetition.
type Seen = Arc<Mutex<Vec<Answer>>>;

/// Visitors who ask hosts again and again.
pub(super) struct Watch {
    seen: BTreeMap<&'static str, (PathBuf, Seen)>,
    visitors: JoinSet<()>,
}

impl Watch {
    /// Sends a visitor to each host.
    pub(super) fn start(hosts: impl IntoIterator<Item = (&'static str, PathBuf)>) -> Self {
        let mut watch = Self { seen: BTreeMap::new(), visitors: JoinSet::new() };
        for (host, home) in hosts {
            let seen = Seen::default();
            watch.seen.insert(host, (home.clone(), Arc::clone(&seen)));
            watch.visitors.spawn(async move {
                let mut clock = tokio::time::interval(Duration::from_millis(20));
                loop {
                    clock.tick().await;
                    add(&seen, visit(&home).await.answer);
                }
            });
        }
        watch
    }

    /// Calls the visitors back after a last look. What each saw, in order, without repetition.
    pub(super) async fn stop(mut self) -> BTreeMap<&'static str, Vec<Answer>> {
        self.visitors.shutdown().await;
        let mut answers = BTreeMap::new();
        for (host, (home, seen)) in self.seen {
            add(&seen, visit(&home).await.answer);
            answers.insert(host, std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner)));
        }
        answers
    }
}

fn add(seen: &Mutex<Vec<Answer>>, answer: Answer) {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    if seen.last() != Some(&answer) {
        seen.push(answer);
    }
}
