//! Key pairs: generated, stored, distributed to hosts and proven by a login.
