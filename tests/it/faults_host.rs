//! Hosts and controllers that run out of room, homes that cannot be written to, and a thousand hosts of which a tenth is not there.
//!
//! File systems and networks of their own: only root can have them. Where they cannot be had, these tests fail and say so.

mod room;
mod thousand;
