//! The recipe language through the binary, on real `sshd`.

mod inheritance;
mod surroundings;
