//! Hosts as `known_hosts` files name them.

use crate::model::text::name::canonical_address;

/// What a `known_hosts` file calls a host: `name`, or `[name]:port` when the port is not 22. In lower case, and an IP address in its one
/// spelling.
pub fn lookup_name(address: &str, port: u16) -> String {
    let address = canonical_address(address).to_ascii_lowercase();
    if port == 22 { address } else { format!("[{address}]:{port}") }
}
