//! A web server of its own before a site: nginx or Apache on a loopback port, with lines of a configuration; gone on drop.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use super::process::{run, signal, wait_for};
use super::tools::{PATH, tool};
use super::{files, user};

#[derive(Debug)]
pub struct WebServer {
    /// Configuration, logs, and what Apache serves.
    folder: TempDir,
    port: u16,
    servers: Vec<Child>,
}

impl WebServer {
    /// nginx with these lines in its `server`. `{application}` in them is the port of an application that answers `works`.
    pub fn nginx(lines: &str) -> Self {
        let mut server = Self::new();
        let application = free_port();
        let serve = ["-m", "http.server", "--bind", "127.0.0.1", "--directory", server.path("pages").to_str().unwrap()]
            .map(str::to_owned);
        server.start(Command::new(tool("python3")).args(serve).arg(application.to_string()));
        wait_for("the application", || std::net::TcpStream::connect(("127.0.0.1", application)).ok());
        let (folder, port) = (server.folder.path().display(), server.port);
        let as_root = if user::is_root() { "user root;" } else { "" };
        let lines = lines.replace("{application}", &application.to_string());
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"))
            .concat();
        let config = format!(
            "{as_root} daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n\
             http {{ access_log off; {temporary} server {{ listen 127.0.0.1:{port};\n{lines}\n}} }}\n"
        );
        files::write(&server.path("nginx.conf"), config, 0o644);
        server.start(
            Command::new(tool("nginx"))
                .arg("-e")
                .arg(server.path("error.log"))
                .arg("-c")
                .arg(server.path("nginx.conf")),
        );
        server.listens()
    }

    /// Apache with these lines in its `VirtualHost`.
    pub fn apache(lines: &str) -> Self {
        Self::apache_with(&[], lines)
    }

    /// The same with more modules: `wsgi`.
    pub fn apache_with(modules: &[&str], lines: &str) -> Self {
        let mut server = Self::new();
        let (folder, port) = (server.folder.path().display(), server.port);
        let own = ["mpm_event", "authz_core", "alias", "dir", "rewrite", "headers"];
        let mut loaded = String::new();
        for name in own.iter().chain(modules) {
            let file = format!("/usr/lib/apache2/modules/mod_{name}.so");
            let hint = "hint: ./tests/run installs what the tests need";
            assert!(Path::new(&file).exists(), "Apache has no module {name}\n{hint}");
            writeln!(loaded, "LoadModule {name}_module {file}").unwrap();
        }
        // Debian's Apache has another place for it, which the system's own server makes.
        let sockets =
            if modules.contains(&"wsgi") { format!("WSGISocketPrefix {folder}/wsgi\n") } else { String::new() };
        let config = format!(
            "{loaded}{sockets}ServerRoot {folder}\nServerName localhost\nListen 127.0.0.1:{port}\nPidFile {folder}/pid\nErrorLog {folder}/error.log\n\
             DefaultRuntimeDir {folder}\nMutex file:{folder}\nDocumentRoot {folder}/pages\nDirectoryIndex index.html\n\
             <Directory />\nRequire all granted\n</Directory>\n<VirtualHost 127.0.0.1:{port}>\n{lines}\n</VirtualHost>\n"
        );
        files::write(&server.path("apache.conf"), config, 0o644);
        server.start(Command::new(tool("apache2")).args(["-D", "FOREGROUND", "-f"]).arg(server.path("apache.conf")));
        server.listens()
    }

    fn new() -> Self {
        let server = Self { folder: tempfile::tempdir().unwrap(), port: free_port(), servers: Vec::new() };
        files::set_mode(server.folder.path(), 0o755);
        files::write(&server.path("pages/index.html"), "works\n", 0o644);
        server
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn start(&mut self, command: &mut Command) {
        command.env_clear().env("PATH", PATH).stdout(Stdio::null()).stderr(Stdio::null());
        self.servers.push(command.process_group(0).spawn().unwrap());
    }

    fn listens(self) -> Self {
        wait_for("the web server", || std::net::TcpStream::connect(("127.0.0.1", self.port)).ok());
        self
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Status and headers of an answer, and its text.
    pub fn ask(&self, method: &str, path: &str) -> String {
        let mut curl = Command::new(tool("curl"));
        curl.args(["-sS", "-i", "--max-time", "20", "-X", method]).arg(format!("{}{path}", self.url()));
        String::from_utf8(run(&mut curl).stdout).unwrap().replace('\r', "")
    }

    /// Does a log say this? For what a test waits for.
    pub fn log(&self) -> String {
        let log: &Path = &self.path("error.log");
        if log.exists() { files::read(log) } else { String::new() }
    }
}

/// A port that nobody has now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Drop for WebServer {
    fn drop(&mut self) {
        for server in &mut self.servers {
            signal(server.id(), Signal::TERM);
            let _ = server.wait();
        }
    }
}
