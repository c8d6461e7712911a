//! How many connections to one server wait for a login at the same time.

use std::net::TcpListener;

use fleet::remote::Connect as _;
use fleet::ssh::Credentials;

use super::{connector, endpoint, web1};

#[tokio::test]
async fn a_server_sees_no_more_than_eight_connections_without_a_login() {
    let crowded = TcpListener::bind("127.0.0.1:0").unwrap();
    crowded.set_nonblocking(true).unwrap();
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = |address: std::io::Result<std::net::SocketAddr>| address.unwrap().port();
    let (crowded_port, other_port) = (port(crowded.local_addr()), port(other.local_addr()));
    let connector = connector("", Credentials::default());
    let hosts: Vec<_> = std::iter::repeat_n(crowded_port, 25).chain([other_port]).map(endpoint).collect();
    let server = async move {
        // The one that is called last: whoever was called before it has got all of his calls.
        let last = other.accept().await.unwrap();
        let mut calls = Vec::new();
        while let Ok((call, _)) = crowded.accept() {
            calls.push(call);
        }
        assert_eq!(calls.len(), 8);
        drop((crowded, last));
    };
    let label = web1();
    let (ends, ()) =
        tokio::join!(futures::future::join_all(hosts.iter().map(|host| connector.connect(&label, host))), server);
    assert!(ends.iter().all(Result::is_err));
}
