//! Broken files of a project: everything wrong is told at once, with its place, and nothing is contacted.

use std::process::Command;

use crate::support::bystander::Bystander;
use crate::support::files;
use crate::support::process::run;
use crate::support::project::Project;
use crate::support::tools::tool;

/// One host, on this port.
fn site(head: &str, port: u16) -> String {
    format!("{head}\n[ssh]\nport = {port}\n[[host]]\nname = \"web1\"\naddress = \"127.0.0.1\"\n")
}

/// A project with the site `shop` of recipe `shop`.
fn shop(recipe: &str) -> (Project, Bystander) {
    let (project, bystander) = (Project::new(), Bystander::new());
    project.write("hosts/shop.toml", site("recipe = \"shop\"", bystander.port()));
    project.write("recipes/shop.toml", format!("[recipe]\ndoc = \"the shop\"\n{recipe}"));
    (project, bystander)
}

/// What `fleet check` says to one file in `hosts/`.
fn check(text: impl AsRef<[u8]>) -> String {
    let project = Project::new();
    project.write("hosts/shop.toml", text);
    let output = project.fleet(&["check"]).expect_code(3);
    assert_eq!(output.stdout, "");
    output.stderr
}

#[test]
fn everything_wrong_with_all_files_is_told_at_once() {
    let (project, bystander) = (Project::new(), Bystander::new());
    project.write("hosts/defaults.toml", format!("[ssh]\nusr = \"release\"\nport = {}\n", bystander.port()));
    project.write("hosts/list.toml", site("", 1));
    project.write(
        "hosts/shop.toml",
        "recipe = \"shp\"\nstage = \"prodction\"\nfollows = \"shop-tets\"\n[[host]]\nname = \"web[1-3]\"\naddress = \"192.0.2.[1-2]\"\n\
         [[host]]\nname = \"db\"\nadress = \"192.0.2.9\"\n[[host]]\nname = \"db\"\n",
    );
    project.write("hosts/shop-test.toml", "recipe = \"shop\"\n[[host]]\nname = \"web[001-999999999]\"\n");
    project.write("hosts/latin1.toml", b"[[host]]\nname = \"web1\"\nvars = { town = \"K\xf6ln\" }\n");
    project.write(
        "recipes/shop.toml",
        "[recipe]\ndoc = \"the shop\"\n[task.deploy]\ndoc = \"all\"\ntasks = [\"build\", \"restrt\"]\n[task.build]\ntasks = [\"deploy\"]\n\
         [[task.restart.step]]\nname = \"restart\"\nrum = \"service {{name}} restart\"\nundo = \"service {{name} stop\"\n",
    );
    project.write("recipes/other.toml", "[[task.go.step]]\nname = \"go\"\nscript = \"go.sh\"\n");
    project.write("recipes/go.sh", b"echo caf\xe9\n");
    let told = project.fleet(&["check"]).expect_code(3);
    insta::assert_snapshot!(told.snapshot());
    for args in [
        &["list"][..],
        &["tasks", "shop"],
        &["shop", "deploy", "--yes"],
        &["-n", "shop", "deploy"],
        &["shop", "trust", "--yes"],
        &["shop", "distribute-keys"],
    ] {
        let output = project.fleet(args).expect_code(3);
        assert_eq!((output.stdout.as_str(), &output.stderr), ("", &told.stderr));
    }
    bystander.expect_no_call();
}

#[test]
fn a_range_that_stands_for_millions_is_counted_and_not_expanded() {
    for (name, told) in [
        ("web[1-999999999]", "999999999 more hosts"),
        ("a[1-9999]b[1-9999]c[1-9999]", "more hosts; an inventory can have 100000"),
        ("web[0-99999999999999999999999999]", "is not a range such as `[1-20]`"),
    ] {
        let said = check(format!("[[host]]\nname = \"{name}\"\n"));
        assert!(said.contains(told) && said.contains("hosts/shop.toml:2:8"), "{said}");
    }
    let said = check("[[host]]\nname = \"web1\"\naddress = \"10.[0-255].[0-255].[0-255]\"\n");
    assert!(said.contains("hosts/shop.toml:3:11"), "{said}");
    let project = Project::new();
    project.write("hosts/shop.toml", site("", 1));
    for args in [&["shop:web[1-999999999]"][..], &["shop", "--limit", "web[1-999999999]"]] {
        let output = project.fleet(&[args, &["run", "--", "id"]].concat()).expect_code(4);
        let told = "error: `web[1-999999999]` stands for 999999999 names; at most 100000 are possible here\n";
        assert_eq!(output.stderr, told);
    }
}

#[test]
fn a_file_that_is_none_or_too_large_is_told_and_not_waited_for() {
    let project = Project::new();
    let path = project.root().join("hosts/shop.toml");
    run(Command::new(tool("mkfifo")).arg(&path));
    let output = project.fleet(&["check"]).expect_code(3);
    assert!(output.stderr.starts_with("error: cannot read hosts/shop.toml: not a regular file\n"), "{}", output.stderr);
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("nowhere", &path).unwrap();
    let output = project.fleet(&["check"]).expect_code(3);
    assert!(output.stderr.contains("cannot read hosts/shop.toml: there is no such file"), "{}", output.stderr);
    std::fs::remove_file(&path).unwrap();
    assert!(check("#".repeat(5 << 20)).contains("longer than 4 MiB"));
}

#[test]
fn nesting_without_end_overflows_nothing() {
    for bomb in
        ["vars = ".to_owned() + &"[".repeat(100_000), "a.".repeat(100_000) + "b = 1", "a = {b = ".repeat(50_000)]
    {
        let said = check(bomb);
        assert!(said.contains("hosts/shop.toml:1:"), "{}", said.chars().take(500).collect::<String>());
    }
}

#[test]
fn a_name_or_a_text_that_is_not_utf8_is_told_with_its_place() {
    let project = Project::new();
    let name = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"hosts/k\xf6ln.toml");
    files::write(&project.root().join(name), site("", 1), 0o644);
    let output = project.fleet(&["check"]).expect_code(3);
    assert!(output.stderr.contains("the file's name is the site's: rename the file"), "{}", output.stderr);
    let project = Project::new();
    project.write("recipes/own.toml", b"[recipe]\ndoc = \"caf\xe9\"\n");
    let output = project.fleet(&["check"]).expect_code(3);
    assert!(output.stderr.contains("byte 0xe9\n --> recipes/own.toml:2:11"), "{}", output.stderr);
    // Editors on Windows leave these two, and they are harmless.
    let project = Project::new();
    project.write("hosts/shop.toml", "\u{feff}".to_owned() + &site("", 1).replace('\n', "\r\n"));
    let output = project.fleet(&["check"]).expect_code(0);
    assert_eq!(output.stderr, "1 site with 1 host, 2 recipes: no errors\n");
}

#[test]
fn a_variable_without_a_value_stops_before_anything_is_contacted() {
    let (project, bystander) = shop(
        "[vars.home]\ndoc = \"where it is\"\nrequired = true\n[vars.revision]\ndefault = \"HEAD\"\n[[task.deploy.step]]\nname = \"go\"\n\
         run = \"cd {{home}} && go {{revision}} {{service}}\"\nundo = \"stop {{servce}}\"\n",
    );
    let deploy = |set: &[&str]| {
        let args = [&["shop", "deploy", "--yes"], set].concat();
        project.fleet(&args)
    };
    let output = deploy(&[]).expect_code(3);
    assert_eq!(
        output.stderr,
        "error: recipe `shop` needs the variable `home` (where it is), and host `web1` of site `shop` has none\n\
         hint: set it in hosts/shop.toml, below [vars]: home = \"...\"\n"
    );
    insta::assert_snapshot!(deploy(&["-e", "home=/srv", "-e", "service=shop"]).expect_code(3).snapshot());
    // A slip would deploy the default revision.
    let output = deploy(&["-e", "home=/srv", "-e", "revison=v2"]).expect_code(2);
    assert_eq!(
        output.stderr,
        "error: --set revison: neither recipe `shop` nor site `shop` knows such a variable\nhint: did you mean `revision`?\n"
    );
    let output = deploy(&["-e", "revision"]).expect_code(2);
    assert!(output.stderr.contains("`revision` is not of the form NAME=VALUE"), "{}", output.stderr);
    let output = deploy(&["-e", "fleet.host=x"]).expect_code(2);
    assert!(output.stderr.contains("set by fleet itself"), "{}", output.stderr);
    bystander.expect_no_call();
}

#[test]
fn what_goes_in_a_circle_is_told_as_the_circle() {
    let (project, bystander) = shop(
        "[task.a]\ntasks = [\"b\"]\n[task.b]\ntasks = [\"c\"]\n[task.c]\ntasks = [\"a\"]\n[task.d]\ntasks = [\"d\"]\n\
         [vars.x]\ndefault = \"{{y}}\"\n[vars.y]\ndefault = \"{{x}}\"\n",
    );
    project.write("hosts/one.toml", site("follows = \"two\"", bystander.port()));
    project.write("hosts/two.toml", site("follows = \"one\"", bystander.port()));
    insta::assert_snapshot!(project.fleet(&["check"]).expect_code(3).snapshot());
    project.fleet(&["shop", "a", "--yes"]).expect_code(3);
    bystander.expect_no_call();
}
