//! Real web servers with the lines that the docs show: what visitors see is what counts.

use std::os::unix::fs::PermissionsExt as _;

use super::bed::Bed;
use crate::support::web_server::WebServer;

const DOCS: &str = include_str!("../../../docs/git-site.md");

/// The lines of the docs for a web server, for this checkout.
fn shown(server: &str, bed: &Bed) -> String {
    let lines = DOCS.split(&format!("```{server}\n")).nth(1).unwrap().split("```").next().unwrap();
    assert!(lines.contains("/srv/mysite"), "{lines}");
    lines.replace("/srv/mysite", bed.home("").to_str().unwrap()).replace("127.0.0.1:8000", "127.0.0.1:{application}")
}

/// The folders above a checkout are the fixture's own.
fn let_in(bed: &Bed) {
    for folder in bed.home("").ancestors().take_while(|folder| folder.starts_with(std::env::temp_dir())).skip(1) {
        if folder != std::env::temp_dir() {
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
}

#[test]
fn the_lines_of_the_docs_turn_every_visitor_away() {
    for kind in ["nginx", "apache"] {
        let bed = Bed::start("");
        let_in(&bed);
        let lines = shown(kind, &bed);
        let server = if kind == "nginx" { WebServer::nginx(&lines) } else { WebServer::apache(&lines) };
        bed.write_var(&format!("url = \"{}\"", server.url()));
        for method in ["GET", "POST", "PUT"] {
            let answer = server.ask(method, "any/page");
            assert!(!answer.contains(" 503 "), "{kind} {method}: {answer}");
        }
        assert!(server.ask("GET", "").contains("works"));
        bed.ends(0, &["maintenance-on"]);
        for (method, path) in [("GET", ""), ("POST", ""), ("PUT", "any/page"), ("GET", "index.html?x=1")] {
            let answer = server.ask(method, path);
            assert!(
                answer.contains(" 503 ") && answer.contains("Retry-After: 600"),
                "{kind} {method} {path}: {answer}"
            );
            assert!(answer.contains("Closed for maintenance"), "{answer}");
        }
        bed.ends(0, &["maintenance-off"]);
        assert!(server.ask("GET", "").contains("works"));
        // A release that migrates: seen closed, seen open.
        bed.write_var("migrate = \"true\"\nbackup = \"echo x >$BACKUP/x\"\nrestore = \"true\"");
        bed.ends(0, &["deploy"]);
        assert_eq!(bed.head(), bed.two);
    }
}

/// It was found by nobody, or by a site that was open while its database changed.
#[test]
fn a_web_server_that_does_not_know_the_maintenance_file_stops_the_deployment_before_anything_changes() {
    let server = WebServer::nginx("location / { proxy_pass http://127.0.0.1:{application}; }");
    let vars = "migrate = \"echo migrated >../migrated\"\nbackup = \"echo x >$BACKUP/x\"\nrestore = \"true\"\n";
    let bed = Bed::start(&format!("{vars}url = \"{}\"", server.url()));
    let said = bed.ends(10, &["deploy"]);
    assert!(
        said.contains("answers a GET with 200: visitors are not turned away") && said.contains("rolled back"),
        "{said}"
    );
    assert!(said.contains("docs/git-site.md"), "{said}");
    bed.is_as_before();
    assert!(!bed["web1"].home().join("migrated").exists());
    // Nor is a site open that answers nothing good.
    let broken = WebServer::nginx("location / { return 500; }");
    bed.write_site(|site| site.replace(&server.url(), &broken.url()).replace("migrate = ", "# migrate = "));
    let said = bed.ends(10, &["deploy"]);
    assert!(said.contains("the site is open, but") && said.contains("answers 500"), "{said}");
    bed.is_as_before();
    // An address that nobody answers.
    bed.write_site(|site| site.replace(&broken.url(), "http://127.0.0.1:1/"));
    bed.ends(10, &["deploy"]);
    bed.is_as_before();
}
