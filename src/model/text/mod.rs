//! Names, and what is done with text: ranges, durations, what is fit to print.

pub mod duration;
pub mod encoding;
pub mod fold;
pub mod hint;
pub mod name;
pub mod printable;
pub mod range;
pub mod secret;
pub mod tail;
