//! One player line: from `say` to a timeline of events.
