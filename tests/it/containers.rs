//! Scenarios on the container fleet of `docker/`: hosts that stop, hang, die or lose their network in the middle of a deployment, a real
//! logind, operators with logins of their own, web servers and database apart.
//!
//! They need a docker engine, and `docker compose` v2 or docker-compose; `./tests/run` leaves them out where none is. What counts is the site
//! itself: its pages as seen from outside, the rows and the schema of its database, its checkouts and its crontabs.

mod deploying;
mod faults;
mod fleet;
mod gates;
mod logind;
mod newcomer;
mod operators;
