//! archetype
