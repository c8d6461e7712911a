//! The built-in recipe `eden`, through the binary: a real web2py with the application of `eden/app`, on PostgreSQL and SQLite, behind a real
//! Apache with mod_wsgi, deployed from Test to Production over a real `sshd`. [`bed::Bed`] has them.

mod back;
mod bed;
mod cron;
mod deploying;
mod failures;
mod fixes;
mod preview;
mod site;
mod visitors;

use site::Database;

const DATABASES: [Database; 2] = [Database::Sqlite, Database::Postgres];
