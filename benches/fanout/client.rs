//! The floor: a client of russh that connects, logs in, runs commands one after the other and reads what they print. It does what any
//! client must, the host key's check included, and nothing else.

use std::fs::File;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use futures::StreamExt as _;
use russh::client::{Config, Handler, connect_stream};
use russh::keys::{
    PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate, load_public_key, load_secret_key,
};
use russh::{ChannelMsg, Disconnect, Error};
use tokio::io::BufReader;
use tokio::net::TcpStream;

use crate::algorithms::algorithms;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A file with an address a line.
    #[arg(long)]
    hosts: PathBuf,
    #[arg(long)]
    port: u16,
    #[arg(long)]
    user: String,
    #[arg(long)]
    key: PathBuf,
    #[arg(long)]
    host_key: PathBuf,
    /// Hosts at a time.
    #[arg(long)]
    parallel: usize,
    /// How often the command is run.
    #[arg(long)]
    steps: usize,
    /// Folder for a file of output a host.
    #[arg(long)]
    output: Option<PathBuf>,
    command: String,
}

struct Client<'a> {
    arguments: &'a Arguments,
    key: Arc<PrivateKey>,
    host_key: PublicKey,
    config: Arc<Config>,
}

struct Pinned(PublicKey);

impl Handler for Pinned {
    type Error = Error;

    async fn check_server_key(&mut self, offered: &PublicKeyOrCertificate) -> Result<bool, Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = offered else { return Ok(false) };
        Ok(key.key_data() == self.0.key_data())
    }
}

pub fn run(arguments: &Arguments) {
    let hosts = std::fs::read_to_string(&arguments.hosts).unwrap();
    let hosts: Vec<Ipv4Addr> = hosts.lines().map(|host| host.parse().unwrap()).collect();
    // As fleet has them, but for what only a long or a broken run needs.
    let config =
        Config { window_size: 16 << 20, inactivity_timeout: None, preferred: algorithms(), ..Config::default() };
    let client = Client {
        arguments,
        key: Arc::new(load_secret_key(&arguments.key, None).unwrap()),
        host_key: load_public_key(&arguments.host_key).unwrap(),
        config: Arc::new(config),
    };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let talks = hosts.into_iter().map(|host| client.talk(host));
        futures::stream::iter(talks).buffer_unordered(arguments.parallel).collect::<Vec<()>>().await;
    });
}

impl Client<'_> {
    async fn talk(&self, host: Ipv4Addr) {
        let Arguments { port, user, steps, output, command, .. } = self.arguments;
        let socket = TcpStream::connect((host, *port)).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let stream = BufReader::with_capacity(16 << 10, socket);
        let pinned = Pinned(self.host_key.clone());
        let mut handle = connect_stream(Arc::clone(&self.config), stream, pinned).await.unwrap();
        let key = PrivateKeyWithHashAlg::new(Arc::clone(&self.key), None);
        assert!(handle.authenticate_publickey(user, key).await.unwrap().success(), "{host}: no login");
        let mut file = output.as_ref().map(|folder| File::create(folder.join(host.to_string())).unwrap());
        for _ in 0..*steps {
            let mut channel = handle.channel_open_session().await.unwrap();
            channel.exec(true, command.as_str()).await.unwrap();
            let mut status = None;
            while let Some(message) = channel.wait().await {
                match message {
                    ChannelMsg::Data { data } => {
                        if let Some(file) = &mut file {
                            file.write_all(&data).unwrap();
                        }
                    }
                    ChannelMsg::ExitStatus { exit_status } => status = Some(exit_status),
                    _ => {}
                }
            }
            assert_eq!(status, Some(0), "{host}: {command}");
        }
        handle.disconnect(Disconnect::ByApplication, "", "").await.unwrap();
    }
}
