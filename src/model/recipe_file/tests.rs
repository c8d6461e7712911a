use super::*;

fn read(text: &str) -> Result<Recipe, Vec<Diagnostic>> {
    let source = Arc::new(Source { path: "recipes/r.toml".to_owned(), text: text.to_owned() });
    let script = |path: &str| match path {
        "tool.py" => Ok("#!/usr/bin/python3\n".to_owned()),
        _ => Err("there is no such file".to_owned()),
    };
    read_recipe(RecipeName::parse("r").unwrap(), &source, &script)
}

#[test]
fn show() {
    let errors = read(
        r#"
[recipe]
doc = "x"
[vars.home]
doc = "where"
required = true
default = "x"
[vars.a]
default = "{{b}}"
[vars.b]
default = "{{ a }}"
[vars.fleet.x]
doc = ""
[vars]
c = 1

[task.status]
tasks = ["x"]
[task.empty]
[task.deploy]
proves = "revison"
on-failure = "stop"
[[task.deploy.phase]]
name = "one"
tasks = ["rol", "sub", "sub"]
[[task.deploy.phase]]
name = "one"
rolling = true
once = true
[[task.deploy.phase.step]]
run = "echo '{{home}}'"
script = "../x"
[[task.deploy.phase.step]]
name = "s"
run = """
cd {{home}
echo "{{home}}" """
ends = ["t"]
retry = 3
unless = "true"
only-if = ""
env = { 1A = "x", B = 3 }
timeout = 0
[[task.deploy.phase.step]]
name = "t2"
script = "nope.sh"
as = "-x"
cwd = "{{a|upper}}"
register = "fleet.run"
retry = { delay = "2s" }
idempotent = "yes"
[task.sub]
tasks = ["roll", "sub2"]
[task.sub2]
tasks = ["sub"]
[task.roll]
step = []
[task.ro_ll]
[[task.ro_ll.phase]]
name = "p"
rolling = true
tasks = []
[task.ro-ll]
tasks = ["ro_ll"]
"#,
    )
    .unwrap_err();
    println!("{}", crate::report::diagnostics::render(&errors, false, 100));
}
