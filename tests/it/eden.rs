//! The built-in recipe `eden`, through the binary: a real web2py with the application of `eden/app`, on `PostgreSQL` and `SQLite`, behind a real
//! Apache with `mod_wsgi`, deployed from Test to Production over a real `sshd`. [`bed::Bed`] has them.

mod back;
mod bed;
mod cron;
mod deploying;
mod failures;
mod fixes;
mod preview;
mod scheduler;
mod site;
mod visitors;

use site::Database;

use crate::support::project::Project;

const DATABASES: [Database; 2] = [Database::Sqlite, Database::Postgres];

#[test]
fn all_files_of_the_recipe_are_in_the_binary() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/recipes/eden");
    let built_in = include_str!("../../src/cli/context.rs");
    for file in std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()) {
        assert!(file.starts_with("__") || built_in.contains(&format!("\"{file}\"")), "{file} is not built in");
    }
}

#[test]
fn tasks_begins_with_what_a_person_types_first() {
    let project = Project::new();
    let vars = "[vars]\nweb2py = \"/home/prod\"\nurl = \"https://example.org/\"";
    let hosts = "[[host]]\nname = \"web1\"\nroles = [\"web\", \"db\"]\n";
    project.write("hosts/mysite.toml", format!("recipe = \"eden\"\n{vars}\n{hosts}"));
    let said = project.fleet(&["tasks", "mysite"]).expect_code(0).stdout;
    let place = |task: &str| said.find(&format!("\n{task}  ")).unwrap_or_else(|| panic!("no {task} in {said}"));
    let places = ["preview", "deploy", "rollback", "restore", "check"].map(place);
    assert!(places.is_sorted(), "{said}");
}
