//! One broken file of a project keeps nobody away who does not need it, and no site is left out unnoticed.

use crate::support::bystander::Bystander;
use crate::support::hosts::ReadyProject;
use crate::support::output::Output;
use crate::support::project::Project;

const RECIPE: &str = "[recipe]\ndoc = \"shop\"\n[[task.deploy.step]]\nname = \"go\"\nrun = \"echo gone >>gone\"\nundo = \"rm gone\"\n\
    [[task.look.step]]\nname = \"look\"\nrun = \"true\"\nread-only = true\n";

/// The site `mysite` on a real host, and beside it the broken site `storm` with a recipe of its own, which is broken as well.
fn storm() -> ReadyProject {
    let ready = ReadyProject::start("recipe = \"own\"", &["web1"]);
    ready.write("recipes/own.toml", RECIPE);
    ready.write(
        "hosts/storm.toml",
        "recipe = \"storm\"\nstage = \"prodction\"\n[[host]]\nname = \"s1\"\nroles = [\"web\"]\n",
    );
    ready.write("recipes/storm.toml", "[[task.deploy.step]]\nname = \"x\"\nrum = \"true\"\n");
    ready
}

const LEFT_OUT: &str =
    "warning: hosts/storm.toml, recipes/storm.toml have errors and are left out\nhint: fleet check\n";

/// What storm's own file has to be refused with.
#[track_caller]
fn tells_storm(output: Output) {
    let output = output.expect_code(3);
    let told =
        "error: there is no stage \"prodction\", only \"test\", \"demo\", \"production\"\n --> hosts/storm.toml:2:9\n";
    assert!(output.stdout.is_empty() && output.stderr.starts_with(told), "{}", output.all());
    assert!(output.stderr.ends_with("1 error in 1 file; nothing was contacted\n"), "{}", output.stderr);
}

/// A file that a colleague was writing kept a deployment of another site away.
#[test]
fn a_broken_site_keeps_nobody_from_another_one() {
    let ready = storm();
    for args in [
        &["mysite", "deploy"][..],
        &["mysite", "deploy", "--dry-run"],
        &["mysite", "look"],
        &["mysite:web", "run", "--", "true"],
        &["mysite", "trust"],
        &["mysite", "distribute-keys"],
        &["mysite", "status"],
        &["mysite", "check"],
        &["mysite", "unlock"],
        &["tasks", "mysite"],
        &["list", "mysite"],
        &["list", "--explain", "my*"],
        &["my*", "deploy", "-n", "-l", "web", "-x", "web1,!web1"],
    ] {
        let output = ready.fleet(args).expect_code(0);
        assert_eq!(output.stderr.matches(LEFT_OUT).count(), 1, "{args:?}: {}", output.all());
    }
    let output = ready.fleet(&["mysite", "deploy", "--json"]).expect_code(0);
    assert!(output.stderr.contains(LEFT_OUT) && !output.events().is_empty(), "{}", output.all());
    assert_eq!(crate::support::files::read(&ready["web1"].home().join("gone")), "gone\ngone\n");
    // What is on record needs no site's file.
    for args in [&["runs"][..], &["show"], &["logs"]] {
        assert_eq!(ready.fleet(args).expect_code(0).stderr, "");
    }
    ready.fleet(&["undo"]).expect_code(0);
    // And check tells all of it.
    let told = ready.fleet(&["check"]).expect_code(3).stderr;
    assert!(told.contains("hosts/storm.toml:2:9") && told.contains("recipes/storm.toml:3:1"), "{told}");
    assert!(told.contains("3 errors in 2 files"), "{told}");
}

#[test]
fn a_selector_that_may_mean_a_broken_site_is_refused_with_its_errors() {
    let ready = storm();
    let calls = ready["web1"].calls();
    for selector in ["all", "*", "s*", "storm", "storm:s1", "*:web", "mysite,storm", "all,!storm:s1", "{mysite,storm}"]
    {
        for what in [&["deploy"][..], &["run", "--", "true"], &["trust"], &["status"], &["deploy", "-n"]] {
            tells_storm(ready.fleet(&[&[selector], what].concat()));
        }
        tells_storm(ready.fleet(&["tasks", selector]));
        tells_storm(ready.fleet(&["list", selector]));
        tells_storm(ready.fleet(&["list", "--explain", selector]));
    }
    tells_storm(ready.fleet(&["storm"]));
    tells_storm(ready.fleet(&["list", "all"]));
    // One of its hosts, to be left alone: nobody knows which it has.
    tells_storm(ready.fleet(&["mysite", "deploy", "-x", "s1"]));
    assert_eq!(ready["web1"].calls(), calls, "somebody was contacted");
    // What is taken away as a whole is not missed.
    for args in [
        &["all,!storm", "run", "--", "true"][..],
        &["mysite,!s*", "run", "--", "true"],
        &["all", "-x", "storm", "run", "--", "true"],
        &["all", "-x", "s[t]orm,s9", "run", "--", "true"],
    ] {
        let output = ready.fleet(args);
        let code = if args[2].contains("s9") { 3 } else { 0 };
        assert_eq!(output.code, Some(code), "{}", output.all());
    }
    ready.fleet(&["storm", "-x", "storm", "run", "--", "true"]).expect_code(4);
    // A slip is a slip, and the broken site may be what was meant.
    let told = ready.fleet(&["strom", "deploy"]).expect_code(4).stderr;
    assert_eq!(told, "error: no site matches `strom`\nhint: did you mean `storm`?\n");
}

#[test]
fn a_file_whose_name_ends_in_another_way_is_not_left_out_unnoticed() {
    let ready = storm();
    for (folder, name) in [("hosts", "Shop.TOML"), ("recipes", "own2.Toml")] {
        ready.write(&format!("{folder}/{name}"), "");
        let told = ready.fleet(&["check"]).expect_code(3).stderr;
        assert!(told.contains(&format!("it must end in `.toml`\n--> {folder}/{name}")), "{told}");
    }
    let told = ready.fleet(&["all,!storm", "run", "--", "true"]).expect_code(3).stderr;
    assert!(told.contains("hosts/Shop.TOML"), "{told}");
}

#[test]
fn list_shows_what_reads_and_ends_with_the_errors_of_what_does_not() {
    let ready = storm();
    let output = ready.fleet(&["list"]).expect_code(3);
    assert!(output.stdout.contains("mysite") && !output.stdout.contains("storm"), "{}", output.stdout);
    assert!(output.stderr.contains("hosts/storm.toml:2:9"), "{}", output.stderr);
    ready.write("hosts/mysite.toml", "nonsense");
    assert_eq!(ready.fleet(&["list"]).expect_code(3).stdout, "");
}

#[test]
fn what_a_command_needs_is_refused_with_its_errors() {
    let ready = storm();
    let site = ready.read("hosts/mysite.toml");
    let refused = |args: &[&str], told: &str| {
        let output = ready.fleet(args).expect_code(3);
        assert!(output.stdout.is_empty() && output.stderr.contains(told), "{args:?}: {}", output.all());
    };
    // Its recipe. What needs none goes on.
    let recipe = ready.read("recipes/own.toml");
    ready.write("recipes/own.toml", recipe.replace("run = \"true\"", "rum = \"true\""));
    for args in [
        &["mysite", "deploy"][..],
        &["mysite", "look", "-n"],
        &["tasks", "mysite"],
        &["list", "--explain", "mysite"],
        &["mysite", "statsu"],
    ] {
        refused(args, "recipes/own.toml:9:1");
    }
    for args in [&["mysite", "trust"][..], &["mysite", "run", "--", "true"], &["mysite", "distribute-keys"]] {
        ready.fleet(args).expect_code(0);
    }
    ready.write("recipes/own.toml", &recipe);
    // The site that it follows, for what asks that one.
    ready.write("hosts/mysite.toml", format!("follows = \"storm\"\n{site}"));
    refused(&["mysite", "deploy"], "hosts/storm.toml:2:9");
    ready.fleet(&["mysite", "run", "--", "true"]).expect_code(0);
    // A circle, whichever of its sites tells it.
    ready.write("hosts/storm.toml", "follows = \"mysite\"\n[[host]]\nname = \"s1\"\n");
    ready.write("hosts/other.toml", &site);
    for name in ["mysite", "storm"] {
        refused(&[name, "run", "--", "true"], "sites follow each other in a circle");
    }
    ready.fleet(&["other", "deploy", "-n"]).expect_code(0);
    // What all sites share.
    ready.write("hosts/defaults.toml", "[ssh]\nusr = \"x\"\n");
    refused(&["other", "deploy", "-n"], "hosts/defaults.toml:2:1");
    refused(&["list"], "hosts/defaults.toml:2:1");
    ready.fleet(&["runs"]).expect_code(0);
}

/// Before anybody is asked what is proven for the first of them.
#[test]
fn of_several_sites_one_with_a_broken_recipe_stops_all() {
    let mut ready = storm();
    ready.add_site("proven", "recipe = \"own\"", &["p1"]);
    ready.write(
        "recipes/own.toml",
        "[vars.revision]\ndefault = \"v1\"\n[task.deploy]\nproves = \"revision\"\ntasks = [\"pin\", \"roll\"]\n[[task.pin.phase]]\nname = \"pin\"\n\
         once = true\n[[task.pin.phase.step]]\nname = \"pin\"\nread-only = true\nregister = \"revision\"\nrun = \"echo {{revision}}\"\n\
         [[task.roll.step]]\nname = \"roll\"\nrun = \"echo {{revision}}\"\n",
    );
    ready.write("hosts/mysite.toml", format!("follows = \"proven\"\n{}", ready.read("hosts/mysite.toml")));
    ready.write("hosts/other.toml", ready.read("hosts/mysite.toml").replace("\"own\"", "\"storm\""));
    let calls = |ready: &ReadyProject| ["web1", "p1"].map(|name| ready[name].calls());
    let before = calls(&ready);
    let told = ready.fleet(&["mysite,other", "deploy"]).expect_code(3).stderr;
    assert!(told.contains("recipes/storm.toml:3:1") && told.ends_with("nothing was contacted\n"), "{told}");
    assert_eq!(calls(&ready), before);
    // Alone, the hosts are asked, and have proven nothing.
    ready.fleet(&["mysite", "deploy"]).expect_code(6);
    assert_ne!(calls(&ready), before);
}

/// Whether a site is production stands in its file, and nobody rolls back production without a question.
#[test]
fn what_is_on_record_of_a_broken_site_is_not_rolled_back_without_a_question() {
    let ready = storm();
    ready.fleet(&["mysite", "deploy"]).expect_code(0);
    let site = ready.read("hosts/mysite.toml");
    ready.write("hosts/mysite.toml", format!("stage = \"prodction\"\n{site}"));
    let told = ready.fleet(&["undo", "--no-input"]).expect_code(6).stderr;
    assert!(told.contains("on `mysite`, whose file has errors, 1 host. Type `mysite` to go on"), "{told}");
    ready.write("hosts/mysite.toml", format!("stage = \"production\"\n{site}"));
    ready.fleet(&["undo", "--no-input"]).expect_code(6);
    // Nor is the file in the way of who answers.
    ready.write("hosts/mysite.toml", "garbage");
    ready.fleet_pty(&["undo"], &[("Type `mysite` to go on: ", "mysite\n")]).expect_code(0);
}

/// Whatever it is that does not read.
#[test]
fn a_file_that_is_none_is_left_out_like_one_with_errors() {
    let bystander = Bystander::new();
    let project = Project::new();
    project.write("recipes/own.toml", RECIPE);
    let host = format!("[ssh]\nport = {}\n[[host]]\nname = \"web1\"\naddress = \"127.0.0.1\"\n", bystander.port());
    project.write("hosts/shop.toml", format!("recipe = \"own\"\n{host}"));
    let path = project.root().join("hosts/storm.toml");
    for text in
        ["", "[[host", "recipe = \"none\"\n[[host]]\nname = \"s\"\n", "follows = \"nobody\"\n[[host]]\nname = \"s\"\n"]
    {
        project.write("hosts/storm.toml", text);
        project.fleet(&["shop", "deploy", "-n"]).expect_code(0);
        project.fleet(&["all", "deploy", "-n"]).expect_code(3);
    }
    project.write("hosts/storm.toml", b"# \xff\n[[host]]\nname = \"s\"\n");
    let output = project.fleet(&["shop", "deploy", "-n"]).expect_code(0);
    assert_eq!(output.stderr, "warning: hosts/storm.toml has errors and is left out\nhint: fleet check\n");
    project.fleet(&["all", "deploy", "-n"]).expect_code(3);
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("nowhere", &path).unwrap();
    project.fleet(&["shop", "deploy", "-n"]).expect_code(0);
    project.fleet(&["all", "deploy", "-n"]).expect_code(3);
    std::fs::remove_file(&path).unwrap();
    // Names that are none, too, and what replaces a built-in recipe without reading.
    project.write("hosts/list.toml", &host);
    project.write("hosts/a b.toml", &host);
    project.write("recipes/git-site.toml", "[task");
    project.write("hosts/git.toml", format!("recipe = \"git-site\"\n{host}[vars]\nhome = \"/srv\"\n"));
    let output = project.fleet(&["shop", "deploy", "-n"]).expect_code(0);
    let told = "warning: hosts/a b.toml, hosts/list.toml, recipes/git-site.toml have errors and are left out\n";
    assert!(output.stderr.starts_with(told), "{}", output.stderr);
    project.fleet(&["all", "deploy", "-n"]).expect_code(3);
    let told = project.fleet(&["git", "deploy", "-n"]).expect_code(3).stderr;
    assert!(told.contains("--> recipes/git-site.toml:1:6"), "{told}");
    bystander.expect_no_call();
}

#[test]
fn a_built_in_recipe_that_does_not_fit_the_projects_own_is_an_error_only_where_it_is_used() {
    let project = Project::new();
    project.write("recipes/git-site.toml", RECIPE);
    let host = "[[host]]\nname = \"web1\"\naddress = \"127.0.0.1\"\n";
    project.write("hosts/shop.toml", format!("recipe = \"git-site\"\n{host}"));
    project.fleet(&["check"]).expect_code(0);
    project.write("hosts/relief.toml", format!("recipe = \"eden\"\n{host}[vars]\nweb2py = \"/srv\"\n"));
    let told = project.fleet(&["check"]).expect_code(3).stderr;
    assert!(told.contains("recipe eden (built in)"), "{told}");
}
