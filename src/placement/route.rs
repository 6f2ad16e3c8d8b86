//! The mappings of a configuration with their rules compiled: what every room from the watcher up
//! needs to know of where files go.

use std::sync::Arc;

use super::{Placement, RelPath, RuleSet, SlotAddress};
use crate::config::{Mapping, MappingName};

/// A mapping and its compiled rules.
#[derive(Debug)]
pub struct Route {
    /// The mapping.
    pub mapping: Arc<Mapping>,
    /// Its rules.
    pub rules: RuleSet,
}

impl Route {
    /// The slot that the rules give to a file, with its sheet and document; `None` without one.
    pub fn address(&self, path: &RelPath) -> Option<SlotAddress> {
        match self.rules.place(path) {
            Placement::Slot { slot, .. } => Some(slot),
            _ => None,
        }
    }
}

/// All mappings, in the order of the configuration. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Routes(Arc<[Arc<Route>]>);

impl Routes {
    /// These routes.
    pub fn new(routes: impl IntoIterator<Item = Route>) -> Self {
        Self(routes.into_iter().map(Arc::new).collect())
    }

    /// The route of a mapping.
    pub fn of(&self, name: &MappingName) -> Option<&Arc<Route>> {
        self.0.iter().find(|route| route.mapping.name == *name)
    }

    /// Whether a mapping sends a file to a slot.
    pub fn send(&self, name: &MappingName, path: &RelPath, address: &SlotAddress) -> bool {
        self.of(name)
            .is_some_and(|route| route.address(path).as_ref() == Some(address))
    }

    /// All routes.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.0.iter()
    }
}
