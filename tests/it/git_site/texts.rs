//! What the texts are.

use fleet::model::recipe::template::{Language, Template};

use super::host::{recipe, steps};

#[test]
fn every_command_is_a_template_whose_placeholders_hold() {
    let recipe = recipe();
    let declared = recipe["vars"].as_table().unwrap();
    let registered = ["change", "deployment", "first"];
    let mut commands = 0;
    for task in recipe["task"].as_table().unwrap().keys() {
        for step in steps(task) {
            for key in ["run", "undo", "unless", "only-if", "cwd"] {
                let Some(text) = step.get(key) else { continue };
                commands += 1;
                let template = Template::parse(text.as_str().unwrap(), Language::Shell).unwrap_or_else(|error| {
                    panic!("{task} {key}, byte {}: {error}", error.offset);
                });
                for name in template.names() {
                    let name = name.as_str();
                    let known = declared.contains_key(name) || name.starts_with("fleet.") || registered.contains(&name);
                    assert!(known, "{task} {key}: {name}");
                }
            }
        }
    }
    assert!(commands > 40, "{commands}");
    assert!(declared.values().all(|var| !var["doc"].as_str().unwrap().is_empty()));
}
