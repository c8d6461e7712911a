//! Fixtures. All of them clean up on drop, and none reads the environment or the home folder of whoever runs the tests.

pub mod tools;
