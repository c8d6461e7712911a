//! What is done on a site: recipes, templates and the shell text in them.

pub mod check;
pub mod files;
pub mod inherit;
pub mod recipe;
pub mod recipe_file;
pub mod secrets;
pub mod shell;
pub mod template;
