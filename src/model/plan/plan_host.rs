//! A host of a plan, and how it is reached.

use std::sync::Arc;

use crate::model::inventory::ssh::Endpoint;
use crate::model::plan::book::Book;
use crate::model::plan::values::Values;
use crate::model::text::name::{HostLabel, HostName, RoleName, SiteName};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanHost {
    /// What the run calls it.
    pub label: HostLabel,
    pub site: SiteName,
    /// Its name in the inventory.
    pub name: HostName,
    pub endpoint: Endpoint,
    pub roles: Vec<RoleName>,
    /// The folder of the site's book on it ([`crate::model::plan::book`]), where the recipe names one.
    pub book: Option<String>,
    /// What it has for placeholders, where not all hosts of the plan have the same.
    pub values: Arc<Values>,
}

impl PlanHost {
    pub fn site_book(&self) -> Book {
        Book { site: self.site.clone(), folder: self.book.clone(), login: self.endpoint.user.clone(), lost: false }
    }
}
