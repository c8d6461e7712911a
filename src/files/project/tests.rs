use std::fs::File;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use tempfile::TempDir;

use super::*;
use crate::model::text::name::SiteName;

const BUILT_IN: LoadOptions<'_> = LoadOptions {
    built_in: &[BuiltIn {
        name: "git-site",
        text: "[recipe]\ndoc = 'built in'\nfiles = ['lib/', '@/fixes/']\n[[task.deploy.step]]\nname = 'a'\nscript = 'run.sh'\n",
        files: &[("lib/help.sh", b"#!/bin/sh\n"), ("lib/data", b"\0"), ("run.sh", b"$FLEET_FILES/lib/help.sh\n")],
    }],
    verbs: &["list"],
};

fn project(files: &[(&str, &[u8])]) -> TempDir {
    let root = TempDir::new().unwrap();
    fs::create_dir(root.path().join("hosts")).unwrap();
    for (path, content) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        put(&path, content);
    }
    root
}

fn put(path: &Path, content: &[u8]) {
    io::Write::write_all(&mut File::create(path).unwrap(), content).unwrap();
}

fn told(root: &Path) -> String {
    match load(root, BUILT_IN) {
        Ok(project) if !project.errors().is_empty() => {
            let line = |error: &Diagnostic| {
                let (line, column) = error.line_and_column();
                format!("{}:{line}:{column}: {}", error.source.path, error.message)
            };
            project.errors().iter().map(line).collect::<Vec<_>>().join("\n")
        }
        Err(error) => error.to_string().replace(&root.display().to_string(), "ROOT"),
        Ok(project) => format!("{} sites", project.inventory.sites.len()),
    }
}

const HOST: &[u8] = b"recipe = 'git-site'\n[[host]]\nname = 'web1'\n";

#[test]
fn the_project_is_found_upward() {
    let root = project(&[("hosts/mysite.toml", HOST), ("a/b/c.txt", b"")]);
    let deep = root.path().join("a/b");
    assert_eq!(find(&deep, None).unwrap(), root.path());
    assert_eq!(find(Path::new("/"), Some(root.path())).unwrap(), root.path());
    let error = find(root.path(), Some(&deep)).unwrap_err();
    assert_eq!(error.to_string(), format!("{} is no project: it has no folder `hosts/`", deep.display()));
    assert_eq!(error.hints(), [Hint::advice("`fleet init` makes a project")]);
    let none = TempDir::new().unwrap();
    assert!(matches!(find(none.path(), None), Err(ProjectError::NotFound { .. })));
}

#[test]
fn sites_defaults_and_recipes_are_read() {
    let root = project(&[
        ("hosts/mysite.toml", HOST),
        ("hosts/defaults.toml", b"[ssh]\nuser = 'release'\n"),
        ("hosts/.#mysite.toml", b"an editor's"),
        ("hosts/notes.txt", b"\xff"),
        ("recipes/own.toml", b"[[task.t.step]]\nname = 's'\nscript = 'files/s.sh'\n"),
        ("recipes/files/s.sh", b"#!/bin/sh\n"),
    ]);
    symlink("mysite.toml", root.path().join("hosts/linked.toml")).unwrap();
    let project = load(root.path(), BUILT_IN).unwrap();
    let sites: Vec<_> = project.inventory.sites.keys().map(SiteName::as_str).collect();
    assert_eq!(sites, ["linked", "mysite"]);
    let host = &project.inventory.sites.get("mysite").unwrap().hosts[0];
    assert_eq!(host.ssh.user.as_ref().unwrap().origin.to_string(), "hosts/defaults.toml:2");
    let recipes: Vec<_> = project.recipes.values().map(|recipe| recipe.source.path.as_str()).collect();
    assert_eq!(recipes, ["recipe git-site (built in)", "recipes/own.toml"]);
}

#[test]
fn a_recipe_of_ones_own_replaces_the_built_in_one() {
    let root =
        project(&[("recipes/git-site.toml", b"[recipe]\ndoc = 'mine'\n[[task.t.step]]\nname = 's'\nrun = 'true'\n")]);
    let project = load(root.path(), BUILT_IN).unwrap();
    let docs: Vec<_> = project.recipes.values().map(|recipe| recipe.doc.as_str()).collect();
    assert_eq!(docs, ["mine"]);
}

#[test]
fn all_errors_of_all_files_come_at_once() {
    let root = project(&[
        ("hosts/defaults.toml", b"[shh]\n"),
        ("hosts/latin.toml", b"# caf\xe9\nrecipe = 'broken'\nstage = 'tset'\n[[host]]\nname = 'a'\n"),
        ("hosts/list.toml", HOST),
        ("hosts/prod.toml", b"recipe = 'git-sit'\nfollows = 'folder'\n[[host]]\nname = 'a'\n"),
        ("recipes/broken.toml", b"[task.t]\n"),
        ("recipes/bad name.toml", b"[task.t]\n"),
        (
            "recipes/script.toml",
            b"[[task.t.step]]\nname = 's'\nscript = 'latin.sh'\n[[task.t.step]]\nname = 'u'\nscript = 'no.sh'\n[[task.t.step]]\nname = 'v'\nscript = 'out.sh'\n",
        ),
        ("recipes/latin.sh", b"\xff"),
    ]);
    fs::create_dir(root.path().join("hosts/folder.toml")).unwrap();
    symlink("nowhere", root.path().join("hosts/dangling.toml")).unwrap();
    symlink("/etc/passwd", root.path().join("recipes/out.sh")).unwrap();
    let pipe = root.path().join("recipes/pipe.toml");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    File::create(root.path().join("hosts/huge.toml")).unwrap().set_len(text::LONGEST_FILE + 1).unwrap();
    insta::assert_snapshot!(told(root.path()), @r#"
    hosts/dangling.toml:1:1: cannot read hosts/dangling.toml: there is no such file
    hosts/defaults.toml:1:2: unknown key `shh`
    hosts/folder.toml:1:1: cannot read hosts/folder.toml: not a regular file
    hosts/huge.toml:1:1: cannot read hosts/huge.toml: longer than 4 MiB
    hosts/latin.toml:1:6: the file is not UTF-8: byte 0xe9
    hosts/latin.toml:3:9: there is no stage "tset", only "test", "demo", "production"
    hosts/list.toml:1:1: a site cannot be called `list`: that is a word of the command line
    hosts/prod.toml:1:10: there is no recipe `git-sit`
    recipes/bad name.toml:1:1: recipe name `bad name` holds ' '; allowed are letters, digits and ._-
    recipes/broken.toml:1:7: nothing to do here
    recipes/pipe.toml:1:1: cannot read recipes/pipe.toml: not a regular file
    recipes/script.toml:3:10: script `latin.sh`: the file is not UTF-8 from byte 0 on
    recipes/script.toml:6:10: script `no.sh`: there is no such file
    recipes/script.toml:9:10: script `out.sh`: a link leads out of its folder
    "#);
}

#[test]
fn an_unreadable_file_is_named() {
    let root = project(&[("hosts/mysite.toml", HOST)]);
    let path = root.path().join("hosts/mysite.toml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    // Root may read everything; then there is nothing to refuse.
    let expected = match File::open(&path) {
        Ok(_) => "1 sites",
        Err(_) => "hosts/mysite.toml:1:1: cannot read hosts/mysite.toml: permission denied",
    };
    assert_eq!(told(root.path()), expected);
}

#[test]
fn a_project_without_sites_is_empty() {
    assert_eq!(told(project(&[]).path()), "0 sites");
    let none = TempDir::new().unwrap();
    assert_eq!(told(none.path()), "cannot read the folder ROOT/hosts");
}

#[test]
fn lines_end_with_lf_whatever_the_file_says() {
    for (file, text) in [
        ("a\r\nb\r\n", "a\nb\n"),
        ("a\nb\r\nc", "a\nb\nc"),
        ("\r\n\r\n", "\n\n"),
        // Converted twice.
        ("a\r\r\nb", "a\nb"),
        // No line ends there.
        ("a\rb\r", "a\rb\r"),
        ("\u{feff}#!/bin/sh\r\n", "#!/bin/sh\n"),
        ("a\u{feff}b", "a\u{feff}b"),
        ("", ""),
    ] {
        assert_eq!(String::from_utf8(text::with_lf(file.as_bytes())).unwrap(), text, "{file:?}");
    }
}

#[test]
fn a_built_in_recipe_has_its_files_in_the_binary_and_those_of_the_project() {
    let root = project(&[("hosts/mysite.toml", HOST), ("fixes/001.sql", b"select 1")]);
    let loaded = load(root.path(), BUILT_IN).unwrap();
    assert_eq!(loaded.errors(), []);
    let recipe = loaded.recipes.values().next().unwrap();
    let files: Vec<_> = recipe.files.iter().map(|file| (file.path.as_str(), &*file.content, file.executable)).collect();
    assert_eq!(
        files,
        [
            ("fixes/001.sql", b"select 1".as_slice(), false),
            ("lib/data", b"\0", false),
            ("lib/help.sh", b"#!/bin/sh\n", true)
        ]
    );
}
