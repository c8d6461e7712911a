//! Files on the controller: how they are written so that nothing is lost, how they are opened, and the project folder.
//!
//! Everything that fleet writes as a whole goes through [`replace`] or [`create_new`]: a reader, and the next run after a
//! crash or a full disk, finds the old content or the new, never a part.

pub mod atomic;
pub mod open;
pub mod owner;
pub mod project;
mod recipe_folder;
mod text;

pub use atomic::{create_new, private_dir, replace};
pub use open::{append, append_new, if_there, open, read, refuse_link};
