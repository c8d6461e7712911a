//! What the placeholders of a step stand for on a host.
//!
//! A plan has each text once. Beside it stand the values: those that all hosts share in [`Plan::values`](super::plan::Plan::values), the others in
//! [`PlanHost::values`](super::plan_host::PlanHost::values), shared by the hosts that have the same. A value may in turn have placeholders, where it differs by nothing but the
//! host's name or address. A variable that an earlier step registers has no value in the plan from there on.

use std::collections::BTreeMap;

use crate::model::recipe::template::Template;
use crate::model::text::name::VarName;

pub type Values = BTreeMap<VarName, Template>;

pub const HOST: &str = "fleet.host";
pub const ADDRESS: &str = "fleet.address";
