//! The recipe language through the binary, on real `sshd`.

mod files;
mod inheritance;
mod local;
mod looking;
mod surroundings;
